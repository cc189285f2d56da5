"""Influence functions by Kronecker factors, a layer's whole at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from retrac_plugin.draws import Strided
from retrac_plugin.frameworks.drawn import DrawnExamples
from tests.twins.plain_loops import Book

LAYERS = ("time_embedding.linear_1", "conv_out")
"""Those that are attributed, in the network's order."""


def kronfluence(book: Book, corrected: bool) -> Tensor:
    """``<Q_s^T G_q Q_a / (Lambda + 0.1 mean(Lambda)), Q_s^T G_i Q_a>`` of each layer, summed.

    ``Lambda`` of the empirical Fisher matrix: in EK-FAC, ``corrected``, the mean squares in its
    eigenbasis; in K-FAC the products of the factors' own eigenvalues.
    """
    book.load(book.last)
    single: list[Tensor] = []
    with _observed(book) as (entered, left):
        for x, timesteps, noises in book.items("train"):
            for t, draws in zip(timesteps[book.last], noises[book.last], strict=True):
                for eps in draws:
                    single.append(book.gradient(book.output(x, int(t), eps)))
    means = (book.mean(side, book.last) for side in ("train", "query"))
    train, queries, draws = (_matrices(book, rows) for rows in (*means, torch.stack(single)))
    scores = []
    for name in LAYERS:
        values_a, q_a = _eigh(entered[name])
        values_s, q_s = _eigh(left[name])
        own, theirs, each = (q_s.T @ side[name] @ q_a for side in (train, queries, draws))
        values = each.square().mean(0) if corrected else torch.outer(values_s, values_a)
        damped = values + 0.1 * values.mean()
        scores.append(torch.einsum("qsa,isa->qi", theirs / damped, own))
    return torch.stack(scores).sum(0)


def _eigh(vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of their uncentred covariance."""
    every = torch.cat(vectors)
    values, columns = torch.linalg.eigh(every.T @ every / len(every))
    return values, columns


def stratified(book: Book, strata: int) -> Tensor:
    """EK-FAC where both sides are at so many timesteps, and the factors of all of them."""
    own, asked = copy.copy(book), book.sides["query"]
    images = {"train": book.train, "query": book.queries}
    drawn = {
        side: DrawnExamples(of, Strided(strata), side, asked.model, book.steps, ())
        for side, of in images.items()
    }
    own.sides = {**book.sides, **drawn}
    own.gradients = cache(own._gradients)
    return kronfluence(own, corrected=True)


def _matrices(book: Book, gradients: Tensor) -> dict[str, Tensor]:
    """Return gradients ``[row, p]`` by layer, ``[row, out, in + 1]``, the bias the last column."""
    parts = iter(torch.split(gradients, list(book.sizes.values()), 1))
    found = {}
    for name, weight, bias in zip(LAYERS, parts, parts, strict=True):
        rows = weight.view(len(weight), bias.shape[1], -1)
        found[name] = torch.cat([rows, bias[..., None]], 2)
    return found


@contextmanager
def _observed(book: Book) -> Iterator[tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]]:
    """Within, note what enters each layer, a one behind, and the gradients of what leaves it.

    Both ``[place, width]``: a convolution multiplies the patch at every place.
    """
    entered: dict[str, list[Tensor]] = {name: [] for name in LAYERS}
    left: dict[str, list[Tensor]] = {name: [] for name in LAYERS}

    def note(name: str, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        own = inputs[0].detach()
        if isinstance(layer, nn.Conv2d):
            own = unfold(own, (3, 3), padding=1).mT
        flat = own.flatten(0, -2)
        entered[name].append(torch.cat([flat, torch.ones_like(flat[:, :1])], 1))
        output.register_hook(lambda g: left[name].append(g.movedim(1, -1).flatten(0, -2)))  # type: ignore[no-untyped-call]  # torch's

    handles = [
        book.network.get_submodule(name).register_forward_hook(partial(note, name))
        for name in LAYERS
    ]
    try:
        yield entered, left
    finally:
        for handle in handles:
            handle.remove()
