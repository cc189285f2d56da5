"""What a network and its answers are held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from retrac_plugin.errors import InputError


def check_prediction(prediction: Any, target: Tensor, prediction_type: str) -> None:
    """Refuse what is no prediction of a target.

    Raises:
        InputError: If it is no tensor, or is not shaped as the target.
    """
    if not isinstance(prediction, Tensor):
        raise InputError(
            f"predict returned a {type(prediction).__name__}: expected the prediction itself, "
            "a tensor such as its .sample or its first part"
        )
    if prediction.shape != target.shape:
        raise InputError(
            f"the network predicts {tuple(prediction.shape)}, expected {tuple(target.shape)} for "
            f"prediction type {prediction_type!r}"
        )


def check_elementwise(error: Tensor, prediction: Tensor) -> None:
    """Refuse a loss that was averaged over the samples of a batch.

    Raises:
        InputError: If it is not one of each element, or at least of each sample.
    """
    if error.dim() == 0 or len(error) != len(prediction):
        raise InputError(
            f"the loss returned the shape {tuple(error.shape)} for predictions "
            f"{tuple(prediction.shape)}: expected one of each element, as reduction='none' has"
        )


def described(fields: Mapping[str, Any]) -> str:
    """Return the names and shapes of fields, for a message."""
    return ", ".join(
        f"{name} {list(value.shape) if isinstance(value, Tensor) else sorted(value)}"
        for name, value in fields.items()
    )


def check_deterministic(network: nn.Module) -> None:
    """Refuse a network whose output for one sample depends on chance or on the rest of its batch.

    Raises:
        InputError: If dropout is active, or a batch normalisation uses the batch's own statistics.
    """
    for name, module in network.named_modules():
        dropout = isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
        dropout |= getattr(module, "dropout_prob", 0) > 0  # a DiT's labels, at random, are dropped
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if module.training and (dropout or batch_norm):
            raise InputError(
                f"{type(module).__name__} {name!r} is in training mode, so the loss of a sample is "
                "not a function of that sample. Call network.eval() first"
            )
