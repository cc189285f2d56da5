"""Learned layer weights by the book: a method of each group alone, summed to tell copies apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.randomness import content_key, normal
from tests.twins.plain_loops import Book

GROUPS = ("time_embedding", "conv_out")
"""Of the parameters that are attributed, in the network's order."""


def layered(book: Book, of_group: Callable[[Book], Tensor], noise: float = 0.3) -> Tensor:
    """``sum_g w_g s_g(q, i) / size_g``, ``w`` a softmax that makes copies find their originals."""
    copies = [
        x + noise * x.std() * normal([(0, 5, content_key(x), 0)], x.shape)[0].double()
        for x in book.train
    ]
    everyone = torch.cat([book.queries, torch.stack(copies)])
    parts = [of_group(_alone(book, group, everyone)) for group in GROUPS]
    count = len(book.queries)
    asked, known = [part[:count] for part in parts], [part[count:] for part in parts]
    sizes = [part.square().mean().sqrt() for part in known]
    logarithms = torch.zeros(len(GROUPS), dtype=torch.float64, requires_grad=True)
    for _ in range(500):
        weights = logarithms.softmax(0)
        each = [w * part / size for w, part, size in zip(weights, known, sizes, strict=True)]
        total = torch.stack(each).sum(0)
        signals = [(row[i] - row.mean()) / row.std(correction=0) for i, row in enumerate(total)]
        (gradient,) = torch.autograd.grad(torch.stack(signals).mean(), logarithms)
        logarithms = (logarithms + 0.1 * gradient).detach().requires_grad_()
    weights = logarithms.detach().softmax(0)
    each = [w * part / size for w, part, size in zip(weights, asked, sizes, strict=True)]
    return torch.stack(each).sum(0)


def part_of(known: Callable[[Book, str], Tensor], book: Book, side: str) -> Tensor:
    """Return a group's part of what is known by all parameters together."""
    return known(book.whole, side)[..., book.own]


def _alone(book: Book, group: str, queries: Tensor) -> Book:
    """Return the book of one group's parameters, for more queries."""
    own, asked = copy.copy(book), book.sides["query"]
    chosen = [name.startswith(f"{group}.") for name in book.sizes]
    own.parameters = [p for p, wanted in zip(book.parameters, chosen, strict=True) if wanted]
    own.sizes = {n: s for (n, s), wanted in zip(book.sizes.items(), chosen, strict=True) if wanted}
    drawn = DrawnExamples(queries, asked.draws, "query", asked.model, book.steps, ())
    own.queries, own.sides = queries, {**book.sides, "query": drawn}
    own.gradients = cache(own._gradients)
    own.whole = copy.copy(book)
    own.whole.queries, own.whole.sides = queries, own.sides
    own.own = torch.cat(
        [
            torch.full((size,), wanted)
            for size, wanted in zip(book.sizes.values(), chosen, strict=True)
        ]
    )
    return own
