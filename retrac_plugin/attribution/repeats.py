"""How much scores depend on what was drawn, because it was not recorded.

Everything is scored ``G`` times with other draws. A score is the mean of its ``G`` values ``v_g``,
its standard error ``sqrt(sum_g (v_g - mean)^2 / (G (G - 1)))``: the standard deviation that the
mean would have if all were done again. The standard error of a rank is that of the mean of the
ranks that a sample has in each of the ``G`` scorings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, attribute_together
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples
from retrac_plugin.draws.redrawing import with_other_draws
from retrac_plugin.errors import InputError


def attribute_repeatedly(
    attributors: Sequence[DiffusionAttributor], train: Examples, queries: Examples, repeats: int
) -> list[Scores]:
    """Return mean scores over draws, with their standard errors, for the gradients of one method.

    Whatever is drawn is drawn anew each time, on both sides; what was recorded or given is not. The
    first time is ``attribute_together(attributors, train, queries)``.

    Args:
        attributors: They may differ in nothing but their method.
        train: The training set.
        queries: The images to explain.
        repeats: How often to draw; with 1 there are no standard errors.

    Raises:
        InputError: If ``repeats`` is less than 1, or the attributors differ in more.
    """
    return over_draws(
        lambda number: attribute_together(in_round(attributors, number), train, queries), repeats
    )


def over_draws(score: Callable[[int], list[Scores]], repeats: int) -> list[Scores]:
    """Return the mean over draws of what each of several methods scores, with standard errors.

    Args:
        score: ``number -> scores``, one of each method, by that number's draws; see
            ``with_other_draws``.
        repeats: How often to draw.

    Raises:
        InputError: If that is less than once.
    """
    if repeats < 1:
        raise InputError(f"repeats: expected at least 1, got {repeats}")
    rounds = map(score, range(repeats))
    return [mean_of(scores) for scores in zip(*rounds, strict=True)]


def mean_of(scores: Sequence[Scores]) -> Scores:
    """Return the mean of scores that differ in their draws, with standard errors."""
    first, values = scores[0], torch.stack([each.values for each in scores])
    if len(scores) == 1:
        return replace(first, about={**first.about, "repeats": 1})
    norms = [each.gradient_norms for each in scores if each.gradient_norms is not None]
    return replace(
        first,
        values=values.mean(0),
        gradient_norms=torch.stack(norms).mean(0) if norms else None,
        standard_errors=standard_error(values),
        rank_errors=standard_error(torch.stack([each.ranks() for each in scores]).to(values)),
        about={**first.about, "repeats": len(scores)},
    )


def standard_error(values: Tensor) -> Tensor:
    """Return the standard error of the mean of ``values [repeat, ...]`` over the repeats."""
    return values.std(0) / math.sqrt(values.shape[0])


def in_round(
    attributors: Sequence[DiffusionAttributor], number: int
) -> Sequence[DiffusionAttributor]:
    """Return the attributors with the draws of one round; the first has their own."""
    if number == 0:
        return attributors
    # One object for all: attributors that share their gradients must share their draws.
    train = with_other_draws(attributors[0].train_draws, number)
    query = with_other_draws(attributors[0].query_draws, number)
    clones = [copy.copy(attributor) for attributor in attributors]
    for clone in clones:
        clone.job = replace(clone.job, train_draws=train, query_draws=query)
    return clones
