"""Reads the parts of a trace from disk; nothing in them is run or looked up unchecked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.errors.guards import reading
from retrac_plugin.randomness import SCHEME
from retrac_plugin.trace.likeness import NUMBERS
from retrac_plugin.trace.parts import (
    ABOUT,
    COLUMNS,
    DTYPES,
    FORMAT,
    KEPT,
    LOGGED,
    READABLE,
    RECORD,
    VISITS,
    Looks,
    Origin,
    Part,
    row_file,
)


def read_part(path: Path) -> Part:
    """Read a part of either kind.

    Raises:
        TraceError: If it is damaged or was written by another version.
    """
    is_log = path.is_dir()
    with reading(path / ABOUT if is_log else path, TraceError, "the trace"):
        return _read_log(path) if is_log else _read_saved(path)


def _read_saved(path: Path) -> Part:
    with safe_open(path, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("retrac", "{}"))
        columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
    known = about.get("format") in READABLE and about.get("scheme") == SCHEME
    likenesses = columns.pop("likenesses", None)
    if not known or set(columns) != {*COLUMNS, "keys"}:
        raise TraceError(
            f"{str(path)!r} was written by another version: expected format {FORMAT} with noise "
            f"{SCHEME!r}, got {about.get('format')} with {about.get('scheme')!r}"
        )
    keys = columns.pop("keys")
    seen = keys.nonzero().squeeze(1)
    # A recorder is given clean samples on purpose: one look at them is as good as two.
    looks = Looks(seen, keys[seen], torch.full_like(seen, 2), likenesses)
    about["noise"] = "rebuilt"
    return _checked(Part(path, _origin(about, len(keys)), columns, looks))


def _read_log(path: Path) -> Part:
    about = json.loads((path / ABOUT).read_text())
    if about.get("format") not in READABLE[1:]:
        raise TraceError(
            f"{str(path)!r} was written by another version: expected format {FORMAT}, "
            f"got {about.get('format')}"
        )
    if not set(about["keep"]) <= set(KEPT):
        raise TraceError(f"{str(path)!r} holds {about['keep']}, expected {', '.join(KEPT)}")
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


def _origin(about: dict[str, Any], num_samples: int) -> Origin:
    names = ("seed", "start", "process", "processes", "step", "after")
    numbers = {name: int(about[name]) for name in names if about.get(name) is not None}
    started = float(about.get("started", 0.0))
    numbers["num_samples"] = num_samples
    for name, most in _MOST.items():
        if not 0 <= numbers.get(name, 0) <= most:
            raise ValueError(f"its {name} must lie between 0 and {most:,}, got {numbers[name]}")
    return Origin(noise=str(about["noise"]), started=started, **numbers)


_MOST = {"num_samples": 10**8, "processes": 10**5, "process": 10**5, "start": 2**53, "step": 2**53}
"""More than any training has; what is allocated by a file's word must be bounded."""


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
    likenesses = part.looks.likenesses
    if likenesses is not None and likenesses.shape != (count, NUMBERS + 1):
        raise TraceError(f"the trace {str(part.path)!r} is damaged: its likenesses do not fit")
    if not part.columns["step_sizes"].isfinite().all():
        raise TraceError(f"the trace {str(part.path)!r} is damaged: a step size is not finite")
    if len(lengths) != 1 or (len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= count)):
        raise TraceError(f"the trace {str(part.path)!r} is damaged: its columns do not fit")
    return part
