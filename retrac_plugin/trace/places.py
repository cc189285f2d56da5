"""Where the parts of a run's trace lie: in the run and beside its checkpoints, nowhere else.

What lies further below is another training, or a copy: taken along, it would count visits twice or
put its own in the place of the run's.
"""

from __future__ import annotations

import re
from pathlib import Path

from retrac_plugin.trace.parts import ABOUT, LOG_FOLDER, TRACE_FILE

CHECKPOINT = re.compile(r"checkpoint-(\d+)")
"""Name of a checkpoint's folder: it tells the step."""

_SAVED = re.compile(re.escape(TRACE_FILE).replace(r"\.", r"(_process\d+)?\.", 1))


def find_parts(directory: Path) -> list[Path]:
    """Return the paths of a run's parts: the files of recorders and the folders of logs.

    A recorder's files lie in the run's folder and in its ``checkpoint-STEP`` folders; where it has
    none of these, in folders of any name that lie in it.
    """
    folders = sorted(path for path in directory.glob("*") if path.is_dir())
    checkpoints = [folder for folder in folders if CHECKPOINT.fullmatch(folder.name)]
    places = [directory, *(checkpoints or folders)]
    saved = [path for place in places for path in sorted(place.glob("*")) if _is_saved(path)]
    return [*saved, *sorted(path.parent for path in directory.glob(f"{LOG_FOLDER}/*/{ABOUT}"))]


def find_elsewhere(directory: Path) -> list[Path]:
    """Return folders further below a run that hold parts, those of other runs."""
    saved = {path.parent for path in directory.rglob("*") if _is_saved(path)}
    logs = {path.parents[2] for path in directory.rglob(f"{LOG_FOLDER}/*/{ABOUT}")}
    runs = {path.parent if CHECKPOINT.fullmatch(path.name) else path for path in saved}
    return sorted((runs | logs) - {directory})


def _is_saved(path: Path) -> bool:
    return _SAVED.fullmatch(path.name) is not None and path.is_file()
