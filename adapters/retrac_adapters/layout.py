"""Where the parts of a training run lie; imports no diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Configs(NamedTuple):
    """The two configuration files of a run."""

    network: Path
    scheduler: Path


def find_configs(directory: Path) -> Configs | None:
    """Return where a run's configurations lie, or None if it is not a run of diffusers.

    The denoiser's is looked for in the run, its ``unet`` folder, and its checkpoints; the
    scheduler's in ``scheduler`` folders.
    """
    homes = (directory, *sorted(directory.glob("checkpoint-*")))
    networks = (folder / "config.json" for home in homes for folder in (home / "unet", home))
    schedulers = (home / "scheduler" / "scheduler_config.json" for home in homes)
    network = next((path for path in networks if path.is_file()), None)
    scheduler = next((path for path in schedulers if path.is_file()), None)
    return None if network is None or scheduler is None else Configs(network, scheduler)
