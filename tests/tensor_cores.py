"""TF32 without a GPU: products of float32 read 10 bits of mantissa, where torch allows it."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = {"convolution": (0, 1), "convolution_backward": (0, 1, 2)}
PRODUCTS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}
"""Positions of what is multiplied; what is added is not rounded."""


def in_tf32(tensor):
    """Round to 10 bits of mantissa, as tensor cores read float32."""
    if tensor.dtype != torch.float32:
        return tensor
    bits = tensor.contiguous().view(torch.int32)
    return ((bits + 0x1000) & -0x2000).view(torch.float32)


def read_by_tensor_cores(name, args):
    """Return an operator's arguments as a card reads them, by torch's switches at that moment."""
    places = ()
    if torch.backends.cudnn.allow_tf32:
        places = CONVOLUTIONS.get(name, ())
    if torch.backends.cuda.matmul.allow_tf32:
        places = places or PRODUCTS.get(name.removesuffix("_"), ())
    return [in_tf32(value) if i in places else value for i, value in enumerate(args)]


class TensorCores(TorchDispatchMode):
    """Let the CPU compute so; by torch's defaults convolutions are rounded, matrix products not."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        return func(*read_by_tensor_cores(name, args), **(kwargs or {}))
