"""Where the parts of a training run lie; imports no diffusers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.extras import requires

PARTS = ("unet", "transformer")
"""What the folder of a denoiser is called."""

LORA_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Layout:
    """The parts of a run that a folder holds.

    Attributes:
        directory: The run.
        part: What the denoiser is called, one of ``PARTS``.
        network: The denoiser's configuration file, or None.
        scheduler: The scheduler's configuration file, or None.
        lora: A file of a low-rank adapter, or None if all weights were trained.
    """

    directory: Path
    part: str
    network: Path | None
    scheduler: Path | None
    lora: Path | None


def find_layout(directory: Path) -> Layout | None:
    """Return where a run's parts lie, or None if it is not a run of diffusers.

    The denoiser's configuration is looked for in a ``unet`` or ``transformer`` folder of the run or
    its checkpoints, then, if there is a scheduler, in the run and its checkpoints themselves; the
    scheduler's in ``scheduler`` folders; adapters in the run and its checkpoints.
    """
    homes = (directory, *sorted(directory.glob("checkpoint-*")))
    scheduler = find_scheduler(*homes)
    lora = next((path for home in homes if (path := home / LORA_FILE).is_file()), None)
    places = [(part, home / part) for home in homes for part in PARTS]
    if scheduler is not None:
        places += [(PARTS[0], home) for home in homes]
    configs = ((part, folder / "config.json") for part, folder in places)
    part, network = next(((p, c) for p, c in configs if c.is_file()), (PARTS[0], None))
    if lora is None and network is None:
        return None
    return Layout(directory, part, network, scheduler, lora)


def find_scheduler(*homes: Path) -> Path | None:
    """Return the first scheduler's configuration file in some folders."""
    files = (home / "scheduler" / "scheduler_config.json" for home in homes)
    return next((path for path in files if path.is_file()), None)


def find_base(
    name: str | Path, file: str = "model_index.json", revision: str | None = None
) -> Path | None:
    """Return the folder of a model by its path, or by its name in the Hugging Face cache.

    Args:
        name: Its path or name.
        file: What lies in the folder in the cache.
        revision: Of the model in the cache; None for the one that is downloaded by default.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    with requires(f"looking for {str(name)!r} in the Hugging Face cache", "diffusers"):
        from huggingface_hub import try_to_load_from_cache
    try:
        found = try_to_load_from_cache(str(name), file, revision=revision)
    except ValueError:  # a path that does not exist is no name of the Hub either
        return None
    return Path(found).parent if isinstance(found, str) else None
