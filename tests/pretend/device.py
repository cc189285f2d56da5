"""Gives torch the pretend device, for the rest of a process, and what goes with a device."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch.utils import backend_registration

from tests.pretend import autocast
from tests.pretend.kernels import (
    NAME,
    ONE_KERNEL,
    allocate,
    aten,
    copy,
    own_numbers,
    run,
    storage_on,
)
from tests.pretend.watch import Memory, note

_registered: list[torch.library.Library] = []


def _send_storage(storage: Any, device: torch.device, non_blocking: bool = False) -> Any:
    """Do as ``torch._utils._to``, which ``torch.load`` calls."""
    if device.type != NAME or storage.device.type == NAME:
        return torch._utils._to(storage, device, non_blocking)
    note("sent")
    return storage_on(storage.clone())


class _Accelerator:
    """``torch.pretend``: as much of ``torch.cuda`` as others ask for."""

    is_available = is_initialized = staticmethod(lambda: True)
    current_device, device_count = staticmethod(lambda: 0), staticmethod(lambda: 1)
    _is_in_bad_fork = staticmethod(lambda: False)
    get_rng_state = staticmethod(lambda *device: own_numbers.get_state())
    set_rng_state = staticmethod(lambda state, *device: own_numbers.set_state(state))
    manual_seed = manual_seed_all = staticmethod(lambda seed: own_numbers.manual_seed(seed + 1))
    reset_peak_memory_stats = staticmethod(lambda *device: Memory.start_over())
    max_memory_allocated = staticmethod(lambda *device: Memory.peak)
    memory_allocated = staticmethod(lambda *device: Memory.held)
    synchronize = staticmethod(lambda *device: note("synchronize"))
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    device = staticmethod(lambda index: nullcontext())  # there is one, and it is the current one


def install() -> torch.device:
    """Give torch the device, for the rest of the process, and return it."""
    if not _registered:
        backend_registration._setup_privateuseone_for_python_backend(NAME, _Accelerator())
        everything, own = (torch.library.Library(space, "IMPL") for space in ("_", "aten"))
        _registered.extend([everything, own])
        everything.fallback(run, "PrivateUse1")
        for name in ONE_KERNEL:
            own.impl(name, partial(run, getattr(aten, name).default), "PrivateUse1")
        own.impl("empty.memory_format", partial(allocate, torch.empty), "PrivateUse1")
        own.impl("empty_strided", partial(allocate, torch.empty_strided), "PrivateUse1")
        own.impl("_copy_from", copy, "PrivateUse1")
        for key in ("Conjugate", "Negative"):  # a copy resolves them itself
            own.impl("_copy_from", torch.library.fallthrough_kernel, key)
        autocast.register(everything, own)
        torch.storage._to = _send_storage
        torch.Tensor.pin_memory = lambda tensor, device=None: tensor.clone()
        # So that ``network.to(device)`` keeps its parameters' identity, as it does for CUDA.
        torch.__future__.set_swap_module_params_on_conversion(True)
    return torch.device(NAME, 0)
