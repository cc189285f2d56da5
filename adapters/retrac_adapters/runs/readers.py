"""How a run's images become examples: whether its model is a latent one, how they are framed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrac_adapters.images.framed import FramedReader
from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.latent_runs import LatentReader
from retrac_adapters.scripts.arguments import UNCONDITIONAL, Arguments
from retrac_plugin.data.image_files import ExampleReader, PlainFiles
from retrac_plugin.data.picture_values import Shape
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, NOT_RECORDED, Finding
from retrac_plugin.trace.trace import Trace


def find_reader(
    directory: Path, base: Path | None, network: Any, arguments: Arguments, trace: Trace | None
) -> tuple[ExampleReader, list[Finding]]:
    """Return how a run's images become examples, and what is not known of that.

    Args:
        directory: The run; a finished text-to-image run holds the whole pipeline.
        base: The model it started from, which holds the autoencoder otherwise.
        network: The denoiser.
        arguments: The training script's.
        trace: What training recorded.

    Raises:
        InputError: If the autoencoder's configuration cannot be read.
    """
    homes = [home for home in (directory, base) if home is not None]
    home = next((home for home in homes if (home / "vae" / "config.json").is_file()), None)
    if home is None:
        return _pixel_reader(network, arguments, trace)
    framing, findings = _framing(home, network, arguments)
    if trace is None or not trace.keeps_samples:
        findings += _not_replayed(arguments)
    text = (
        f"images are encoded by {str(home / 'vae')!r}, at a resolution of {framing.resolution}, "
        f"resized by {framing.interpolation}"
    )
    return LatentReader(home, framing, arguments), [Finding(FOUND, "latents", text), *findings]


def _pixel_reader(
    network: Any, arguments: Arguments, trace: Trace | None
) -> tuple[ExampleReader, list[Finding]]:
    """Return how images are read that are not encoded: as they are, or as the script framed them.

    train_unconditional.py makes a network of ``--resolution``, and resizes bilinearly.
    """
    config = getattr(network, "config", {})
    side = arguments.get("resolution")
    if side is None and arguments.script == UNCONDITIONAL:
        side = config.get("sample_size")
    if not isinstance(side, int) or config.get("in_channels") != 3:
        return PlainFiles(_shape(config, side)), []
    text = f"framed to the {side} x {side} pixels of their centre, resized as the script does"
    cropped = [] if trace is not None and trace.keeps_samples else _random_crop(arguments)
    reader = FramedReader(Framing(side, "bilinear"), arguments)
    return reader, [Finding(FOUND, "images", text), *cropped]


def _shape(config: Mapping[str, Any], resolution: Any) -> Shape | None:
    """Return what a network was made for, at the resolution of training where that is known."""
    side: Any = resolution or config.get("sample_size")
    sides = side if isinstance(side, (list, tuple)) and len(side) == 2 else (side, side)
    numbers: list[Any] = [config.get("in_channels"), *sides]
    if not all(isinstance(number, int) for number in numbers):
        return None  # the configuration does not say
    channels, height, width = numbers
    return channels, height, width


def _framing(home: Path, network: Any, arguments: Arguments) -> tuple[Framing, list[Finding]]:
    # Scripts older than the option resized bilinearly, and their arguments do not name it.
    default = "bilinear" if arguments.complete else "lanczos"
    interpolation = str(arguments.get("image_interpolation_mode", default)).lower()
    resolution = arguments.get("resolution")
    if resolution is not None:
        return Framing(int(resolution), interpolation), []
    side = _default_resolution(home, network)
    text = (
        f"taken as {side}, the model's own: pass arguments={{'resolution': ...}} if it was another"
    )
    return Framing(side, interpolation), [Finding(NOT_RECORDED, "resolution", text)]


def _default_resolution(home: Path, network: Any) -> int:
    """Return the size of image whose latent is as large as the denoiser was configured for."""
    path = home / "vae" / "config.json"
    try:
        halvings = len(json.loads(path.read_text())["block_out_channels"]) - 1
        return int(network.config.sample_size) * int(2**halvings)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"the resolution of training is not recorded, and {str(path)!r} does not tell it "
            f"({error!r}): pass arguments={{'resolution': ...}}"
        ) from error


def _not_replayed(arguments: Arguments) -> list[Finding]:
    findings = [
        Finding(
            NOT_MODELLED,
            "autoencoder",
            "training drew a latent from the posterior at every visit; the posterior's mean is "
            "taken. `retrac record --keep samples` keeps them, to be replayed",
        )
    ]
    return [*findings, *_random_crop(arguments)]


def _random_crop(arguments: Arguments) -> list[Finding]:
    if arguments.get("center_crop") or "resolution" not in arguments.values:
        return []  # or nothing is known of what the script was told
    text = "images were cropped at random; the centre is taken, which is the same for squares"
    return [Finding(NOT_MODELLED, "center_crop", text)]
