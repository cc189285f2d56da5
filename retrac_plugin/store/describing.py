"""What decides a row, as parts that can be told apart and named.

Formulas are told by their values, not by their code: the loss on a grid of numbers, the schedule
and the weights at every timestep, to six digits. So a store outlives the versions of packages, and
one that is of another loss is refused for that reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.data.encoded import configuration, digest, tensor_digest
from retrac_plugin.draws import Draws, Given
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Feature
from retrac_plugin.model.at_weights import LossesAt
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.distributions import timesteps_at
from retrac_plugin.store.kind import Kind

ROWS_VERSION = 1
"""To be raised whenever the rows of a kind come out otherwise; a test holds their values."""


def kind_of(at: CheckpointPass, feature: Feature) -> Kind:
    """Return the kind of the training set's rows of a feature.

    Args:
        at: The feature's checkpoint, with the feature's output.
        feature: The feature.

    Raises:
        InputError: If its draws cannot be told from others.
    """
    step = at.checkpoint.step_at(at.position)
    model, tensors = at.model, {**cast(LossesAt, at.losses).fixed, **at.attributed}
    draws = data_digest(feature.draws)
    if isinstance(feature.draws, Given):
        draws += f" at checkpoint {at.position}"  # these go by position, not by step
    parts = {
        "rows": f"version {ROWS_VERSION}",
        "checkpoint": f"step {step}",
        "weights": _of_tensors(tensors),
        "network": _of_network(model, tensors),
        "attributed parameters": digest(*at.attributed),
        "prediction": f"{_name(model.predict)}, {model.schedule.prediction_type}",
        "noise schedule": _of_schedule(model),
        "loss": _of_loss(model),
        "output": feature.output.name,
        "treatment": feature.treatment.name,
        "draws": f"{described(feature.draws)} {draws}",
        "projection": repr(feature.projection),
        "engine": _name(feature.engine),
        "optimiser": _of_optimiser(at),
        "type": str(at.dtype),
    }
    return Kind(f"step{step}-{feature.output.name.replace(' ', '-')}", parts)


def described(draws: Draws) -> str:
    """Return a draw rule and its numbers, without what was recorded or given."""
    values: dict[str, Any] = {}
    if dataclasses.is_dataclass(draws):
        values = {field.name: getattr(draws, field.name) for field in dataclasses.fields(draws)}
    told = [f"{name}={value}" for name, value in values.items() if isinstance(value, int | float)]
    return f"{type(draws).__name__}({', '.join(told)})"


def data_digest(value: Any) -> str:
    """Return a digest of a value that is data: numbers, texts, tensors, and records of them.

    Raises:
        InputError: If a part of it is something else, which might be anything.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return digest(type(value).__name__, repr(value))
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, Mapping):
        return digest("mapping", *(data_digest(part) for item in value.items() for part in item))
    if isinstance(value, set | frozenset):
        return digest("set", *sorted(map(data_digest, value)))
    if isinstance(value, Sequence):
        return digest("sequence", *map(data_digest, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return digest(_name(type(value)), *map(data_digest, own))
    raise InputError(
        f"a {type(value).__name__} cannot be told from others, so that a store could not know its "
        "rows again. Expected draws that are a dataclass of numbers, texts and tensors"
    )


def _of_tensors(tensors: Mapping[str, Tensor]) -> str:
    return digest(*(part for n in sorted(tensors) for part in (n, tensor_digest(tensors[n]))))


def _of_network(model: DiffusionModel, tensors: Mapping[str, Tensor]) -> str:
    shapes = (f"{name} {list(tensors[name].shape)}" for name in sorted(tensors))
    config = getattr(model.network, "config", None)
    told = configuration(config) if isinstance(config, Mapping) else ""
    return f"{type(model.network).__name__} {digest(told, *shapes)}"


def _of_schedule(model: DiffusionModel) -> str:
    timesteps = torch.arange(model.schedule.num_timesteps)
    kept, noise = model.schedule.coefficients(timesteps, torch.float64)
    drawn = timesteps_at(
        model.timestep_distribution, torch.linspace(0, 0.999, 256, dtype=torch.float64), 1000
    )
    return digest(_six(kept), _six(noise), _six(drawn), repr(model.noise_offset))


def _of_loss(model: DiffusionModel) -> str:
    """Tell the loss of an element and its weight at each timestep by their values."""
    grid = torch.linspace(-2, 2, 9, dtype=torch.float64)
    predictions, targets = grid.repeat_interleave(9)[None], grid.repeat(9)[None]
    losses = model.element_loss(predictions, targets)
    timesteps = torch.arange(model.schedule.num_timesteps)
    weights = torch.ones(0) if model.weight is None else model.weight(timesteps)
    against = "" if model.compared_with is None else _name(model.compared_with)
    return digest(_six(losses), _six(weights), against)


def _of_optimiser(at: CheckpointPass) -> str:
    if at.checkpoint.preconditioner is None:
        return "steps along the gradient"
    return f"scaled steps {_of_tensors(dict(at.checkpoint.preconditioner()))}"


def _six(values: Iterable[float] | Tensor) -> str:
    flat = torch.as_tensor(values).detach().flatten().tolist()
    return " ".join(f"{value:.6g}" for value in flat)


def _name(value: Any) -> str:
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
