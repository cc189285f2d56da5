"""The scalars around a network, as the training scripts of diffusers compute them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.model.preconditioning import Frame

NetworkFrame = Callable[[Tensor], Frame]

_SIGNS = {"epsilon": 1.0, "v_prediction": -1.0}


def denoised_flow(sigmas: Tensor) -> Frame:
    """``--precondition_outputs`` of the SD3 scripts: ``D = x_t - sigma F(x_t)``."""
    ones = torch.ones_like(sigmas)
    return Frame(ones, ones, -sigmas)


def edm(sigma_data: float, prediction_type: str) -> NetworkFrame:
    """Karras et al. (2022), table 1; the sign of ``c_out`` is diffusers' own.

    Args:
        sigma_data: Standard deviation of the data.
        prediction_type: ``"epsilon"`` or ``"v_prediction"``, as in the scheduler's configuration.

    Raises:
        InputError: If the prediction type is another one.
    """
    if prediction_type not in _SIGNS:
        raise InputError(
            f"EDM schedulers know no prediction type {prediction_type!r}: "
            f"expected one of {', '.join(_SIGNS)}"
        )
    sign = _SIGNS[prediction_type]

    def frame(sigmas: Tensor) -> Frame:
        total = sigmas.square() + sigma_data**2
        return Frame(
            total.rsqrt(), sigma_data**2 / total, sign * sigmas * sigma_data * total.rsqrt()
        )

    return frame


def _euler_epsilon(sigmas: Tensor) -> Frame:
    return Frame((sigmas.square() + 1).rsqrt(), torch.ones_like(sigmas), -sigmas)


def _euler_velocity(sigmas: Tensor) -> Frame:
    total = sigmas.square() + 1
    return Frame(total.rsqrt(), total.reciprocal(), -sigmas * total.rsqrt())


EULER: dict[str, NetworkFrame] = {"epsilon": _euler_epsilon, "v_prediction": _euler_velocity}
"""``--do_edm_style_training`` of the SDXL scripts with an Euler scheduler, by prediction type."""
