"""Writes the visits of one process to disk as they happen; ``trace_parts`` describes the files.

A *stretch* lies between two checkpoints. What is kept of a visit besides its record takes the place
of what was kept of the same sample before, so that a stretch costs one row a sample, however long
it is; and what was kept up to a checkpoint stays, since the next stretch has files of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.files import write_atomically
from retrac_plugin.trace.parts import (
    ABOUT,
    DTYPES,
    FORMAT,
    LOG_FOLDER,
    RECORD,
    VISITS,
    Origin,
    row_file,
)

CHECKPOINTS = "checkpoints.txt"
"""The steps after which process 0 saved a checkpoint, one a line: the others read it."""

Layout = dict[str, dict[str, Any]]


class Visits(NamedTuple):
    """A batch of visits; all on the CPU, one row a visit."""

    ids: Tensor
    timesteps: Tensor
    keys: Tensor
    """Content keys, 0 where none was taken."""
    tensors: Mapping[str, Tensor]
    """What can be kept: ``noise`` and ``samples``."""


class VisitLog:
    """The visits of one process in one launch.

    Args:
        run: The folder of the run.
        origin: Where the visits come from.
        keep: What to keep of each sample's last visit before a checkpoint.
        more: What else to write down of the training.
    """

    def __init__(
        self, run: Path, origin: Origin, keep: Sequence[str], more: Mapping[str, Any]
    ) -> None:
        self.directory = run / LOG_FOLDER
        self.origin, self.keep, self.more = origin, tuple(keep), dict(more)
        self.count = 0
        self._draws = (origin.start << 32) + origin.process
        self._saved = _SavedSteps(self.directory / CHECKPOINTS)
        self._open_files = ExitStack()
        self._begin()

    def append(self, visits: Visits, step: int, step_size: float) -> None:
        """Write a batch of visits, which ended in the optimiser step ``step``."""
        records = np.zeros(len(visits.ids), RECORD)
        records["ids"], records["keys"] = visits.ids, visits.keys
        records["timesteps"] = visits.timesteps
        records["steps"], records["step_sizes"] = step, step_size
        records["draws"] = self._draws
        records["files"], records["rows"] = self._keep(visits) if self.keep else (-1, -1)
        _write(self._visits, records)
        self._draws += self.origin.processes
        self.count += len(records)
        self._written = True

    def checkpoint(self, step: int) -> None:
        """A checkpoint is being saved after ``step`` steps: leave what was kept up to here."""
        if not self._written:
            return
        self.origin = replace(self.origin, step=step, after=self.origin.step)
        self._begin()
        if self.origin.process == 0:
            self._saved.add(step)

    def follow(self, step: int) -> None:
        """Do as process 0, if it saved a checkpoint; to be called before ``step`` is appended."""
        if self.origin.process != 0:
            for saved in self._saved.up_to(step):
                self.checkpoint(saved)

    def close(self) -> None:
        """Close the files; everything is in them already."""
        self._open_files.close()

    def discard(self) -> None:
        """Remove what was written of the current stretch, and the folder that was made for it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # of another process, which discards at the same time
            self._saved.remove_if_alone()

    def _begin(self) -> None:
        """Begin a stretch, in a folder whose name no other stretch, process or launch has."""
        self.close()
        o = self.origin
        name = f"step{o.step:09d}-process{o.process:04d}-{int(1000 * o.started):d}"
        self.folder = self.directory / name
        self._layouts: list[Layout] = []
        self._rows: list[dict[str, FileIO]] = []
        self._places: list[dict[int, int]] = []
        self._describe()
        self._visits = self._open(VISITS)
        self._written = False

    def _describe(self) -> None:
        about = {
            "format": FORMAT,
            **asdict(self.origin),
            "keep": self.keep,
            "layouts": self._layouts,
            **self.more,
        }
        text = json.dumps(about, indent=1)
        write_atomically(self.folder / ABOUT, lambda path: path.write_text(text))

    def _keep(self, visits: Visits) -> tuple[int, list[int]]:
        """Write what is kept of a batch; return its file and the row of each visit."""
        kept = {what: visits.tensors[what].contiguous() for what in self.keep}
        file = self._file(kept)
        places = self._places[file]
        rows = [places.setdefault(sample_id, len(places)) for sample_id in visits.ids.tolist()]
        for what, values in kept.items():
            raw = values.view(len(values), -1).view(torch.uint8).numpy()
            for row, data in zip(rows, raw, strict=True):
                self._rows[file][what].seek(row * data.nbytes)
                _write(self._rows[file][what], data)
        return file, rows

    def _file(self, kept: Mapping[str, Tensor]) -> int:
        """Return which files hold tensors of these shapes; a new shape gets new ones."""
        layout = {what: _layout(values) for what, values in kept.items()}
        if layout not in self._layouts:
            position = len(self._layouts)
            self._rows.append({what: self._open(row_file(what, position)) for what in kept})
            self._places.append({})
            self._layouts.append(layout)
            self._describe()
        return self._layouts.index(layout)

    def _open(self, name: str) -> FileIO:
        return self._open_files.enter_context(FileIO(str(self.folder / name), "w"))


class _SavedSteps:
    """A file that grows by a line when process 0 saves a checkpoint; looking costs one ``stat``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.path, self._size = path, path.stat().st_size
        self._waiting: list[int] = []

    def remove_if_alone(self) -> None:
        """Remove an empty file, and the folder in which nothing else is."""
        if [*self.path.parent.iterdir()] == [self.path] and not self.path.stat().st_size:
            self.path.unlink()
            self.path.parent.rmdir()

    def add(self, step: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{step}\n")

    def up_to(self, step: int) -> list[int]:
        """Return what was added since, up to ``step``: process 0 may be ahead by a step."""
        size = self.path.stat().st_size
        if size != self._size:
            with self.path.open() as file:
                file.seek(self._size)
                self._waiting += map(int, file.read().split())
            self._size = size
        due = [saved for saved in self._waiting if saved <= step]
        self._waiting = [saved for saved in self._waiting if saved > step]
        return due


def _layout(values: Tensor) -> dict[str, Any]:
    name = str(values.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"expected noise and samples of one of {', '.join(DTYPES)}, got {name}")
    return {"dtype": name, "shape": list(values.shape[1:])}


def _write(file: FileIO, data: np.ndarray) -> None:
    """Write all of ``data`` or fail: what was cut short must not be written after."""
    done = file.write(np.ascontiguousarray(data).view(np.uint8).data)
    if done != data.nbytes:
        raise OSError(f"no room for {data.nbytes} bytes in {file.name!r}")
