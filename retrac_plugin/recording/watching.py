"""All seams at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from retrac_plugin.recording.diffusing import watching_diffusers
from retrac_plugin.recording.loaders import watching_loaders
from retrac_plugin.recording.mixing import MixingWatch, watching_mixing
from retrac_plugin.recording.script import ScriptRecording
from retrac_plugin.recording.stepping import watching_optimizers


@contextmanager
def watching(recording: ScriptRecording) -> Iterator[None]:
    """Record whatever is trained inside the ``with`` block."""
    with ExitStack() as stack:
        stack.callback(recording.close)
        diffusers = stack.enter_context(watching_diffusers(recording))
        mixing = stack.enter_context(watching_mixing(recording))
        loaders = _watching_steps(stack, recording, mixing)

        def received(ids: Tensor | None, dataset: Any, loader: Any) -> None:
            diffusers.look()
            recording.received(ids, dataset, loader)

        stack.enter_context(watching_loaders([DataLoader, *loaders], received))
        yield


def _watching_steps(
    stack: ExitStack, recording: ScriptRecording, mixing: MixingWatch
) -> list[type]:
    """Watch steps; return the data loaders of accelerate, where it is installed."""
    if find_spec("accelerate") is None:
        stack.enter_context(watching_optimizers(recording.about_to_step, recording.stepped))
        return []
    from retrac_plugin.recording.accelerated import LOADERS, watching_accelerate

    stack.enter_context(watching_accelerate(recording, mixing.watch))
    return LOADERS
