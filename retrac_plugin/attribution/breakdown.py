"""How the score of a pair splits over checkpoints and the query's timesteps.

A score is a sum over checkpoints, and the query's side of it a mean over timesteps, so that it is,
for Diffusion-TracIn and Diffusion-ReTrac alike, exactly the sum of

``c[k, t] = eta_k < r(g_i^k), r(gbar_t^k(q)) > / |T|``

in the words of ``attributors``. To have the terms one by one costs the queries' passes once more,
and few of the training samples': ``K (T S + n)`` network passes for each query with ``n`` pairs,
``T`` timesteps of ``S`` noise draws and ``K`` checkpoints. At a time it holds the gradients of as
many timesteps as fit in 256 MiB, one at least, and nothing that grows with the number of pairs but
their terms; where not all timesteps fit, the ``n`` samples pass once for each part of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, scores_by_itself
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.budget import Plan, within_memory
from retrac_plugin.attribution.features import whole_gradients
from retrac_plugin.attribution.job import Job
from retrac_plugin.attribution.pairs import Pairs, check_pairs
from retrac_plugin.attribution.passes import CheckpointPass, nothing
from retrac_plugin.attribution.repeats import in_round
from retrac_plugin.attribution.rescaling import Method
from retrac_plugin.attribution.train_side import train_products
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import Features
from retrac_plugin.model.diffusion import NoisyBatch


def breakdown(
    attributor: DiffusionAttributor,
    train: Examples,
    queries: Examples,
    pairs: Pairs,
    repeats: int = 1,
) -> Breakdown:
    """Return how the scores of a few pairs split over checkpoints and query timesteps.

    Args:
        attributor: The method, as the scores were made with.
        train: The training set that was attributed.
        queries: The images that were explained.
        pairs: Positions of a query and of a training sample each.
        repeats: How often was drawn for the scores, see ``attribute_repeatedly``.

    Raises:
        InputError: If a pair is outside of the scores, or there is none, or the timesteps differ
            from one repeat to the other.
    """
    return break_together([attributor], train, queries, pairs, repeats)[0]


@within_memory()
def break_together(
    attributors: Sequence[DiffusionAttributor],
    train: Examples,
    queries: Examples,
    pairs: Pairs,
    repeats: int = 1,
) -> list[Breakdown]:
    """Return the breakdowns of several methods for the gradients of one; see ``breakdown``.

    Args:
        attributors: They may differ in nothing but their method.
        train: The training set.
        queries: The images to explain.
        pairs: Positions of a query and of a training sample each.
        repeats: How often was drawn.

    Raises:
        InputError: As ``breakdown``, or if the attributors differ in more.
    """
    own = next((a for a in attributors if scores_by_itself(a)), None)
    if own is not None:
        raise InputError(
            f"a {type(own).__name__} makes its scores in a way of its own, so how they split is "
            "not known: expected DiffusionTracIn, DiffusionReTrac, or a subclass with another "
            "method"
        )
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    groups = _grouped(pairs, *sources)
    rounds = [_terms(in_round(attributors, n)[0].job, groups, sources[0]) for n in range(repeats)]
    if any(not torch.equal(each.timesteps, rounds[0].timesteps) for each in rounds):
        raise InputError(
            "the query's timesteps are drawn anew in each repeat, so there is no mean at each: "
            "expected query_draws with timesteps of their own, such as Strided(10)"
        )
    return [_of_method(each, rounds, pairs) for each in attributors]


class _Group(NamedTuple):
    """The pairs of one query."""

    places: list[int]
    """Among all pairs."""
    query: ExampleSource
    train: ExampleSource


class _Terms(NamedTuple):
    """What the terms of every method are made of."""

    products: Tensor
    """``[pair, checkpoint, timestep]``: of the gradients as they are."""
    train_norms: Tensor
    """``[pair, checkpoint, timestep]``, the same at every timestep."""
    query_norms: Tensor
    """``[pair, checkpoint, timestep]``."""
    timesteps: Tensor
    """``[pair, checkpoint, timestep]``."""


def _grouped(pairs: Pairs, train: ExampleSource, queries: ExampleSource) -> list[_Group]:
    check_pairs(pairs, len(train), len(queries))
    of_query: dict[int, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        of_query.setdefault(query, []).append(place)
    return [
        _Group(places, queries.part([query]), train.part([pairs[p][1] for p in places]))
        for query, places in of_query.items()
    ]


def _terms(job: Job, groups: Sequence[_Group], train: ExampleSource) -> _Terms:
    """Take each group past every checkpoint."""
    setting, num_timesteps = job.setting, job.query_draws.per_sample()[0]
    pairs = sum(len(group.places) for group in groups)
    shape = pairs, len(setting.checkpoints), num_timesteps
    found = _Terms(*(setting.zeros(*shape) for _ in _Terms._fields))
    plan = job.plan(train, num_timesteps, 1)
    with setting.bar(pairs * len(setting.checkpoints), "breakdown") as bar:
        for at in setting.passes(nothing, plan.batch_size):
            for group in groups:
                _add(found, at, job, group, plan)
                bar.update(len(group.places))
            del at  # or this checkpoint's weights stay while the next one loads
    return found


def _add(found: _Terms, at: CheckpointPass, job: Job, group: _Group, plan: Plan) -> None:
    """Fill in one checkpoint's terms of one query's pairs, some timesteps after the other."""
    start = 0
    for rows, timesteps in _query_rows(at, group.query, job.query_draws, plan.queries_at_once):
        products, norms = train_products(at, group.train, job.train_draws, rows.features)
        here = group.places, at.position, slice(start, start + len(timesteps))
        found.products[here] = products.to(found.products)
        found.train_norms[here] = norms[:, None].to(found.products)
        found.query_norms[here] = rows.norms.to(found.products)
        found.timesteps[here] = timesteps.to(found.timesteps)
        start += len(timesteps)


def _query_rows(
    at: CheckpointPass, source: ExampleSource, draws: Draws, most: int
) -> Iterator[tuple[Features, Tensor]]:
    """Yield a query's whole gradients, noise averaged, and the timesteps they are of."""
    noise_each = draws.per_sample()[1]
    at_once = max(1, min(at.batch_size // noise_each, at.gradients_at_once(), most))
    whole = whole_gradients(at.engine_of("query"))
    timesteps: list[Tensor] = []

    def make(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
        for batch in batches:
            timesteps.append(batch.timesteps[::draws_each])
            yield from whole([batch], draws_each)

    blocks = source.blocks(1)
    for led in at.lead(blocks, source, draws, "query", noise_each, make, at_once):
        yield led.made, timesteps.pop()


def _of_method(
    attributor: DiffusionAttributor, rounds: Sequence[_Terms], pairs: Pairs
) -> Breakdown:
    sizes = [checkpoint.step_size for checkpoint in attributor.checkpoints]
    steps = rounds[0].products.new_tensor(sizes)[:, None]
    values = [steps * _rescaled(each, attributor.method) for each in rounds]
    mean, about = torch.stack(values).mean(0), about_terms(attributor, len(rounds))
    return Breakdown(torch.tensor(pairs), mean.cpu(), rounds[0].timesteps.cpu(), about)


def about_terms(attributor: DiffusionAttributor, repeats: int) -> dict[str, Any]:
    """Return what a breakdown says of a method's terms, drawn so often."""
    return {
        "method": attributor.method.name,
        "checkpoint_steps": [checkpoint.step for checkpoint in attributor.checkpoints],
        "repeats": repeats,
    }


def _rescaled(terms: _Terms, method: Method) -> Tensor:
    factors = method.rescale(terms.train_norms) * method.rescale(terms.query_norms)
    return terms.products * factors / terms.products.shape[-1]
