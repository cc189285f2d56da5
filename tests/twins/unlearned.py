"""Attribution by unlearning, one query and one training sample at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.twins.plain_loops import Book


def unlearning(book: Book, step: float, damping: float) -> Tensor:
    """``L(i; theta_q) - L(i; theta)`` after one step up each query's loss."""
    fisher = book.mean("shared", book.last).square().mean(0)
    queries = book.mean("query", book.last)
    before = book.value("shared", book.last)
    theta = torch.cat([parameter.detach().flatten() for parameter in book.parameters])
    scores = []
    for g in queries:
        direction = g / (fisher + damping * fisher.mean())
        moved = theta + step * theta.norm() * direction / direction.norm()
        scores.append(_losses_at(book, moved) - before)
    return torch.stack(scores)


def _losses_at(book: Book, theta: Tensor) -> Tensor:
    """Return the training samples' losses with other parameters, ``[train]``."""
    found, start = [], 0
    with torch.no_grad():
        for parameter in book.parameters:
            parameter.copy_(theta[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()
        for x, timesteps, noises in book.items("shared"):
            pairs = zip(timesteps[book.last], noises[book.last], strict=True)
            own = [book.output(x, int(t), e) for t, eps in pairs for e in eps]
            found.append(torch.stack(own).mean())
    book.load(book.last)
    return torch.stack(found)
