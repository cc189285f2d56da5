"""Devices by name, tried before anything is computed on them."""

from __future__ import annotations

import torch

from retrac_plugin.errors import InputError


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that can be used here.

    Raises:
        InputError: If there is none of that name, or torch cannot use it on this machine.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"device: expected one that can be used here, such as 'cpu' or, with a GPU, 'cuda:0', "
            f"got {str(device)!r} ({reason})"
        ) from error
    if found.type == "meta":
        raise InputError("device: 'meta' holds no numbers; expected such as 'cpu' or 'cuda:0'")
    return found
