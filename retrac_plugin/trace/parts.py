"""The parts of a trace on disk, of which there are two kinds.

The recorder saves a part beside each checkpoint, in one file of safetensors. A recorded script logs
each visit as it happens: for each process and each stretch between two checkpoints there is a
folder with ``about.json``, the visits as records of 64 bytes, and the noise of each sample's last
visit, one row a sample. Logs only ever grow, so that a killed training leaves whole records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TRACE_FILE = "retrac_trace.safetensors"
"""Name of the trace beside each checkpoint; it holds the visits since the checkpoint before."""

LOG_FOLDER = "retrac_trace"
"""Name of the folder in a run that holds the logs of a recorded script."""

ABOUT, VISITS = "about.json", "visits.bin"

FORMAT = 3
READABLE = (1, 2, 3)

UNKNOWN, CHANGING, ROUNDED = 0, -1, -2
"""Content keys of a sample that was not seen, of one that was not the same at every visit, and of
one that was, but in half precision, so that its values are not the dataset's own."""

FIRST = -1
"""What the first part of a process comes after."""

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

KEPT = ("noise", "samples")
"""What can be kept of a visit."""

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
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
        after: ``step`` of the process's part before it in the same launch, or ``FIRST``; None where
            that was not written down.
    """

    num_samples: int
    noise: str
    seed: int
    start: int = 0
    started: float = 0.0
    process: int = 0
    processes: int = 1
    step: int = 0
    after: int | None = None


@dataclass(frozen=True, eq=False)
class Looks:
    """Content keys that were taken of samples: ``weights`` says how many visits agreed on each.

    ``likenesses [sample of the training set, number]`` are there where they were recorded, and not
    a number for samples that were not seen.
    """

    ids: Tensor
    keys: Tensor
    weights: Tensor
    likenesses: Tensor | None = None


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


def part_name(process: int) -> str:
    """Return the name of a recorder's file: one for each process."""
    stem, suffix = TRACE_FILE.split(".")
    return TRACE_FILE if process == 0 else f"{stem}_process{process}.{suffix}"


def row_file(what: str, position: int) -> str:
    """Return the name of the file that holds the rows of one layout."""
    return f"{what}-{position}.bin"
