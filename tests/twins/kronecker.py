"""Influence functions by Kronecker factors, a layer's whole at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from tests.twins.plain_loops import Book

LAYERS = ("time_embedding.linear_1", "conv_out")
"""Those that are attributed, in the network's order."""


def kronfluence(book: Book, corrected: bool) -> Tensor:
    """``<Q_s^T G_q Q_a / (Lambda + 0.1 mean(Lambda)), Q_s^T G_i Q_a>`` of each layer, summed.

    ``Lambda`` of the empirical Fisher matrix: in EK-FAC, ``corrected``, the mean squares in its
    eigenbasis; in K-FAC the products of the factors' own eigenvalues.
    """
    book.load(book.last)
    with _observed(book) as (entered, left):
        for x, timesteps, noises in book.items("train"):
            t, eps = int(timesteps[book.last, 0]), noises[book.last, 0, 0]
            book.gradient(book.output(x, t, eps))
    train, queries = (_matrices(book, side) for side in ("train", "query"))
    scores = []
    for name in LAYERS:
        values_a, q_a = _eigh(entered[name])
        values_s, q_s = _eigh(left[name])
        own, theirs = (q_s.T @ side[name] @ q_a for side in (train, queries))
        values = own.square().mean(0) if corrected else torch.outer(values_s, values_a)
        damped = values + 0.1 * values.mean()
        scores.append(torch.einsum("qsa,isa->qi", theirs / damped, own))
    return torch.stack(scores).sum(0)


def _eigh(vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of their uncentred covariance."""
    every = torch.cat(vectors)
    values, columns = torch.linalg.eigh(every.T @ every / len(every))
    return values, columns


def _matrices(book: Book, side: str) -> dict[str, Tensor]:
    """Return each layer's gradients, ``[sample, out, in + 1]``, the bias as the last column."""
    parts = iter(torch.split(book.mean(side, book.last), list(book.sizes.values()), 1))
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
