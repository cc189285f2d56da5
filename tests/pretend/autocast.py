"""Autocast for the pretend device: torch has none for devices that it does not know."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet
from torch.utils._pytree import tree_map_only

from tests.pretend.kernels import NAME, aten, on_device

KEY = "AutocastPrivateUse1"
NARROW = ("conv2d", "convolution", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm")
"""What CUDA's autocast computes in less than float32."""
IN_FULL = ("native_layer_norm", "group_norm", "mse_loss", "softmax.int", "exp", "pow.Tensor_Scalar")
"""What it computes in float32."""


def _cast(op: Any, dtype: torch.dtype | None, *args: Any, **kwargs: Any) -> Any:
    """Call an operator with its floating tensors in one type, and autocast left meanwhile."""
    chosen = torch.get_autocast_dtype(NAME) if dtype is None else dtype

    def change(tensor: Tensor) -> Tensor:
        narrow = tensor.is_floating_point() and tensor.dtype != torch.float64
        return tensor.to(chosen) if narrow and on_device(tensor) else tensor

    with torch._C._ExcludeDispatchKeyGuard(DispatchKeySet(getattr(DispatchKey, KEY))):
        args, kwargs = tree_map_only(Tensor, change, (args, kwargs))
        return op(*args, **kwargs)


def register(everything: torch.library.Library, own: torch.library.Library) -> None:
    """Give torch the device's autocast: of all operators, and of those that it casts."""
    everything.fallback(torch.library.fallthrough_kernel, KEY)
    for names, dtype in ((NARROW, None), (IN_FULL, torch.float32)):
        for name in names:
            packet, _, overload = name.partition(".")
            op = getattr(getattr(aten, packet), overload or "default")
            own.impl(name, partial(_cast, op, dtype), KEY)
