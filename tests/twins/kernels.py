"""Methods by kernels by their own formulas, every matrix formed and inverted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrac_plugin.randomness import normal
from tests.twins.plain_loops import Book

Kernel = Callable[[Tensor, Tensor], Tensor]


def cubic(a: Tensor, b: Tensor) -> Tensor:
    """``((1 + <a, b>) / 2)^3``."""
    return ((1 + a @ b.T) / 2) ** 3


def linear(a: Tensor, b: Tensor) -> Tensor:
    """``<a, b>``."""
    return a @ b.T


def of_gradients(book: Book, side: str) -> Tensor:
    """Directions of gradients of the mean of prediction times probe, ``[sample, timestep, p]``."""
    book.load(book.last)
    samples = []
    for x, timesteps, noises in book.items(side):
        rows = []
        for t, eps in zip(timesteps[book.last], noises[book.last], strict=True):
            v = normal([(0, 4, int(t), 0)], x.shape)[0].double()
            own = [
                book.gradient(book.output(x, int(t), e, lambda f, _, __, v=v: (f * v).mean()))
                for e in eps
            ]
            rows.append(torch.stack(own).mean(0))
        samples.append(torch.stack(rows))
    return normalize(torch.stack(samples), dim=-1)


def of_up_blocks(book: Book, side: str) -> Tensor:
    """Directions of the up blocks' outputs, each of norm 1, ``[sample, timestep, width]``."""
    book.load(book.last)
    seen: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.flatten()))
        for block in book.network.get_submodule("up_blocks").children()
    ]
    samples = []
    for x, timesteps, noises in book.items(side):
        rows = []
        for t, eps in zip(timesteps[book.last], noises[book.last], strict=True):
            layers = []
            for e in eps:
                seen.clear()
                with torch.no_grad():
                    book.output(x, int(t), e)
                layers.append(list(seen))
            means = (torch.stack(draws).mean(0) for draws in zip(*layers, strict=True))
            rows.append(torch.cat([normalize(own, dim=0) for own in means]))
        samples.append(torch.stack(rows))
    for hook in hooks:
        hook.remove()
    return normalize(torch.stack(samples), dim=-1)


def over_timesteps(
    book: Book, known: Callable[[Book, str], Tensor], kernel: Kernel, damping: float
) -> Tensor:
    """``sum_t k_t(q, X) (k_t(X, X) + lambda I)^-1`` of centred directions."""
    train, queries = (known(book, side) for side in ("shared", "query"))
    scores = []
    for own, theirs in zip(train.unbind(1), queries.unbind(1), strict=True):
        ours, others = (normalize(rows - own.mean(0), dim=-1) for rows in (own, theirs))
        matrix = kernel(ours, ours)
        damped = damping * matrix.trace() / len(ours) * torch.eye(len(ours)).double()
        scores.append(kernel(others, ours) @ torch.linalg.inv(matrix + damped))
    return torch.stack(scores).sum(0)


def paired(book: Book, k: int) -> Tensor:
    """``1/T sum_t cos`` of losses' gradients at a checkpoint."""
    query, train = (
        normalize(book.gradients(side, k).mean(2), dim=-1) for side in ("query", "shared")
    )
    return torch.einsum("qtp,itp->qi", query, train) / query.shape[1]


def pixels(book: Book) -> Tensor:
    """Kernel ridge on pixels, the width half the median squared distance of two images."""
    train, queries = book.train.flatten(1), book.queries.flatten(1)
    own = (train[:, None] - train).square().sum(-1)
    above = torch.stack([own[i, j] for i in range(len(own)) for j in range(i + 1, len(own))])
    width = above.median() / 2
    query = torch.exp(-(queries[:, None] - train).square().sum(-1) / width)
    return query @ torch.linalg.inv(torch.exp(-own / width) + torch.eye(len(own)).double())
