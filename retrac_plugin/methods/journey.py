"""Journey-TRAK: what a picture was on its way through the sampler, and what made that.

No picture comes with its way, so it is led back: the deterministic sampler DDIM (Song et al., ICLR
2021) run backwards, from the picture to noise, passes what it would pass forwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_map

from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.data.examples import Block, ExampleSource
from retrac_plugin.draws import Draw, Draws, Request, draw_within
from retrac_plugin.methods.features import Feature
from retrac_plugin.methods.trak import TRAK
from retrac_plugin.model.diffusion import LOSS_WEIGHT, DiffusionModel

SUBSTEPS = 5
"""Steps of the sampler from one of the wanted timesteps to the next."""

Denoise = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

BOTH: dict[str, Denoise] = {
    "epsilon": lambda x_t, f, a, s: ((x_t - s * f) / a, f),
    "sample": lambda x_t, f, a, s: (f, (x_t - a * f) / s),
    "v_prediction": lambda x_t, f, a, s: (a * x_t - s * f, s * x_t + a * f),
    "flow": lambda x_t, f, a, s: (x_t - s * f, x_t + a * f),
}
"""The clean sample and the noise that a prediction stands for, ``(x_t, prediction, a_t, s_t)``."""


@dataclass(frozen=True, eq=False)
class AlongTheWay:
    """Each sample at one timestep of the query on whose way it lies, with that query's noise there.

    Noise keyed by the sample itself would be another on every device: it is computed, so its last
    bits are not the same everywhere.

    Attributes:
        draws: Of the queries.
        ids: Of the query, for each sample.
        keys: Of the queries, by id.
        timesteps: ``[sample]``.
        places: ``[sample]``: which of the query's timesteps that is.
    """

    draws: Draws
    ids: list[int]
    keys: dict[int, int]
    timesteps: Tensor
    places: Tensor

    def per_sample(self) -> tuple[int, int]:
        """See ``Draws.per_sample``."""
        return 1, self.draws.per_sample()[1]

    def draw(self, request: Request) -> Draw:
        """See ``Draws.draw``."""
        owners = [self.ids[i] for i in request.ids]
        queries = list(dict.fromkeys(owners))  # once each: a draw has the noise of all timesteps
        theirs = request._replace(ids=queries, keys=[self.keys[q] for q in queries])
        noise = self.draws.draw(theirs).noise
        noise = noise[[queries.index(q) for q in owners], self.places[request.ids]]
        return Draw(self.timesteps[request.ids][:, None], noise[:, None])


class JourneyTRAK(TRAK):
    """TRAK of what a query was on its way (Georgiev et al., arXiv 2312.06205).

    ``phi_q`` is the mean over timesteps of the loss's gradient at ``(x0hat_t, t)`` and the query's
    own noise there, where ``x0hat_t`` is the clean picture foreseen at ``t`` on the query's way
    through the sampler; everything else is TRAK's. As in Zheng et al. (ICLR 2024) the way's steps
    are averaged.
    """

    name = "Journey-TRAK"

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        (feature,) = super().needs()
        return [replace(feature, queries=along_the_way)]


def along_the_way(
    draws: Draws, at: CheckpointPass, queries: ExampleSource
) -> tuple[ExampleSource, Draws]:
    """Return the pictures foreseen on the queries' way through the sampler, and their timesteps."""
    examples: list[dict[str, Any]] = []
    ids: list[int] = []
    keys: dict[int, int] = {}
    wanted: list[Tensor] = []
    places: list[Tensor] = []
    tensors = load_into(at.model.network, at.checkpoint.on_query_side(), at.device)
    for block in queries.blocks(at.batch_size):
        timesteps = _timesteps(draws, at, queries, block)
        order = by_noise(at.model, timesteps)
        timesteps = timesteps.gather(-1, order)
        foreseen = way(at.model, tensors, block, timesteps)
        wanted.append(timesteps.flatten())
        places.append(order.flatten())
        keys.update(zip(block.ids, block.keys, strict=True))
        for q, pictures in enumerate(foreseen.cpu()):
            conditions = tree_map(lambda tensor, q=q: tensor[q], block.conditions)
            examples += [{"sample": picture, **conditions} for picture in pictures]
            ids += [block.ids[q]] * len(pictures)
    along = AlongTheWay(draws, ids, keys, torch.cat(wanted), torch.cat(places))
    return ExampleSource(examples, "queries"), along


def _timesteps(draws: Draws, at: CheckpointPass, queries: ExampleSource, block: Block) -> Tensor:
    """Return the queries' timesteps, ``[query, T]``."""
    where = at.position, at.checkpoint.step_at(at.position)
    request = Request.of(block, "query", queries.dataset_size, where, at.model.drawing)
    return draw_within(draws, request).timesteps


def by_noise(model: DiffusionModel, timesteps: Tensor) -> Tensor:
    """Return the order of timesteps by growing noise, along the last dimension."""
    a, s = model.schedule.coefficients(timesteps, torch.float64)
    return (s / a).argsort(-1)


@torch.no_grad()
def way(
    model: DiffusionModel, tensors: dict[str, Tensor], block: Block, timesteps: Tensor
) -> Tensor:
    """Return the clean pictures foreseen on the way back to noise, ``[query, T, *sample]``.

    Each is held within its query's own range of values, as samplers do.

    Args:
        model: The diffusion model.
        tensors: The network's, by name.
        block: The queries.
        timesteps: At which to look, by growing noise, ``[query, T]``.
    """
    device, dtype = next((t.device, t.dtype) for t in tensors.values() if t.is_floating_point())
    x = block.samples.to(device, dtype)

    def shaped(numbers: Tensor) -> Tensor:
        return numbers.view(-1, *(1,) * (x.dim() - 1))

    own = x.flatten(1)
    low, high = (shaped(bound) for bound in (own.min(1).values, own.max(1).values))
    given = {name: value for name, value in block.conditions.items() if name != LOSS_WEIGHT}
    conditions = tree_map(lambda tensor: tensor.to(device), given)

    def call(*args: Any, **kwargs: Any) -> Any:
        return functional_call(model.network, tensors, args, kwargs)

    def both(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        predicted = model.predict(call, x_t, t, conditions)
        clean, noise = BOTH[model.schedule.prediction_type](x_t, predicted, *coefficients(t))
        return clean.clamp(low, high), noise

    def coefficients(t: Tensor) -> list[Tensor]:
        return [shaped(c) for c in model.schedule.coefficients(t, dtype)]

    every = torch.arange(model.schedule.num_timesteps)
    least = every[by_noise(model, every)[0]].to(device)
    now, found = least.expand(len(x)), []
    for goal in timesteps.T.to(device):
        for left in range(SUBSTEPS, 0, -1):
            clean, noise = both(x, now)
            now = now + (goal - now) // left
            a, s = coefficients(now)
            x = a * clean + s * noise
        found.append(both(x, goal)[0])
    return torch.stack(found, dim=1)
