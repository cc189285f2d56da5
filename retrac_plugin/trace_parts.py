"""The parts of a trace on disk, of which there are two kinds.

The recorder saves a part beside each checkpoint, in one file of safetensors. A recorded script logs
each visit as it happens: for each process and each stretch between two checkpoints there is a
folder with ``about.json``, the visits as records of 56 bytes, and the noise of each sample's last
visit, one row a sample. Logs only ever grow, so that a killed training leaves whole records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.randomness import SCHEME

TRACE_FILE = "retrac_trace.safetensors"
"""Name of the trace beside each checkpoint; it holds the visits since the checkpoint before."""

LOG_FOLDER = "retrac_trace"
"""Name of the folder in a run that holds the logs of a recorded script."""

ABOUT, VISITS = "about.json", "visits.bin"

FORMAT = 2
READABLE = (1, 2)

UNKNOWN, CHANGING = 0, -1
"""Content keys of a sample that was not seen, and of one that was not the same at every visit."""

HASHED_LOOKS = 8
"""How often a sample is hashed: enough to see that samples are augmented, even in a small set."""

COLUMNS = ("ids", "timesteps", "steps", "draws", "step_sizes")

LOGGED = {
    **dict.fromkeys(COLUMNS, "<i8"),
    "step_sizes": "<f8",
    "keys": "<i8",
    "files": "<i8",
    "rows": "<i8",
}
RECORD = np.dtype(list(LOGGED.items()))
"""A visit in a log: besides the columns its content key, and where its noise was kept."""

DTYPES = {str(d).removeprefix("torch."): d for d in (torch.float64, torch.float32)} | {
    str(d).removeprefix("torch."): d for d in (torch.float16, torch.bfloat16)
}


@dataclass(frozen=True)
class Origin:
    """Where a part comes from.

    Attributes:
        num_samples: Size of the training set.
        noise: ``"rebuilt"`` from the seed, ``"kept"``, or ``"anew"``: not known, drawn by the seed.
        seed: Seed of the noise.
        start: Training steps already done when the training was launched.
        started: When that was, in seconds.
        process: Which process wrote it.
        processes: How many there were.
        step: Training steps done when the part was written, or begun.
    """

    num_samples: int
    noise: str
    seed: int
    start: int = 0
    started: float = 0.0
    process: int = 0
    processes: int = 1
    step: int = 0


@dataclass(frozen=True, eq=False)
class Looks:
    """Content keys that were taken of samples: ``weights`` says how many visits agreed on each."""

    ids: Tensor
    keys: Tensor
    weights: Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """Some visits of one process.

    Attributes:
        path: Where it was read.
        origin: Where it comes from.
        columns: ``COLUMNS``, and for logs ``files`` and ``rows``, each ``[visit]``.
        looks: Content keys of samples.
        kept: The files that ``files`` counts, by what they hold: ``noise``, ``samples``.
        names: File names of the samples, where they are known.
        command: The script that was recorded, and its arguments.
    """

    path: Path
    origin: Origin
    columns: dict[str, Tensor]
    looks: Looks
    kept: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def find_parts(directory: Path) -> list[Path]:
    """Return the paths of a run's parts: the files of recorders and the folders of logs."""
    saved = directory.rglob(part_name(0).replace(".", "*.", 1))
    logs = directory.rglob(f"{LOG_FOLDER}/*/{ABOUT}")
    return [*sorted(saved), *sorted(path.parent for path in logs)]


def part_name(process: int) -> str:
    """Return the name of a recorder's file: one for each process."""
    stem, suffix = TRACE_FILE.split(".")
    return TRACE_FILE if process == 0 else f"{stem}_process{process}.{suffix}"


def read_part(path: Path) -> Part:
    """Read a part of either kind.

    Raises:
        TraceError: If it is damaged or was written by another version.
    """
    try:
        return _read_log(path) if path.is_dir() else _read_saved(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise TraceError(f"cannot read the trace {str(path)!r}: {error}") from error


def _read_saved(path: Path) -> Part:
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("retrac", "{}"))
        columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
    known = about.get("format") in READABLE and about.get("scheme") == SCHEME
    if not known or set(columns) != {*COLUMNS, "keys"}:
        raise TraceError(
            f"{str(path)!r} was written by another version: expected format {FORMAT} with noise "
            f"{SCHEME!r}, got {about.get('format')} with {about.get('scheme')!r}"
        )
    keys = columns.pop("keys")
    seen = keys.nonzero().squeeze(1)
    # A recorder is given clean samples on purpose: one look at them is as good as two.
    looks = Looks(seen, keys[seen], torch.full_like(seen, 2))
    about["noise"] = "rebuilt"
    return _checked(Part(path, _origin(about, len(keys)), columns, looks))


def _read_log(path: Path) -> Part:
    about = json.loads((path / ABOUT).read_text())
    if about.get("format") not in READABLE[1:]:
        raise TraceError(
            f"{str(path)!r} was written by another version: expected format {FORMAT}, "
            f"got {about.get('format')}"
        )
    visits = path / VISITS
    records = np.fromfile(visits, RECORD) if visits.is_file() else np.empty(0, RECORD)
    columns = {name: torch.from_numpy(records[name].copy()) for name in LOGGED}
    keys = columns.pop("keys")
    seen = keys.nonzero().squeeze(1)
    looks = Looks(columns["ids"][seen], keys[seen], torch.ones_like(seen))
    kept = {
        what: [_map(path / row_file(what, i), of[what]) for i, of in enumerate(about["layouts"])]
        for what in about["keep"]
    }
    _forget_overwritten(columns)
    for files in kept.values():
        _forget_missing(columns, files)
    origin = _origin(about, int(about["num_samples"]))
    names, command = (tuple(map(str, about.get(name, ()))) for name in ("names", "command"))
    return _checked(Part(path, origin, columns, looks, kept, names, command))


def row_file(what: str, position: int) -> str:
    """Return the name of the file that holds the rows of one layout."""
    return f"{what}-{position}.bin"


def _origin(about: dict[str, Any], num_samples: int) -> Origin:
    names = ("seed", "start", "process", "processes", "step")
    numbers = {name: int(about[name]) for name in names if name in about}
    started = float(about.get("started", 0.0))
    return Origin(num_samples, str(about["noise"]), started=started, **numbers)


def _map(path: Path, layout: Mapping[str, Any]) -> Tensor:
    """Map the whole rows of a file into memory; a last one that was cut short is left out."""
    dtype, shape = DTYPES[layout["dtype"]], [int(size) for size in layout["shape"]]
    size = int(np.prod(shape)) * dtype.itemsize
    rows = path.stat().st_size // size
    if not rows:
        return torch.empty(0, *shape, dtype=dtype)
    data = torch.from_file(str(path), shared=False, size=rows * size, dtype=torch.uint8)
    return data.view(dtype).view(rows, *shape)


def _forget_overwritten(columns: dict[str, Tensor]) -> None:
    """A sample's row is written anew at every visit: it belongs to the last one."""
    files, rows = columns["files"], columns["rows"]
    places, which = torch.unique(torch.stack([files, rows]), dim=1, return_inverse=True)
    positions = torch.arange(len(rows))
    last = torch.full((places.shape[1],), -1).scatter_reduce_(0, which, positions, "amax")
    files[last[which] != positions] = -1


def _forget_missing(columns: dict[str, Tensor], files: Sequence[Tensor]) -> None:
    """Rows that a file does not hold were lost, such as by a copy that was cut short."""
    lengths = torch.tensor([len(file) for file in files] + [0])  # of no file, -1, the last
    outside = (columns["files"] < -1) | (columns["files"] >= len(files))
    columns["files"][outside] = -1
    rows = columns["rows"]
    columns["files"][(rows < 0) | (rows >= lengths[columns["files"]])] = -1


def _checked(part: Part) -> Part:
    """Refuse numbers that no recording writes, before something is looked up by them."""
    ids, count = part.columns["ids"], part.origin.num_samples
    lengths = {column.shape for column in part.columns.values()}
    if len(lengths) != 1 or (len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= count)):
        raise TraceError(f"the trace {str(part.path)!r} is damaged: its columns do not fit")
    return part
