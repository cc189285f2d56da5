"""Sees the steps of torch's optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook


@contextmanager
def watching_optimizers(
    stepped: Callable[[float], None], counted_elsewhere: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Call ``stepped`` with the learning rate after each step that is not counted elsewhere."""

    def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not counted_elsewhere():
            stepped(learning_rate(optimizer))

    handle = register_optimizer_step_post_hook(after_step)
    try:
        yield
    finally:
        handle.remove()


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate of the first group of parameters, as diffusers' scripts log it."""
    return float(optimizer.param_groups[0]["lr"])
