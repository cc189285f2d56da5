"""All seams at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from retrac_plugin.recording.diffusing import watching_diffusers
from retrac_plugin.recording.loaders import watching_loaders
from retrac_plugin.recording.script import ScriptRecording
from retrac_plugin.recording.stepping import watching_steps


@contextmanager
def watching(recording: ScriptRecording) -> Iterator[None]:
    """Record whatever is trained inside the ``with`` block."""
    with ExitStack() as stack:
        stack.callback(recording.close)
        loader_classes = stack.enter_context(watching_steps(recording))
        diffusers = stack.enter_context(watching_diffusers(recording))

        def received(ids: Tensor | None, dataset: Any) -> None:
            diffusers.look()
            recording.received(ids, dataset)

        stack.enter_context(watching_loaders(loader_classes, received))
        yield
