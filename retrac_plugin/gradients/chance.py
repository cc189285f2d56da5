"""Whether a network draws at random while it runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from retrac_plugin.errors import GradientError


@contextmanager
def refusing_chance(device: torch.device) -> Iterator[None]:
    """Refuse a network that takes numbers from a random generator, however rarely they matter.

    Raises:
        GradientError: If a global generator (torch's, NumPy's or Python's) was drawn from.
    """
    before = _states(device)
    yield
    drawn = [name for name, state in _states(device).items() if state != before[name]]
    if drawn:
        raise GradientError(
            f"the network draws at random in its forward pass (by {', '.join(drawn)}), such as "
            "dropout or conditions dropped by chance: expected a loss that is a function of its "
            "sample alone. Switch it off (network.eval(), or an argument such as cond_drop_prob=0, "
            "given through wrap(..., predict=))"
        )


def _states(device: torch.device) -> dict[str, Any]:
    states: dict[str, Any] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy.random": [np.asarray(part).tobytes() for part in np.random.get_state()],
        "random": random.getstate(),
    }
    module: Any = None if device.type == "cpu" else torch.get_device_module(device)
    if hasattr(module, "get_rng_state"):
        states[f"torch on {device}"] = module.get_rng_state(device).numpy().tobytes()
    return states
