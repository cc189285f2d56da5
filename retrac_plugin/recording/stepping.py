"""Sees optimiser steps, checkpoints and resumes.

Under accelerate a step counts when the script counts it: when gradients were synchronised, also if
a loss scaler then skipped the update. Elsewhere every step of an optimiser counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import DataLoader

from retrac_plugin.recording.patching import wrapped


class Training(Protocol):
    """What is told of a training."""

    def stepped(self, step_size: float) -> None:
        """An optimiser step was done, with this learning rate."""

    def saved(self, directory: str) -> None:
        """A checkpoint is about to be saved."""

    def resumed(self, directory: str) -> None:
        """A checkpoint was loaded."""

    def belongs_in(self, directory: str) -> None:
        """The script names the folder of its run."""


@contextmanager
def watching_steps(training: Training) -> Iterator[list[type]]:
    """Watch a training; yields the classes of data loaders it may use."""
    with ExitStack() as stack:
        if find_spec("accelerate") is None:
            stack.enter_context(_watching_optimizers(training.stepped, lambda: False))
            yield [DataLoader]
        else:
            yield [DataLoader, *stack.enter_context(_watching_accelerate(training))]


@contextmanager
def _watching_optimizers(
    stepped: Callable[[float], None], counted_elsewhere: Callable[[], bool]
) -> Iterator[None]:
    def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not counted_elsewhere():
            stepped(_learning_rate(optimizer))

    handle = register_optimizer_step_post_hook(after_step)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _watching_accelerate(training: Training) -> Iterator[list[type]]:
    from accelerate import Accelerator
    from accelerate.data_loader import DataLoaderDispatcher, DataLoaderShard, SkipDataLoader
    from accelerate.optimizer import AcceleratedOptimizer

    inside: list[Any] = []

    def step(original: Callable[..., None], optimizer: Any, *args: Any, **kwargs: Any) -> None:
        synchronised, rate = optimizer.gradient_state.sync_gradients, _learning_rate(optimizer)
        inside.append(optimizer)
        try:
            original(optimizer, *args, **kwargs)
        finally:
            inside.pop()
        if synchronised:
            training.stepped(0.0 if optimizer.step_was_skipped else rate)

    def construct(original: Callable[..., None], accelerator: Any, *args: Any, **kw: Any) -> None:
        original(accelerator, *args, **kw)
        if accelerator.project_dir is not None:
            training.belongs_in(str(accelerator.project_dir))

    def save(
        original: Callable[..., Any],
        accelerator: Any,
        output_dir: Any = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        training.saved(str(output_dir))
        return original(accelerator, output_dir, *args, **kw)

    def load(
        original: Callable[..., Any], accelerator: Any, input_dir: Any = None, *args: Any, **kw: Any
    ) -> Any:
        training.resumed(str(input_dir))
        return original(accelerator, input_dir, *args, **kw)

    with ExitStack() as stack:
        stack.enter_context(_watching_optimizers(training.stepped, lambda: bool(inside)))
        for owner, name, around in (
            (AcceleratedOptimizer, "step", step),
            (Accelerator, "__init__", construct),
            (Accelerator, "save_state", save),
            (Accelerator, "load_state", load),
        ):
            stack.enter_context(wrapped(owner, name, around))
        yield [DataLoaderShard, DataLoaderDispatcher, SkipDataLoader]


def _learning_rate(optimizer: Any) -> float:
    """Return the learning rate of the first group of parameters, as diffusers' scripts log it."""
    return float(optimizer.param_groups[0]["lr"])
