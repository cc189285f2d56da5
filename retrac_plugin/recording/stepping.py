"""Sees the steps of torch's optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)


@contextmanager
def watching_optimizers(
    about_to_step: Callable[[Optimizer], None],
    stepped: Callable[[float, Optimizer], None],
    counted_elsewhere: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Call ``about_to_step`` before each step, ``stepped`` after those not counted elsewhere."""

    def before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        about_to_step(optimizer)

    def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not counted_elsewhere():
            stepped(learning_rate(optimizer), optimizer)

    handles = [
        register_optimizer_step_pre_hook(before_step),
        register_optimizer_step_post_hook(after_step),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def learning_rate(optimizer: Any) -> float:
    """Return the learning rate of the first group of parameters, as diffusers' scripts log it."""
    return float(optimizer.param_groups[0]["lr"])
