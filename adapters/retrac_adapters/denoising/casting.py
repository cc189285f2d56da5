"""diffusers' layerwise casting: weights stored in 8 bits, and cast around every call of a layer.

A checkpoint's weights come already in the type in which they are used. Casting them back after each
call, as the hooks do, would take them away from the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retrac_plugin.model.preconditioning import Conditions, Predict


@dataclass(frozen=True, eq=False)
class WithoutCasting:
    """How to call a network while its layers cast nothing.

    Attributes:
        network: The network.
        predict: How it is called.
    """

    network: nn.Module
    predict: Predict

    def __call__(
        self, call: Callable[..., Any], noisy: Tensor, timesteps: Tensor, conditions: Conditions
    ) -> Tensor:
        """See ``Predict``."""
        with _held(self.network, noisy.dtype):
            return self.predict(call, noisy, timesteps, conditions)


@contextmanager
def _held(network: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Let every hook store and compute in the type that the weights have."""
    hooks = [
        hook
        for module in network.modules()
        if (registry := getattr(module, "_diffusers_hook", None)) is not None
        for hook in registry.hooks.values()
        if hasattr(hook, "storage_dtype") and hasattr(hook, "compute_dtype")
    ]
    types = [(hook.storage_dtype, hook.compute_dtype) for hook in hooks]
    for hook in hooks:
        hook.storage_dtype = hook.compute_dtype = dtype
    try:
        yield
    finally:
        for hook, (stored, computed) in zip(hooks, types, strict=True):
            hook.storage_dtype, hook.compute_dtype = stored, computed
