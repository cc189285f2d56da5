"""Counterfactual removal: what becomes of a query without the images that a method names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retrac_plugin.benchmarks.interval import measured
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.task import After, Queries, Task
from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.counterfactual import image_change

AT_RANDOM = "(random removal)"


@dataclass(frozen=True)
class Removal:
    """How much is removed, for how many queries.

    Attributes:
        k: Images that are removed: each query's top ``k`` by each method.
        queries: How many queries, the first that are reported.
        kind: Of which kind.
        repeats: Random sets of ``k`` images, each removed for all queries, to compare with.
        seed: Of the random sets.
        seeds: How many models are trained without each set, whose order of images and noise
            differ; effects are means over them.
    """

    k: int
    queries: int = 6
    kind: str = "generated"
    repeats: int = 7
    seed: int = 0
    seeds: int = 1

    def at_random(self, train: int) -> list[tuple[int, ...]]:
        """Return the random sets."""
        generator = torch.Generator().manual_seed(self.seed)
        orders = (torch.randperm(train, generator=generator) for _ in range(self.repeats))
        return [tuple(sorted(order[: self.k].tolist())) for order in orders]


class Effect(NamedTuple):
    """What removals did to queries, ``[seed, ..., query]``."""

    rise: Tensor
    """Of the loss, over the full model's."""
    move: Tensor
    """Of the picture drawn from the same noise; NaN where none was drawn."""


def removal_rows(task: Task, outcomes: Sequence[Outcome], removal: Removal) -> list[Row]:
    """Return, by method, what removing each query's own proponents does to it.

    ``removal-rise``: how much its loss rises over the full model's, as a share of that;
    ``removal-picture``: how far, in Euclidean pixel distance, the picture that is drawn from the
    same initial noise moves; ``removal-hurts-more``: how often the loss rises more than by
    removing as many images at random. Source: Zheng et al., ICLR 2024.

    Raises:
        InputError: If the task cannot retrain, or lacks such queries or so many images.
    """
    kind = check(task, removal)
    wanted = (kind.held_back + torch.arange(removal.queries)).tolist()
    sets = {
        outcome.method: [
            tuple(sorted(row.tolist()))
            for row in outcome.scores[kind.name].proponents(removal.k).indices[wanted]
        ]
        for outcome in outcomes
        if outcome.scores
    }
    at_random = removal.at_random(len(task.train))
    distinct = list(dict.fromkeys([(), *at_random, *(one for own in sets.values() for one in own)]))
    trained = [
        dict(zip(distinct, _retrained(task, distinct, seed), strict=True))
        for seed in range(removal.seeds)
    ]

    def effect(removed: Sequence[tuple[int, ...]]) -> Effect:
        return _joined(
            _joined(
                _effect(models[()], models[one], kind.name, query)
                for one, query in zip(removed, wanted, strict=True)
            )
            for models in trained
        )

    by_set = [effect([one] * len(wanted)) for one in at_random]
    chance = Effect(*(torch.stack(parts, dim=1) for parts in zip(*by_set, strict=True)))
    rows = list(_rows(AT_RANDOM, removal, Effect(chance.rise.mean(1), chance.move.mean(1)), chance))
    for method, own in sets.items():
        rows += _rows(method, removal, effect(own), chance)
    return rows


def _joined(effects: Iterable[Effect]) -> Effect:
    return Effect(*map(torch.stack, zip(*effects, strict=True)))


def check(task: Task, removal: Removal) -> Queries:
    """Return the queries that images are removed for.

    Raises:
        InputError: If the task cannot retrain, or lacks such queries or so many images.
    """
    kinds = {kind.name: kind for kind in task.queries}
    if task.without is None or removal.kind not in kinds:
        raise InputError(
            f"the task {task.name} cannot retrain without images for {removal.kind!r} queries: one "
            "that can says how by Task(without=...)"
        )
    kind = kinds[removal.kind]
    most = len(kind.examples) - kind.held_back
    if removal.seeds < 1:
        raise InputError(f"removal: expected at least 1 seed, got {removal.seeds}")
    if not (1 <= removal.queries <= most and 1 <= removal.k < len(task.train)):
        raise InputError(
            f"cannot remove {removal.k} images for {removal.queries} queries: there are "
            f"{len(task.train)} training images and {most} reported {kind.name} queries"
        )
    return kind


def _retrained(task: Task, removed: Sequence[tuple[int, ...]], seed: int) -> list[After]:
    if task.without is None:
        return []
    return task.without(removed, seed) if seed else task.without(removed)


def _effect(full: After, after: After, kind: str, query: int) -> Effect:
    rise = after.losses[kind][query].double() / full.losses[kind][query].double() - 1
    if kind not in full.pictures:
        return Effect(rise, torch.tensor(torch.nan).double())
    before, now = (model.pictures[kind][query][None] for model in (full, after))
    return Effect(rise, image_change(before, now)[0])


def _rows(method: str, removal: Removal, effect: Effect, chance: Effect) -> Iterator[Row]:
    own = effect.rise[:, None]
    more = (own > chance.rise).double() + (own == chance.rise).double() / 2
    values = {
        "removal-rise": effect.rise.mean(0),
        "removal-picture": effect.move.mean(0),
        "removal-hurts-more": more.mean((0, 1)),
    }
    for name, parts in values.items():
        if parts.isfinite().all():
            found = measured(lambda part, known: part.mean().item(), parts[:, None], Evidence())
            yield Row(method, removal.kind, f"{name}@{removal.k}", *found, higher_is_better=True)
