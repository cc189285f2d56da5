"""A low-rank adapter as what is trained: started by peft, saved as diffusers' scripts save it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import save_file

import retrac_plugin as retrac
from retrac_adapters.demo.starting import Start
from retrac_adapters.scripts.layout import LORA_FILE
from retrac_adapters.tasks.faces_lora.base import Base
from retrac_plugin.files import write_atomically

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of attention, which the scripts adapt."""


def adapting(base: Base, rank: int) -> Start:
    """Return a start from a base with an adapter in it, which alone is trained.

    Args:
        base: The base.
        rank: Of the adapter; alpha is the same, so that it is not scaled.
    """

    def network(seed: int) -> Any:
        # PyTorch's global random state is left as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = LoraConfig(
                r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=[*TARGETS]
            )
            return inject_adapter_in_model(config, base.build())

    def read(directory: Path) -> retrac.Run:
        scheduler = DDPMScheduler.from_pretrained(directory / "scheduler")
        model = retrac.wrap(network(0).eval(), scheduler)
        return retrac.read_run(directory, model=model)

    about = {"base": base.digest, "rank": rank, "adapted": TARGETS}
    return Start(network, _save_adapter, read, about)


def _save_adapter(network: Any, checkpoint: Path) -> None:
    state = {f"unet.{n}": v.contiguous() for n, v in get_peft_model_state_dict(network).items()}
    write_atomically(checkpoint / LORA_FILE, lambda path: save_file(state, path))
