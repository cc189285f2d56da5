"""A device that torch does not take for the CPU: its memory is the CPU's, its company its own.

Torch leaves one backend key, PrivateUse1, to devices it has never heard of, and treats them as it
treats CUDA's: autograd runs in a thread of the device, ``vmap`` batches, views stay views. Here
every kernel under that key runs the CPU's on the same bytes, after refusing what CUDA refuses: a
tensor of another device, and a generator of another device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import DisableTorchFunction, DispatchKey

from tests.pretend.operators import FETCHED, LOOKED_AT, Facts, facts_of
from tests.pretend.watch import Memory, launched, note

NAME = "pretend"
CPU = torch.device("cpu")
aten = torch.ops.aten

ONE_KERNEL = (
    "convolution",
    "convolution_backward",
    "native_group_norm",
    "native_layer_norm",
    "embedding",
    "_safe_softmax",
    "mse_loss",
)
"""Operators that torch would take apart, or has no way to run, on a device it does not know."""

own_numbers = torch.Generator().manual_seed(1234)
"""The device's own generator: its random numbers are not the CPU's, as on a GPU."""

reading: list[Callable[[str, Any], Any]] = []
"""What changes arguments as kernels read them; see ``tensor_cores``."""

lacking: set[torch.dtype] = set()
"""Types that the device has not: ``{torch.float64}`` makes it like Apple's."""


def on_device(value: Any) -> bool:
    """Return whether a value is a tensor of the device."""
    return isinstance(value, Tensor) and not value.is_cpu and value.device.type == NAME


def as_host(tensor: Tensor) -> Tensor:
    """Return a CPU tensor on the bytes of a device tensor, and any other tensor as it is."""
    if not on_device(tensor):
        return tensor
    storage = tensor.untyped_storage().memory.storage
    host = torch.empty(0, dtype=tensor.dtype)
    host.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    if tensor.is_conj():
        host = torch._conj(host)
    return torch._neg_view(host) if tensor.is_neg() else host


def as_device(host: Tensor) -> Tensor:
    """Return a new device tensor on the bytes of a CPU tensor."""
    if host.dtype in lacking:
        raise TypeError(f"the device {NAME!r} has no {host.dtype}")
    if host._is_zerotensor():
        host = host.clone()
    host = host.resolve_conj().resolve_neg()
    return _lay_on(torch._C._acc.create_empty_tensor([0], host.dtype), host)


def storage_on(memory: Any) -> Any:
    """Return a storage of the device on the bytes of a CPU storage."""
    storage = torch._C._construct_storage_from_data_pointer(
        memory.data_ptr(), torch.device(NAME, 0), memory.nbytes()
    )
    storage.memory = Memory(memory)  # which so lives as long as the storage
    return storage


def _lay_on(tensor: Tensor, host: Tensor) -> Tensor:
    """Let a device tensor have the bytes, the shape and the strides of a CPU tensor."""
    storage = storage_on(host.untyped_storage())
    place = host.storage_offset(), host.size(), host.stride()
    return aten.set_.source_Storage_storage_offset._op_dk(DispatchKey.CPU, tensor, storage, *place)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change all tensors of an operator's arguments or results."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)([_mapped(part, change) for part in value])
    return value


def _refuse_stranger(op: Any, value: Tensor) -> None:
    """Raise what CUDA raises when a tensor of the CPU meets its own."""
    facts = facts_of(op)
    if facts.pointwise and value.dim() == 0:  # a number in a tensor's clothes
        return
    if facts.name in FETCHED and value.dtype in (torch.int64, torch.bool):
        note("positions sent")
        return
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        f"{NAME}:0 and {value.device}! ({op} with a tensor {tuple(value.shape)})"
    )


def _numbers_to_tensors(positions: tuple[int, ...], args: list[Any]) -> list[Any]:
    """Make tensors again of those that became numbers on their way to Python."""
    made = list(args)
    for i in positions:
        if i < len(args) and isinstance(args[i], (bool, int, float)):
            floating = [a.dtype for a in args if isinstance(a, Tensor) and a.is_floating_point()]
            dtype = floating[0] if floating and isinstance(args[i], float) else None
            made[i] = torch.tensor(args[i], dtype=dtype, device=CPU)
    return made


def run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator: views on the device tensors themselves, all else on the CPU's bytes."""
    facts = facts_of(op)
    with DisableTorchFunction():
        if facts.view:
            return op._op_dk(DispatchKey.CPU, *args, **kwargs)
        if facts.name in LOOKED_AT:
            note(facts.name)
        launched()
        return _compute(op, facts, args, kwargs)


class _Crossing:
    """One operator's tensors on their way to the CPU's kernel and back: the same stay the same."""

    def __init__(self, op: Any) -> None:
        self.op = op
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}

    def there(self, tensor: Tensor) -> Tensor:
        """Return what the kernel gets for a tensor."""
        known = self.pairs.get(id(tensor))
        if known is not None:
            return known[1]
        if not on_device(tensor):
            _refuse_stranger(self.op, tensor)
            return tensor
        host = as_host(tensor)
        self.pairs[id(tensor)] = tensor, host
        return host

    def back(self, result: Any) -> Any:
        """Return a kernel's result on the device; what it resized is resized there too."""
        if not facts_of(self.op).writes:
            return as_device(result) if isinstance(result, Tensor) else _mapped(result, as_device)
        given = {id(host): tensor for tensor, host in self.pairs.values()}
        for tensor, host in self.pairs.values():
            if (host.size(), host.stride()) != (tensor.size(), tensor.stride()):
                _lay_on(tensor, host)
        return _mapped(result, lambda t: given[id(t)] if id(t) in given else as_device(t))


def _compute(op: Any, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    crossing = _Crossing(op)
    host_args = _numbers_to_tensors(facts.numbers, [_mapped(each, crossing.there) for each in args])
    for change in reading:
        host_args = change(facts.name, host_args)
    host_kwargs = {name: _mapped(value, crossing.there) for name, value in kwargs.items()}
    if "device" in host_kwargs:
        host_kwargs["device"] = CPU
    if facts.draws:
        if host_kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{NAME}' device type for generator ({op})")
        host_kwargs["generator"] = own_numbers
    return crossing.back(op(*host_args, **host_kwargs))


def allocate(make: Any, *shape: Any, dtype: Any = None, **options: Any) -> Tensor:
    layout = options.get("memory_format")
    chosen = {} if layout is None else {"memory_format": layout}
    with DisableTorchFunction():
        return as_device(make(*shape, dtype=dtype, device=CPU, **chosen))


def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    if not on_device(source):
        note("sent")
    elif not on_device(target):
        note("fetched")
    launched()
    with DisableTorchFunction():
        as_host(target).copy_(as_host(source))
    return target
