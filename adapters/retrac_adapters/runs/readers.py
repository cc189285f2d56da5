"""How a run's images become examples: whether its model is a latent one, how they are framed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import FluxTransformer2DModel

from retrac_adapters.images.framed import Frame, FramedReader
from retrac_adapters.images.framing import Framing
from retrac_adapters.images.precise import PreciseFraming
from retrac_adapters.latents.latent_runs import LatentReader
from retrac_adapters.scripts.arguments import UNCONDITIONAL, Arguments
from retrac_adapters.scripts.config_keys import unread_keys
from retrac_adapters.scripts.layout import find_base
from retrac_plugin.data.image_files import ExampleReader, PlainFiles
from retrac_plugin.data.picture_values import Shape
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, NOT_RECORDED, UNUSABLE, Finding
from retrac_plugin.trace.trace import Trace

CONFIG = "config.json"


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
    vae = _find_vae(homes, arguments)
    if vae is None:
        return _pixel_reader(network, arguments, trace)
    home = next((home for home in homes if (home / "text_encoder").is_dir()), vae.parent)
    framing, findings = _framing(vae, network, arguments)
    findings += [*_check_channels(vae, network), *unread_keys(vae / CONFIG)]
    if trace is None or not trace.keeps_samples:
        findings += _not_replayed(arguments)
    text = (
        f"images are encoded by {str(vae)!r}, at a resolution of {framing.resolution}, "
        f"resized by {framing.interpolation}"
    )
    reader = LatentReader(home, framing, arguments, vae=vae, recorded=trace is not None)
    return reader, [Finding(FOUND, "latents", text), *findings]


def _find_vae(homes: Sequence[Path], arguments: Arguments) -> Path | None:
    """Return the folder of the autoencoder that a run used, or None if it used none.

    Raises:
        InputError: If the arguments name one that is not here.
    """
    named = arguments.get("pretrained_vae_model_name_or_path")
    own = next((home / "vae" for home in homes if (home / "vae" / "config.json").is_file()), None)
    if named is None or (own is not None and own.parent == homes[0]):
        return own  # a run that has ended holds the autoencoder that it used
    found = find_base(str(named), CONFIG)
    places = [] if found is None else [found, found / "vae"]
    inner = next((place for place in places if (place / CONFIG).is_file()), None)
    if inner is None:
        raise InputError(
            f"training encoded its images by {named!r}, which is neither a folder nor a model in "
            "the Hugging Face cache: pass arguments={'pretrained_vae_model_name_or_path': FOLDER}"
        )
    return inner


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
    framing: Frame = Framing(side, "bilinear")
    if arguments.get("preserve_input_precision"):
        framing = PreciseFraming(side)
    reader = FramedReader(framing, arguments, trace is not None)
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


def _framing(vae: Path, network: Any, arguments: Arguments) -> tuple[Framing, list[Finding]]:
    # Scripts older than the option resized bilinearly, and their arguments do not name it.
    default = "bilinear" if arguments.complete else "lanczos"
    interpolation = str(arguments.get("image_interpolation_mode", default)).lower()
    resolution = arguments.get("resolution")
    if resolution is not None:
        return Framing(int(resolution), interpolation), []
    side = _default_resolution(vae, network)
    text = (
        f"taken as {side}, the model's own: pass arguments={{'resolution': ...}} if it was another"
    )
    return Framing(side, interpolation), [Finding(NOT_RECORDED, "resolution", text)]


def _default_resolution(vae: Path, network: Any) -> int:
    """Return the size of image whose latent is as large as the denoiser was configured for."""
    path = vae / CONFIG
    try:
        halvings = len(json.loads(path.read_text())["block_out_channels"]) - 1
        return int(network.config.sample_size) * int(2**halvings)
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"the resolution of training is not recorded, and {str(path)!r} does not tell it "
            f"({error!r}): pass arguments={{'resolution': ...}}"
        ) from error


def _check_channels(vae: Path, network: Any) -> list[Finding]:
    """Return whether the denoiser is shown latents alone, and not pictures beside them."""
    try:
        channels = int(json.loads((vae / CONFIG).read_text())["latent_channels"])
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # reading it tells of that
        return []
    packed = 4 if isinstance(network, FluxTransformer2DModel) else 1  # squares of 2 x 2
    shown = getattr(network.config, "in_channels", None)
    if shown in (None, channels * packed):
        return []
    text = (
        f"it is shown {shown} channels, where latents have {channels * packed}: pictures beside "
        "the noisy latent, as InstructPix2Pix, inpainting and control models are. Not followed"
    )
    return [Finding(UNUSABLE, "denoiser", text)]


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
