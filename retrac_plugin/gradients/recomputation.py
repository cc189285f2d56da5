"""Gradient checkpointing: layers that a backward pass runs a second time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.checkpoint import CheckpointError

from retrac_plugin.errors import GradientError

_OLD_KIND = "torch.utils.checkpoint is incompatible"


@contextmanager
def refusing_recomputation() -> Iterator[None]:
    """Refuse, with advice, what fails because layers are run again where nobody watches them.

    Frozen layers may be: they are run with the same weights, see ``Losses.holding``.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, CheckpointError) and _OLD_KIND not in str(error):
            raise
        raise GradientError(
            "gradient checkpointing runs layers a second time, out of sight: switch it off "
            "(for models of diffusers: network.disable_gradient_checkpointing())"
        ) from error
