"""Scores kept on disk, so that a benchmark that was killed goes on where it stopped.

A file's name is a digest of all that decides its scores: the data, the checkpoints, the draws, the
method with its options, and the code of this package and of the method. What has changed is
computed anew.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import retrac_plugin
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.candidates import Candidate
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws, Recorded


class Keeper:
    """Keeps the scores of a task's candidates in a folder.

    Args:
        task: The task.
        folder: Where; None: nothing is kept.
    """

    def __init__(self, task: Task, folder: Path | None) -> None:
        self.task, self.folder = task, folder

    def find(self, candidate: Candidate, what: str = "scores") -> Scores | None:
        """Return what was kept, or None."""
        path = self._path(candidate, what)
        return Scores.load(path) if path is not None and path.is_file() else None

    def keep(self, candidate: Candidate, scores: Scores, what: str = "scores") -> None:
        """Write scores, whole or not at all."""
        path = self._path(candidate, what)
        if path is not None:
            scores.save(path)

    def _path(self, candidate: Candidate, what: str) -> Path | None:
        if self.folder is None:
            return None
        digest = self._of_task.copy()
        source = inspect.getsourcefile(type(candidate.attributor))
        digest.update(b"" if source is None else Path(source).read_bytes())
        digest.update(repr(sorted(candidate.options.items())).encode())
        return self.folder / f"{candidate.method}-{what}-{digest.hexdigest()[:16]}.safetensors"

    @cached_property
    def _of_task(self) -> Any:
        task, digest = self.task, hashlib.sha256()
        for path in sorted(Path(retrac_plugin.__file__).parent.rglob("*.py")):
            digest.update(path.read_bytes())
        for kind in task.queries:
            _update(digest, kind.examples)
        _update(digest, task.train)
        for checkpoint in task.checkpoints:
            digest.update(f"{checkpoint.step_size} {checkpoint.step}".encode())
            for name, tensor in sorted(checkpoint.load().items()):
                digest.update(name.encode() + _bytes(tensor))
        for draws in (task.train_draws, task.query_draws, task.shared_draws):
            digest.update(b"".join(_of_draws(draws)))
        digest.update(f"{task.device} {task.batch_size}".encode())
        return digest


def _update(digest: Any, examples: Examples) -> None:
    for block in ExampleSource(examples, "train").blocks(256):
        digest.update(repr(block.keys).encode())
        if block.encoded:  # then the keys do not tell the values
            digest.update(_bytes(block.samples))
        digest.update(repr(sorted(block.conditions)).encode())
        for value in block.conditions.values():
            digest.update(_bytes(value) if isinstance(value, Tensor) else repr(value).encode())


def _of_draws(draws: Draws | None) -> Iterator[bytes]:
    if isinstance(draws, Recorded):  # noise follows from the trace's seed and its visits
        yield from map(_bytes, (draws.trace.ids, draws.trace.steps, draws.trace.timesteps))
    else:
        yield repr(draws).encode()


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().tobytes()
