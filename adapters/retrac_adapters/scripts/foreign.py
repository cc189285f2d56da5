"""Folders of trainings that cannot be attributed, and what to do instead; imports no diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from retrac_plugin.errors import InputError

_OTHER_PARTS = "its denoiser was not trained, so there is no influence through it"

FOREIGN: Mapping[str, str] = {
    "controlnet/config.json": f"a ControlNet was trained: {_OTHER_PARTS}",
    "t2iadapter/config.json": f"a T2I-Adapter was trained: {_OTHER_PARTS}",
    "learned_embeds*": f"the embeddings of textual inversion were trained: {_OTHER_PARTS}",
    "pytorch_custom_diffusion_weights*": "Custom Diffusion trained single weights of attention, "
    "which are not read",
    "*.distcp": "weights are in shards of torch.distributed: save them whole, as "
    "save_pretrained does, into checkpoint-STEP/unet or checkpoint-STEP/transformer",
    "adapter_config.json": "an adapter is saved in the layout of peft. Save it by diffusers, into "
    "checkpoint-STEP: StableDiffusionPipeline.save_lora_weights(FOLDER, unet_lora_layers="
    "peft.get_peft_model_state_dict(network)), or the pipeline of its model",
}
"""What a folder or its checkpoints hold, as patterns of files, and what that means."""


KOHYA = ("lora_unet_", "lora_te", "lora_transformer_")
"""How the names in adapter files of kohya's scripts begin."""

CONVERT = (
    "Convert it into the folder checkpoint-STEP: pipeline.load_lora_weights(FILE), then "
    "pipeline.save_lora_weights(FOLDER, unet_lora_layers="
    "peft.get_peft_model_state_dict(pipeline.unet)) of diffusers"
)


def check_foreign(directory: Path) -> None:
    """Refuse a folder of a training that cannot be attributed.

    Raises:
        InputError: If it is one.
    """
    homes = [directory, *sorted(directory.glob("checkpoint-*"))]
    if len(homes) == 1 and not (directory / "model_index.json").is_file():
        _check_kohya(directory)
    for home in (*homes, *(home / part for home in homes for part in ("unet", "transformer"))):
        for pattern, meaning in FOREIGN.items():
            found = next(iter(sorted(home.glob(pattern))), None)
            if found is not None:
                raise InputError(f"{str(found)!r}: {meaning}")


def _check_kohya(directory: Path) -> None:
    """Refuse adapter files that lie beside each other, without folders of checkpoints."""
    for file in sorted(directory.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as opened:
                name = next(iter(opened.keys()), "")
        except (SafetensorError, OSError):  # whoever reads it tells of that
            continue
        if name.startswith(KOHYA):
            raise InputError(
                f"{str(file)!r} has the names of kohya's scripts, which write no folders of "
                f"checkpoints. {CONVERT}"
            )
