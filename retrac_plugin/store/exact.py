"""Two stages: a short list from a store, then the exact scores of its members alone.

A sketch's inner products are estimates. For the images that they call extreme, whole gradients are
computed after all; what the estimates were off by there says how sure it is that no image of the
very highest scores was left out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.attribution.scoring import score
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError

WANTED = 10
"""Highest scores of which it is said how many were left out."""


def with_exact(
    scores: Scores, attributor: Any, train: Examples, queries: Examples, short: int
) -> Scores:
    """Return scores in which those of the most extreme images are exact.

    Args:
        scores: From a store, with norms.
        attributor: Diffusion-TracIn or Diffusion-ReTrac.
        train: The training set.
        queries: The images to explain.
        short: How many of the highest and of the lowest scores of each query are computed exactly;
            an image on the list of one query is exact for all.

    Returns:
        Scores whose ``about`` says how many are exact, the standard error of the others, and how
        many of each query's ten highest (or ``short``, if that is less) are expected to be among
        those.

    Raises:
        InputError: If the method has no exact scores beside those of a store.
        RetracError: If a gradient cannot be used.
    """
    check_exact(attributor)
    count = min(short, scores.values.shape[1])
    listed = torch.cat([scores.proponents(count).indices, scores.opponents(count).indices])
    members = torch.tensor(sorted(set(listed.flatten().tolist())))
    source = ExampleSource(train, "train").part(members.tolist())
    found = score(attributor.job, [attributor.method], source, queries)
    values = scores.values.clone()
    weights = _weights(scores, attributor)
    estimated = values[:, members] / weights[members]
    exact = found.values[0].to(values)
    error = (exact / weights[members] - estimated).square().mean(1).sqrt()
    values[:, members] = exact
    highest = min(WANTED, count)
    missed = expected_missed(values, members, error[:, None] * weights, highest)
    about = {
        "exact_scores": len(members),
        "standard_error_of_others": float((error * weights.mean()).mean()),
        "expected_missing": float(missed.mean()),
        "of_highest": highest,
    }
    return replace(scores, values=values, about={**scores.about, **about})


def check_exact(attributor: Any) -> None:
    """Refuse a method whose scores from a store are all that it has.

    Raises:
        InputError: If it is one.
    """
    if not isinstance(attributor, DiffusionAttributor):
        raise InputError(
            f"exact scores: expected diffusion-tracin or diffusion-retrac, got a "
            f"{type(attributor).__name__}, which is defined by the features that a store keeps"
        )


def expected_missed(values: Tensor, members: Tensor, errors: Tensor, k: int) -> Tensor:
    """Return how many samples, on average, are in truth above each query's ``k``-th highest member.

    Args:
        values: ``[query, train]``, exact at ``members``.
        members: ``[member]``.
        errors: Standard error of each of the others, ``[query, train]``; normal.
        k: See above.
    """
    least = values[:, members].topk(k, dim=1).values[:, -1:]
    chances: Tensor = torch.special.ndtr((values - least) / errors.clamp(min=math.ulp(0.0)))
    chances[:, members] = 0
    return chances.sum(1).clamp(max=k)


def _weights(scores: Scores, attributor: DiffusionAttributor) -> Tensor:
    """Return how large each training sample's term is, ``[train]``: its error grows with it."""
    norms = scores.gradient_norms
    if norms is None:
        raise InputError("exact scores: expected scores from a store, which come with norms")
    steps = torch.tensor([c.step_size for c in attributor.checkpoints]).to(norms)
    sizes = steps[:, None] * norms * attributor.method.rescale(norms)
    weights = sizes.square().sum(0).sqrt()
    return torch.where(weights > 0, weights, 1)
