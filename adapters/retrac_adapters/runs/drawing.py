"""Pictures that a run's own pipeline draws, for queries that nobody has to bring."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMPipeline, UNet2DModel
from torch import Tensor

from retrac_adapters.scripts.layout import Layout
from retrac_adapters.scripts.lora import adapted_parts
from retrac_adapters.scripts.networks import build_scheduler
from retrac_plugin.checkpoints.checkpoint import Checkpoint, network_at
from retrac_plugin.errors import InputError

INDEX = "model_index.json"

FROM_A_PROMPT = (
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusion3Pipeline",
    "FluxPipeline",
)
FROM_NOTHING = ("DDPMPipeline", "DDIMPipeline")

Parts = Callable[[torch.device], Mapping[str, Any]]
"""``device -> parts of a pipeline by name``."""

LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
"""Of whose classes a pipeline may be made: none is imported because a run names it."""


@dataclass
class PipelineDrawer:
    """A pipeline of diffusers, loaded when it draws for the first time.

    Attributes:
        home: Its folder; None for one that is made of ``parts`` alone.
        name: Its class.
        parts: Makes what is put in the place of the folder's own parts, by name, on a device.
        side: Pixels of a picture's side, where the pipeline is told it.
    """

    home: Path | None
    name: str
    parts: Parts
    side: int | None = None
    _loaded: Any = field(default=None, repr=False)

    @property
    def takes_prompts(self) -> bool:
        """See ``Drawer.takes_prompts``."""
        return self.name in FROM_A_PROMPT

    def draw(self, prompt: str | None, seed: int, steps: int, device: torch.device) -> Tensor:
        """See ``Drawer.draw``."""
        call: dict[str, Any] = {"num_inference_steps": steps, "output_type": "np"}
        if self.takes_prompts:
            sides = {} if self.side is None else {"height": self.side, "width": self.side}
            call |= {"prompt": prompt, **sides}
        try:
            if self._loaded is None:
                self._loaded = self._load(device)
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                found = self._loaded(generator=generator, **call)
        except Exception as error:  # a pipeline and its files may raise anything
            raise InputError(f"the run's {self.name} could not draw: {error}") from error
        if any(getattr(found, "nsfw_content_detected", None) or ()):
            raise InputError(
                "the pipeline's safety checker blackened the picture: try another seed or prompt"
            )
        return torch.from_numpy(found.images[0]).permute(2, 0, 1).float() * 2 - 1

    def _load(self, device: torch.device) -> Any:
        kind, parts = getattr(diffusers, self.name), self.parts(device)
        if self.home is None:
            pipeline = kind(**parts)
        else:
            pipeline = kind.from_pretrained(
                self.home, local_files_only=True, use_safetensors=True, **parts
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)


def find_drawer(
    layout: Layout, base: Path | None, network: Any, last: Checkpoint, side: int | None
) -> PipelineDrawer | str:
    """Return what draws as a run's model does, or the reason why nothing does.

    Args:
        layout: The run.
        base: The folder of the model that it started from, or None.
        network: The run's denoiser.
        last: The last checkpoint.
        side: Pixels of a side of the training images, where they are encoded.
    """
    if (layout.directory / INDEX).is_file():  # it ended, and saved its pipeline
        return _from_folder(layout.directory, lambda device: {}, side)

    def trained(device: torch.device) -> Mapping[str, Any]:
        return {layout.part: network_at(network, last.on_query_side(), device)}

    def with_scheduler(device: torch.device) -> Mapping[str, Any]:
        return {**trained(device), "scheduler": build_scheduler(layout, base)[0]}

    if layout.lora is not None and adapted_parts(layout.lora) != {layout.part}:
        return "its text encoder was adapted too, and would be drawn with as it was before"
    if base is not None and (base / INDEX).is_file():
        return _from_folder(base, trained, side)
    if _draws_alone(network) and layout.scheduler is not None:
        return PipelineDrawer(None, DDPMPipeline.__name__, with_scheduler)
    return (
        f"there is no {INDEX} in the run"
        + ("" if base is None else f" nor in {str(base)!r}")
        + ", so it is not known which pipeline draws with it"
    )


def _draws_alone(network: Any) -> bool:
    """Say whether a denoiser is told nothing but the noisy picture and its timestep."""
    if not isinstance(network, UNet2DModel):
        return False
    config = network.config
    return config.class_embed_type is None and config.num_class_embeds is None


def _from_folder(home: Path, parts: Parts, side: int | None) -> PipelineDrawer | str:
    try:
        index = json.loads((home / INDEX).read_text())
        name = str(index["_class_name"])
        libraries = {str(part[0]) for part in index.values() if isinstance(part, list) and part[0]}
    except Exception as error:  # a damaged file may hold anything
        return f"{str(home / INDEX)!r} cannot be read ({error!r})"
    if name not in (*FROM_A_PROMPT, *FROM_NOTHING):
        known = ", ".join((*FROM_A_PROMPT, *FROM_NOTHING))
        return f"its pipeline is a {name}: expected one of {known}"
    if not libraries <= set(LIBRARIES):
        return f"its pipeline is made of {', '.join(sorted(libraries - set(LIBRARIES)))}, too"
    return PipelineDrawer(home, name, parts, side if name in FROM_A_PROMPT else None)
