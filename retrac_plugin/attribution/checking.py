"""Whether what an attributor returned are scores: a third party's may return anything."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.errors import PluginError


def check_scores(scores: Any, method: str, queries: int, train: int) -> Scores:
    """Return what a method returned, if it is ``Scores`` of finite numbers ``[query, train]``.

    Args:
        scores: What it returned.
        method: Its registered name, for the message.
        queries: How many queries there are.
        train: How many training samples.

    Raises:
        PluginError: If it is something else.
    """
    if not isinstance(scores, Scores) or not isinstance(scores.values, Tensor):
        got = type(scores.values if isinstance(scores, Scores) else scores).__name__
        raise PluginError(
            f"{method} returned a {got}, expected retrac_plugin.Scores(values) with a tensor "
            "[query, train]"
        )
    values, norms = scores.values.detach(), scores.gradient_norms
    if values.shape != (queries, train):
        raise PluginError(
            f"{method} returned scores of shape {list(values.shape)}, expected [query, train] = "
            f"{[queries, train]}"
        )
    if norms is not None and norms.shape[-1:] != (train,):
        raise PluginError(
            f"{method} returned gradient norms of shape {list(norms.shape)}, expected "
            f"[checkpoint, train] for {train} training samples"
        )
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        query, sample = wrong[0].tolist()
        raise PluginError(
            f"{method}: {len(wrong)} of {values.numel()} scores are not finite, such as "
            f"{values[query, sample].item()} of training sample {sample} for query {query}"
        )
    try:
        json.dumps(scores.about)
    except (TypeError, ValueError) as error:
        raise PluginError(f"{method}: Scores.about cannot be written as JSON: {error}") from error
    return replace(scores, values=values)


def check_self_influence(values: Any, method: str, train: int) -> Tensor:
    """Return what a method's ``self_influence`` returned, if it is finite numbers ``[train]``.

    Args:
        values: What it returned.
        method: Its registered name, for the message.
        train: How many training samples there are.

    Raises:
        PluginError: If it is something else.
    """
    try:
        found = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PluginError(
            f"{method} returned a {type(values).__name__} as self-influence, expected a tensor "
            "[train]"
        ) from error
    return check_scores(Scores(found[None]), method, 1, train).values[0]
