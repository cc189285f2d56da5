"""The arguments that a training script was called with, as its tracker kept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from retrac_adapters.scripts.commands import options_of, script_of
from retrac_adapters.scripts.defaults import defaults_of
from retrac_adapters.scripts.numbers import check_numbers
from retrac_adapters.scripts.options import KNOWN, MATTERING, unknown_options
from retrac_adapters.scripts.plain_yaml import BYTES, read_yaml
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_RECORDED, Finding

FILE = "hparams.yml"

UNCONDITIONAL = "train_unconditional"
"""What ``train_unconditional.py`` calls itself."""


@dataclass(frozen=True)
class Arguments:
    """A training script's arguments.

    Attributes:
        values: By name; stated ones overrule recorded ones.
        script: What the script calls itself to its tracker, such as ``"text2image-fine-tune"``.
        findings: Where they come from, and whether they agree.
        complete: Whether they hold what the script took by default, too.

    Raises:
        InputError: On construction, if a number is none that a training can have had.
    """

    values: Mapping[str, Any]
    script: str | None
    findings: tuple[Finding, ...]
    complete: bool = False

    def __post_init__(self) -> None:
        check_numbers(self.values)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument, or the default where it is not known or None."""
        value = self.values.get(name)
        return default if value is None else value


def read_arguments(
    directory: Path, stated: Mapping[str, Any], command: Sequence[str] = ()
) -> Arguments:
    """Read the arguments of a run; those of its last start where it was resumed.

    accelerate's TensorBoard tracker writes ``logs/PROJECT/TIME/hparams.yml`` for the scripts that
    give it their arguments; ``train_unconditional.py`` does not. Where there is none, a recorded
    command tells those that were given, but not the defaults of the others.

    Args:
        directory: The run.
        stated: Arguments that are known otherwise; they overrule.
        command: The script and its arguments, as recorded.

    Raises:
        InputError: If a file is no plain mapping.
    """
    files = sorted(directory.glob(f"*/*/*/{FILE}"), key=lambda path: path.parent.name)
    recorded = [_read(path) for path in files]
    defaults = defaults_of(command)
    latest = recorded[-1] if recorded else {**(defaults or {}), **options_of(command)}
    _check_stated(stated, latest)
    script = _script(directory, files, stated) or script_of(command)
    findings = [_origin(files, command, stated, script)]
    findings += [
        Finding(
            CONTRADICTION,
            f"argument {name}",
            f"was {earlier.get(name)!r} before the run was resumed and {latest.get(name)!r} after; "
            "the latter is taken for the whole run",
        )
        for name in sorted(latest)
        for earlier in recorded[:-1]
        if name in MATTERING and name in earlier and earlier[name] != latest[name]
    ]
    findings += [
        Finding(
            CONTRADICTION,
            f"argument {name}",
            f"was stated as {value!r} and recorded as {latest[name]!r}; the statement is followed",
        )
        for name, value in stated.items()
        if name in latest and latest[name] != value
    ]
    complete = bool(files) or defaults is not None
    values = {**latest, **stated}
    return Arguments(values, script, (*findings, *_of_unknown(values)), complete)


def _check_stated(stated: Mapping[str, Any], recorded: Mapping[str, Any]) -> None:
    """Refuse a stated argument that no script has: it is misspelt, and would change nothing."""
    for name in stated:
        if name not in KNOWN and name not in recorded:
            near = get_close_matches(name, KNOWN, n=1)
            meant = f": was {near[0]!r} meant?" if near else ""
            raise InputError(
                f"argument {name!r} is no option of a training script that is known, nor one that "
                f"the run recorded{meant}"
            )


def _of_unknown(values: Mapping[str, Any]) -> list[Finding]:
    unknown = unknown_options(values)
    if not unknown:
        return []
    text = f"not known, so taken to change nothing: {', '.join(unknown)}"
    return [Finding(NOT_RECORDED, "options", text)]


def _read(path: Path) -> dict[str, Any]:
    with reading(path, InputError, "the arguments in", BYTES):
        values = read_yaml(path.read_text())
    if not isinstance(values, dict):
        raise InputError(
            f"{str(path)!r} holds no arguments: expected a mapping, got a {type(values).__name__}"
        )
    return {str(name): value for name, value in values.items()}


def _origin(
    files: list[Path], command: Sequence[str], stated: Mapping[str, Any], script: str | None
) -> Finding:
    if files:
        return Finding(FOUND, "arguments", f"of the training script, in {str(files[-1])!r}")
    if command:
        name = Path(command[0]).name
        rest = "not used" if defaults_of(command) is None else "the script's default"
        text = f"of the recorded command, {name}; what it does not name is taken as {rest}"
        return Finding(FOUND, "arguments", text)
    if stated:
        return Finding(FOUND, "arguments", f"as stated: {', '.join(sorted(stated))}")
    if script == UNCONDITIONAL:
        text = f"{script}.py keeps none; the scheduler it saves says all that its loss depends on"
        return Finding(FOUND, "arguments", text)
    return Finding(
        NOT_RECORDED,
        "arguments",
        "of the training script (no hparams.yml), so no weighting of the loss, no noise offset and "
        "uniform timesteps are assumed; pass arguments={...} for those that were used",
    )


def _script(directory: Path, files: list[Path], stated: Mapping[str, Any]) -> str | None:
    """Return the tracker's project, which names the script; its folder is there without a file."""
    if "script" in stated:
        return str(stated["script"])
    if files:
        return files[-1].parent.parent.name
    projects = [path.name for path in directory.glob("logs/*") if path.is_dir()]
    return projects[0] if len(projects) == 1 else None
