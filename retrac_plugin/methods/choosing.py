"""Which method the evidence favours, see the page of results in the docs."""

from __future__ import annotations

from retrac_plugin.methods.timestep_kernels import RetracKernel


def best_for(train: int) -> str:
    """Return the registered name of the method that the evidence favours.

    Args:
        train: Number of training samples: a kernel of all pairs while it can be inverted, then its
            linear form.
    """
    limit = RetracKernel.limit
    return "retrac-kernel" if limit is None or train <= limit.samples else "retrac-ridge"
