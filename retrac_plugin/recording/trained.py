"""Which optimiser trains the denoiser, and whether any reader of runs can read what it trains.

Models and optimisers are looked for among the living objects, once for each optimiser, so that
nothing is hooked into the training.
"""

from __future__ import annotations

import gc
import sys
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

import torch
from torch import nn
from torch.optim import Optimizer

from retrac_plugin.errors import InputError

DIFFUSERS = ("diffusers.models.modeling_utils", "ModelMixin")
TRANSFORMERS = ("transformers.modeling_utils", "PreTrainedModel")

BESIDE = ("ControlNet", "Adapter")
"""In the class names of networks that are trained beside a denoiser, which is left as it is."""

REMEDY = "no reader of runs can attribute that. In a loop of your own, use retrac.Recorder"


class Trained:
    """Tells the optimiser of the denoiser from others, which count no step.

    Optimisers that were there before the recording began are not the script's.
    """

    def __init__(self) -> None:
        self._before = WeakSet(_optimizers(gc.get_objects()))
        self._counts: WeakKeyDictionary[Optimizer, bool] = WeakKeyDictionary()
        self._last: ref[Optimizer] | None = None

    def judge(self, optimizer: Optimizer, shape: torch.Size | None) -> None:
        """Look at what an optimiser trains, if it is a new one.

        Args:
            optimizer: The optimiser.
            shape: Of a sample that was diffused, where that is known.

        Raises:
            InputError: If it trains what no reader can read.
        """
        if optimizer not in self._counts:
            self._counts[optimizer] = _trains_denoiser(optimizer, shape, self._before)

    def counts(self, optimizer: Optimizer) -> bool:
        """Return whether the steps of an optimiser are those of the training."""
        return self._counts.get(optimizer, True)

    def check_alone(self, optimizer: Optimizer, diffused: bool) -> None:
        """Refuse a second optimiser that steps on the batch of another one.

        Args:
            optimizer: About to step; one that counts.
            diffused: Whether anything was diffused since the last step.

        Raises:
            InputError: If it is another one than the last, and nothing was.
        """
        last = None if self._last is None else self._last()
        if not diffused and last is not None and last is not optimizer:
            raise InputError(
                "retrac record: two optimisers step on the same batch, and which of them trains "
                "the denoiser cannot be told: steps and learning rates would be counted twice. "
                "Expected one optimiser, or a denoiser of diffusers; in a loop of your own, use "
                "retrac.Recorder"
            )
        self._last = ref(optimizer)


def _trains_denoiser(
    optimizer: Optimizer, shape: torch.Size | None, before: WeakSet[Optimizer]
) -> bool:
    """Return whether an optimiser trains a denoiser of diffusers, or no optimiser does."""
    living, own = gc.get_objects(), _parameters(optimizer)
    models = _of_class(living, *DIFFUSERS)
    trained = [model for model in models if _holds(model, own)]
    for model in trained:
        _check_readable(model, shape)
    if trained:
        return True
    optimizers = [found for found in _optimizers(living) if found not in before]
    if any(_holds(model, _parameters(other)) for other in optimizers for model in models):
        return False
    if models and any(_holds(encoder, own) for encoder in _of_class(living, *TRANSFORMERS)):
        raise InputError(
            "retrac record: the script trains a text encoder and leaves the denoiser as it is, as "
            f"textual inversion does: {REMEDY}"
        )
    return True


def _check_readable(model: Any, shape: torch.Size | None) -> None:
    name, config = type(model).__name__, getattr(model, "config", {})
    if any(word in name for word in BESIDE):
        raise InputError(
            f"retrac record: the script trains a {name} beside a denoiser that stays as it is: "
            f"{REMEDY}"
        )
    if any(type(part).__name__.startswith("CustomDiffusion") for part in model.modules()):
        raise InputError(
            "retrac record: the script trains attention processors of Custom Diffusion in a "
            f"denoiser that stays as it is, and saves them in a way of their own: {REMEDY}"
        )
    channels = config.get("in_channels") if name.startswith("UNet2D") else None
    if shape and isinstance(channels, int) and channels != shape[0]:
        raise InputError(
            f"retrac record: the script trains a {name} of {channels} channels, and diffuses "
            f"samples of {shape[0]}: it is given more than the noisy sample, such as the picture "
            f"to edit in instruct-pix2pix, and {REMEDY}"
        )


def _parameters(optimizer: Any) -> set[int]:
    groups = getattr(optimizer, "param_groups", ())
    return {id(parameter) for group in groups for parameter in group["params"]}


def _optimizers(living: list[Any]) -> list[Optimizer]:
    return [found for found in living if issubclass(type(found), Optimizer)]


def _holds(model: nn.Module, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for parameter in model.parameters())


def _of_class(living: list[Any], module: str, name: str) -> list[Any]:
    """Return the models of a library's base class, if the script has loaded it."""
    base = getattr(sys.modules.get(module), name, None)
    return [found for found in living if base is not None and issubclass(type(found), base)]
