"""Options that say where, and in what portions, it is computed."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class Computing:
    """Where, and in what portions: the options of a command that computes.

    ``device`` None is where the network is; the last two are None where a command has none.
    """

    batch_size: int
    device: str | None
    max_memory: str | None = None
    query_store: Path | None = None

    def given(self) -> dict[str, Any]:
        """Return what was given, by name: not every method knows all of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def check_known(self, method: str, kind: type[Any]) -> None:
        """Refuse options of which a method knows nothing.

        Args:
            method: Its name.
            kind: Its class.

        Raises:
            InputError: If it has no such argument.
        """
        from retrac_plugin.errors import InputError

        for name in ("max_memory", "query_store"):
            if getattr(self, name) is not None and not _takes(kind, name):
                raise InputError(
                    f"{name}: expected with diffusion-tracin and diffusion-retrac, but {method} "
                    "takes none. Leave it out, or ask for that method in a call of its own"
                )


def _takes(kind: type[Any], argument: str) -> bool:
    """Return whether a class, or one that it derives from, names an argument."""
    makers = [vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)]
    return any(argument in inspect.signature(each).parameters for each in makers)


batch_size = click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Samples per network pass; changes the cost, never a score.",
)

device = click.option("--device", help="cpu, cuda, cuda:1, mps, ... Default: where the network is.")

max_memory = click.option(
    "--max-memory",
    help="What to take at most beside network and data, such as 8GB: batches are cut and "
    "pictures taken in blocks, each of which costs a pass over the training set.",
)

query_store = click.option(
    "--query-store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for the pictures' gradients where they do not fit in memory. CPU only.",
)
