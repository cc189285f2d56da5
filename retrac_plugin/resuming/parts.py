"""Parts of a job's work on disk, so that a call that was killed goes on where it was.

A part's name is a digest of all that decides it: what the job was made from, see ``contents``, and
what of it the part is. They are removed once the answer is written.
"""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.keeping import Found, Keeping, Make, Of, Tensors
from retrac_plugin.attribution.tensor_files import write
from retrac_plugin.data.encoded import digest, tensor_digest
from retrac_plugin.data.examples import Examples
from retrac_plugin.errors import OutputError, RetracError
from retrac_plugin.errors.guards import reading
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.resuming.digesting import Digester, UndigestibleError


class Parts(Keeping):
    """Keeps the parts of one job in a folder of its own.

    Args:
        job: What has taken in all that the job was made from.
        data: The examples that were taken in with it: only what is of these is kept.
        folder: Folder for the job's.
        tell: Says what is not kept, and why.
        fresh: Whether to leave what is there, and make all anew.
    """

    keeps = True

    def __init__(
        self,
        job: Digester,
        data: tuple[Examples, ...],
        folder: Path,
        tell: Callable[[str], object],
        fresh: bool = False,
    ) -> None:
        self.job, self.data, self.tell = job, data, tell
        self.folder = folder / job.hexdigest()[:32]
        if fresh:
            self.remove()
        self._told: set[str] = set()

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(1 for _ in self.folder.glob("*.safetensors"))

    def part(self, of: Of, make: Make) -> Found:
        """See ``Keeping.part``."""
        path = self._path(of)
        known = None if path is None or not path.is_file() else self._read(path)
        if known is not None:
            return Found(known, was_there=True)
        start, before = time.perf_counter(), self.saved
        made = make()
        if path is not None:
            self._write(path, made, time.perf_counter() - start + self.saved - before)
        return Found(made, was_there=False)

    def tell_of_them(self) -> None:
        """Say that a call goes on after another, if it does."""
        if self.count:
            self.tell(
                f"going on where a call that was stopped was: it left {self.count} parts of work "
                f"in {str(self.folder)!r}, of which none that is still the same is done again"
            )

    def remove(self) -> None:
        """Remove what is kept of the job, whose answer is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._drop_empty()

    def _path(self, of: Of) -> Path | None:
        if not all(any(one is known for known in self.data) for one in of.data):
            return None
        digester = self.job.branch()
        try:
            digester.add(of.decisive)
        except UndigestibleError as error:
            self._tell_once(f"a killed call would begin anew with what cannot be kept: {error}")
            return None
        return self.folder / f"{digester.hexdigest()[:32]}.safetensors"

    def _read(self, path: Path) -> Tensors | None:
        """Return what a file holds, and count the time it took; None if it is damaged."""
        try:
            with reading(path, RetracError), safe_open(path, "pt") as file:
                about = json.loads((file.metadata() or {})["retrac"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
                same, seconds = about["content"] == _content_of(tensors), float(about["seconds"])
        except RetracError:
            return None
        if same:
            self.saved += seconds
        return tensors if same else None

    def _write(self, path: Path, tensors: Tensors, seconds: float) -> None:
        about = {"seconds": seconds, "content": _content_of(tensors)}
        try:
            write(path, tensors, {"retrac": json.dumps(about)})
        except OutputError as error:
            self._drop_empty()
            self._tell_once(f"a killed call would begin anew, since its work is not kept: {error}")

    def _drop_empty(self) -> None:
        for folder in (self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.tell(text)


def kept(attributor: Any, keep: Keeping) -> Any:
    """Return a method that keeps what it has finished, itself if it is none of ours."""
    other = copy.copy(attributor)
    if isinstance(attributor, DiffusionAttributor):
        job = attributor.job
        other.job = replace(job, setting=replace(job.setting, keep=keep))
    elif isinstance(attributor, FeatureAttributor):
        setting = attributor.setting
        other.setting = replace(setting, computing=replace(setting.computing, keep=keep))
    else:
        return attributor
    return other


def _content_of(tensors: Tensors) -> str:
    return digest(*(part for n in sorted(tensors) for part in (n, tensor_digest(tensors[n]))))
