"""Which of a training's processes this one is."""

from __future__ import annotations

import os

from torch import distributed


def this_process() -> tuple[int, int]:
    """Return this process's number and how many there are: ``(0, 1)`` for a lone one.

    Asks the process group where there is one, else the variables that ``torchrun`` and
    ``accelerate launch`` set.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
