"""dattri's own random projection, in both of its layouts.

dattri 0.3.0 takes its settings as keywords, the releases after it as a ``RandomProjectionParams``.
Which one is here is seen from the signature: the development version calls itself 0.0.1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from dattri.func.projection import random_project
from torch import Tensor

from retrac_plugin.errors import InputError

Projection = Callable[[Tensor, int], Tensor]
"""``(gradients [row, width], checkpoint) -> features [row, proj_dim]``."""

DEFAULTS = {"proj_dim": 512, "proj_max_batch_size": 32, "proj_seed": 0, "proj_type": "normal"}
"""Those of dattri's TracIn, where some setting is given."""


def projection(
    projector_kwargs: Mapping[str, Any] | None, proj_params: Any, device: torch.device
) -> Projection | None:
    """Return the projection that dattri would make of the settings, or None for none.

    Args:
        projector_kwargs: Settings as dattri 0.3.0 takes them.
        proj_params: Settings as dattri's later layout takes them, or the same as a mapping.
        device: Where to project.

    Raises:
        InputError: If both are given, or a setting is unknown.
    """
    if projector_kwargs is not None and proj_params is not None:
        raise InputError("give projector_kwargs or proj_params, which mean the same, not both")
    given = projector_kwargs if projector_kwargs is not None else proj_params
    if given is None:
        return None
    settings = DEFAULTS | settings_of(given)
    if settings["proj_type"] == "identity":
        return None
    return lambda gradients, checkpoint: _projector(gradients, settings, device)(
        gradients, ensemble_id=checkpoint
    )


def settings_of(given: Any) -> dict[str, Any]:
    """Return the settings of a projection, without the device, which is the attributor's own.

    Args:
        given: A mapping, or what dattri's later layout takes.

    Raises:
        InputError: If one is unknown, such as ``use_half_precision`` of dattri's earliest releases.
    """
    settings = dict(given if isinstance(given, Mapping) else vars(given))
    settings.pop("device", None)
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise InputError(
            f"projection: unknown {', '.join(unknown)}, expected some of {', '.join(DEFAULTS)}"
        )
    return settings


def _projector(
    gradients: Tensor, settings: dict[str, Any], device: torch.device
) -> Callable[..., Tensor]:
    options = {"feature_batch_size": len(gradients), "device": device, **settings}
    if "proj_params" not in inspect.signature(random_project).parameters:
        return random_project(gradients, **options)  # type: ignore[no-any-return]
    from dattri.params.projection import RandomProjectionParams

    params = RandomProjectionParams(**options)
    return random_project(gradients, params)  # type: ignore[no-any-return]
