"""Devices by name, tried before anything is computed on them, and what they tell of themselves."""

from __future__ import annotations

from typing import Any

import torch

from retrac_plugin.errors import InputError


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that can be used here, with its number: "cuda" is "cuda:0", or another.

    Raises:
        InputError: If there is none of that name, or torch cannot use it on this machine.
    """
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"device: expected one that can be used here, such as 'cpu' or, with a GPU, 'cuda:0', "
            f"got {str(device)!r} ({reason})"
        ) from error
    if found.type == "meta":
        raise InputError("device: 'meta' holds no numbers; expected such as 'cpu' or 'cuda:0'")
    return found


def check_type(device: torch.device, dtype: torch.dtype) -> None:
    """Refuse a floating type that a device lacks, as Apple's lack float64.

    Raises:
        InputError: If it does.
    """
    try:
        torch.empty(0, dtype=dtype, device=device)
    except TypeError as error:
        raise InputError(
            f"device: {str(device)!r} has no {dtype}, in which the network is. Compute on the "
            "'cpu', or in float32: network.float(), before it is wrapped"
        ) from error


def check_default_device() -> None:
    """Refuse to compute where torch makes its tensors elsewhere by default.

    Raises:
        InputError: If it does.
    """
    default = torch.get_default_device()
    if default.type != "cpu":
        raise InputError(
            f"torch.set_default_device({str(default)!r}) is on, so that indices and draws would be "
            "made there too. Switch it off, torch.set_default_device('cpu'), and give device= "
            "instead: gradients are then computed there"
        )


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    _tell(device, "synchronize", None)


def start_over(device: torch.device) -> None:
    """Let a device forget the peak of its memory."""
    _tell(device, "reset_peak_memory_stats", None)


def peak_bytes(device: torch.device) -> int:
    """Return the most bytes held on a device since ``start_over``; 0 where it does not tell."""
    peak: int = _tell(device, "max_memory_allocated", 0)
    return peak


def held_bytes(device: torch.device) -> int:
    """Return the bytes held on a device now; 0 where it does not tell."""
    held: int = _tell(device, "memory_allocated", 0)
    return held


def name_of(device: torch.device) -> str:
    """Return a device's name, with what it is where it tells."""
    told = _tell(device, "get_device_name", None)
    return str(device) if told is None else f"{device}, {told}"


def _tell(device: torch.device, question: str, unknown: Any) -> Any:
    """Ask torch's module of a device, such as ``torch.cuda``; the CPU has no answers."""
    module: Any = None if device.type == "cpu" else torch.get_device_module(device)
    function = getattr(module, question, None)
    if function is None:
        return unknown
    return function() if device.type == "mps" else function(device)
