"""What a metric returns, as the number that it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from numbers import Real
from typing import Any

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.evidence import Evidence


def numeric(metric: Callable[..., Any]) -> Callable[[Tensor, Evidence], float]:
    """Return a metric that returns a float where ``metric`` returns any number.

    A tensor or an array of one element is a number, and so is what Python takes for a real one.

    Raises:
        InputError: Once it is called, if it returns something else.
    """

    def measure(values: Tensor, evidence: Evidence) -> float:
        found = metric(values, evidence)
        number = found
        if hasattr(found, "item"):
            with suppress(ValueError, RuntimeError):  # of more elements than one
                number = found.item()
        if isinstance(number, Real):
            return float(number)
        shape = f" of shape {list(found.shape)}" if hasattr(found, "shape") else ""
        raise InputError(f"the metric returned a {type(found).__name__}{shape}, expected a number")

    return measure
