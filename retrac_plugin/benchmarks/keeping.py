"""Scores kept on disk, so that a benchmark that was killed goes on where it stopped.

A file's name is a digest of all that decides its scores: every field of the task but those named
here, what the attributor was given and became, and the code of it and of its plugin, see
``resuming.digesting``. What has changed is computed anew; what cannot be digested is not kept.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from retrac_plugin import plugins
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.candidates import Candidate
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import Examples
from retrac_plugin.resuming.code_files import code_of_module, code_of_plugin
from retrac_plugin.resuming.contents import digests_of, new_digester
from retrac_plugin.resuming.digesting import Digester, UndigestibleError
from retrac_plugin.resuming.parts import Parts

OF_NO_SCORE = ("name", "about", "without")
"""Fields of a task that decide no score."""


class Keeper:
    """Keeps the scores of a task's candidates in a folder.

    Args:
        task: The task.
        folder: Where; None: nothing is kept.
        tell: Says what is not kept, and why.
        fresh: Whether to find nothing, and so compute all anew.
    """

    def __init__(
        self, task: Task, folder: Path | None, tell: Callable[[str], object], fresh: bool = False
    ) -> None:
        self.task, self.folder, self.tell, self.fresh = task, folder, tell, fresh
        self._of_task: Digester | None = None
        self._code = functools.cache(code_of_plugin), functools.cache(code_of_module)
        self._names: dict[int, tuple[Candidate, str | None]] = {}

    def parts(self, queries: Examples) -> Parts | None:
        """Return what keeps the finished parts of the task's work; None: nothing does.

        Args:
            queries: The task's, of all kinds.
        """
        if self.folder is None:
            return None
        try:
            job = self._task_digester().branch()
        except UndigestibleError:  # which is told of where scores are not kept
            return None
        data = (self.task.train, queries)
        return Parts(job, data, self.folder / "parts", self.tell, self.fresh)

    def find(self, candidate: Candidate, what: str = "scores") -> Scores | None:
        """Return what was kept, or None."""
        path = self._path(candidate, what)
        found = path is not None and path.is_file() and not self.fresh
        return Scores.load(path) if path is not None and found else None

    def keep(self, candidate: Candidate, scores: Scores, what: str = "scores") -> None:
        """Write scores, whole or not at all."""
        path = self._path(candidate, what)
        if path is not None:
            scores.save(path)

    def _path(self, candidate: Candidate, what: str) -> Path | None:
        if self.folder is None:
            return None
        if id(candidate) not in self._names:  # before it scores, which may change its fields
            self._names[id(candidate)] = candidate, self._name(candidate)
        name = self._names[id(candidate)][1]
        if name is None:
            return None
        return self.folder / f"{candidate.method}-{what}-{name}.safetensors"

    def _name(self, candidate: Candidate) -> str | None:
        try:
            digester = self._task_digester().branch()
            for part in self._decisive(candidate):
                digester.add(part)
        except UndigestibleError as error:
            self.tell(f"the scores of {candidate.method} are not kept: {error}")
            return None
        return digester.hexdigest()[:32]

    def _task_digester(self) -> Digester:
        if self._of_task is None:
            self._of_task = _digester_of(self.task)
        return self._of_task

    def _decisive(self, candidate: Candidate) -> Iterator[Any]:
        """Yield what of a candidate decides scores, beyond the task."""
        of_plugin, of_module = self._code
        entry, plugin = plugins.attributors()[candidate.method]
        yield candidate.method
        yield dict(candidate.options)
        yield of_plugin(plugin)
        yield [of_module(package) for package in entry.needs]
        yield candidate.attributor


def _digester_of(task: Task) -> Digester:
    """Return what has taken in all of a task that decides scores."""
    digester = new_digester()
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
    for name in OF_NO_SCORE:
        del fields[name]
    fields["train"] = digests_of(fields["train"], "train")
    fields["queries"] = [digests_of(kind.examples, "queries") for kind in fields["queries"]]
    digester.add(fields)
    return digester
