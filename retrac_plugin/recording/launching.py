"""Starts a script under the recorder, here or through a launcher such as accelerate's."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.errors import InputError
from retrac_plugin.recording.script import ScriptRecording
from retrac_plugin.recording.watching import watching


def is_script(argument: str) -> bool:
    """Return whether an argument of a command is a Python script."""
    return argument.endswith(".py") and Path(argument).is_file()


def as_module(command: Sequence[str], recorder: Sequence[str]) -> list[str]:
    """Return a launcher's command with the script put under the recorder in every process.

    ``accelerate launch``, ``torchrun`` and ``python`` all run a module with ``-m``.

    Args:
        command: Such as ``accelerate launch --num_processes 2 train.py --resolution 64``.
        recorder: The module to run in place of the script, with its own options.

    Raises:
        InputError: If the command holds no script.
    """
    found = [position for position, argument in enumerate(command) if is_script(argument)]
    if not found:
        raise InputError(
            f"retrac record: expected a script that exists, such as train.py, or a launcher's "
            f"command with one, got {' '.join(command)!r}"
        )
    return [*command[: found[0]], "-m", *recorder, *command[found[0] :]]


def run_script(command: Sequence[str], recording: ScriptRecording) -> None:
    """Run a script in this process as ``python SCRIPT ARGS`` would, and record it."""
    script = Path(command[0])
    sys.argv[:] = list(command)
    sys.path[0] = str(script.resolve().parent)
    with watching(recording):
        runpy.run_path(str(script), run_name="__main__")
