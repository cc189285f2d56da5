"""What the arguments of a Captum attributor mean for ours, and which contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, default_collate

from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource, as_fields
from retrac_plugin.errors import InputError
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import Loss
from retrac_plugin.model.weightings import TimestepWeight, Weighting
from retrac_plugin.model.wrapping import wrap


class MissingInputsError(InputError, AssertionError):
    """No inputs; Captum's users expect an ``AssertionError``."""


def diffusion_model(
    model: DiffusionModel | nn.Module,
    scheduler: Any,
    loss: Loss,
    weight: TimestepWeight | Weighting | None = None,
) -> DiffusionModel | None:
    """Return the diffusion model that was given, in one or in two parts, or None.

    Raises:
        InputError: If a wrapped model comes with a scheduler or loss, or a loss without either.
        PluginError: If no adapter knows the network and its scheduler.
    """
    if isinstance(model, DiffusionModel):
        if scheduler is not None or loss != "mse" or weight is not None:
            raise InputError(
                "the model is wrapped already: pass scheduler, loss and weight to "
                "retrac_plugin.wrap"
            )
        return model
    if scheduler is not None:
        return wrap(model, scheduler, loss, weight)
    for name, given_one in (("loss", loss != "mse"), ("weight", weight is not None)):
        if given_one:
            raise needs_diffusion(name)
    return None


def given(**options: Any) -> dict[str, Any]:
    """Return those options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def check_plain(checkpoints: Any, ours: Mapping[str, Any]) -> None:
    """Refuse what only a diffusion model can use.

    Raises:
        InputError: If there is any.
    """
    for name in ours:
        raise needs_diffusion(name)
    if isinstance(checkpoints, list | tuple) and any(
        isinstance(c, Checkpoint) for c in checkpoints
    ):
        raise needs_diffusion("a retrac_plugin.Checkpoint")


def needs_diffusion(what: str) -> InputError:
    """Return the error for an argument that plain ``TracInCP`` has no use for."""
    return InputError(
        f"{what} needs a diffusion model: pass scheduler=, the noise scheduler that the network "
        "was trained with, or what retrac_plugin.wrap(network, scheduler) returns as the model"
    )


def check_examples(train: Examples) -> None:
    """Refuse a training set that is empty, shuffled, or not of examples, before it is needed.

    Raises:
        InputError: If it is.
    """
    source = ExampleSource(train, "train")
    dataset = train.dataset if isinstance(train, DataLoader) else train
    if not isinstance(train, DataLoader) or train.collate_fn is default_collate:
        as_fields(dataset[source.ids[0]], "train")


def check_no_loss_function(**functions: Any) -> None:
    """Refuse loss functions beside a diffusion model.

    Raises:
        InputError: If one was given.
    """
    for name, function in functions.items():
        if function is not None:
            raise InputError(
                f"{name}: a diffusion model has its own loss, the one it was trained with. Pass "
                "loss='mse', loss='l1', or a function (prediction, target) -> elementwise loss, "
                "with scheduler= or to retrac_plugin.wrap"
            )


def check_influence(inputs: Any, k: int | None) -> None:
    """Refuse arguments of ``influence`` that cannot be meant.

    Raises:
        MissingInputsError: If ``inputs`` is None.
        InputError: If ``k`` is less than 1.
    """
    if inputs is None:
        raise MissingInputsError(
            "inputs: queries are required. For the influence of samples on themselves call "
            "self_influence()"
        )
    if k is not None and k < 1:
        raise InputError(f"k: expected at least 1, or None for all scores, got {k}")


def attributing(model: DiffusionModel, layers: list[str] | None) -> DiffusionModel:
    """Return the model with only the parameters of some modules attributed, if any are named.

    Raises:
        InputError: If ``layers`` is no list of names of modules that have parameters.
    """
    if layers is None:
        return model
    modules = dict(model.network.named_modules())
    if not isinstance(layers, list) or not layers:
        raise InputError(f"layers: expected a list of module names, got {layers!r}")
    unknown = [name for name in layers if name not in modules or not name]
    if unknown:
        raise InputError(
            f"layers: {type(model.network).__name__} has no module {unknown[0]!r}. Expected names "
            f"as in network.named_modules(), such as {', '.join(list(modules)[1:4])}"
        )
    chosen = model.attributing(*(f"{name}.*" for name in layers))
    chosen.attributed_names()
    return chosen


def as_captum_takes(checkpoints: Any) -> Any:
    """Return checkpoints as Captum takes them, whose own errors for these say little.

    Raises:
        InputError: If there is none.
    """
    if isinstance(checkpoints, str | Path):
        if not list(Path(checkpoints).glob("[!.]*")):
            raise InputError(
                f"Invalid checkpoints provided for TracIn class: nothing in {str(checkpoints)!r}. "
                "Expected a folder of checkpoints, or a list of paths"
            )
        return str(checkpoints)
    if isinstance(checkpoints, list | tuple) and not checkpoints:
        raise InputError("Invalid checkpoints provided for TracIn class: expected at least one")
    return checkpoints


def in_given_order(checkpoints: Any) -> Any:
    """Return checkpoints that Captum will not sort: a position may choose the draws."""
    return tuple(checkpoints) if isinstance(checkpoints, list) else checkpoints


def batch_size_of(loader: DataLoader[Any]) -> int:
    """Return how many samples the loader's largest batch has."""
    return loader.batch_size or max(len(batch) for batch in loader.batch_sampler)  # type: ignore[union-attr]  # refused before
