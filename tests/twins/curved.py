"""Methods that invert a matrix by their own formulas, the matrix formed whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.twins.plain_loops import Book, Output, loss


def trak(
    book: Book,
    output: Output = loss,
    features: Callable[[Tensor], Tensor] = lambda gradients: gradients.mean((1, 2)),
    scale: Callable[[Tensor, Tensor], Tensor] = lambda train, inverse: torch.ones(()),
    query: Callable[[Book], Tensor] | None = None,
    damping: float = 0.1,
) -> Tensor:
    """``phi_q^T (Phi^T Phi + lambda I)^-1 phi_i`` at shared timesteps, the last checkpoint."""

    def of(side: str) -> Tensor:
        return features(book.gradients(side, book.last, output))

    train, queries = of("shared"), of("query") if query is None else query(book)
    damped = damping * train.square().sum(1).mean() * torch.eye(train.shape[1]).double()
    inverse = torch.linalg.inv(train.T @ train + damped)
    scores: Tensor = queries @ inverse @ train.T * scale(train, inverse)
    return scores


def das(book: Book, features: Callable[[Tensor], Tensor]) -> Tensor:
    """``(phi_q^T (Phi^T Phi + lambda I)^-1 phi_i r_i / (1 - h_i))^2`` of the mean residual."""

    def residual(f: Tensor, eps: Tensor, weight: Tensor) -> Tensor:
        return (f - eps).mean()

    def scale(train: Tensor, inverse: Tensor) -> Tensor:
        leverages = (train @ inverse * train).sum(1)
        return book.value("shared", book.last, residual) / (1 - leverages)

    scores: Tensor = trak(book, residual, features, scale).square()
    return scores


def journey(book: Book) -> Tensor:
    """TRAK of the clean pictures foreseen on each query's way back to noise."""
    return trak(book, query=lambda book: torch.stack([_way(book, *q) for q in book.items("query")]))


def _way(book: Book, x: Tensor, timesteps: Tensor, noises: Tensor) -> Tensor:
    """Return one query's gradient, the mean over its timesteps (increasing) and noise."""
    low, high, parts, now = x.min(), x.max(), [], 0

    def foresee(t: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            noise = book.network(x[None], torch.tensor([t])).sample[0]
        bar = book.bars[t]
        return ((x - (1 - bar).sqrt() * noise) / bar.sqrt()).clamp(low, high), noise

    for goal, eps in zip(timesteps[book.last].tolist(), noises[book.last], strict=True):
        for left in (5, 4, 3, 2, 1):
            clean, noise = foresee(now)
            now += (goal - now) // left
            x = book.bars[now].sqrt() * clean + (1 - book.bars[now]).sqrt() * noise
        clean, _ = foresee(goal)
        parts += [book.gradient(book.output(clean, goal, e)) for e in eps]
    return torch.stack(parts).mean(0)


def dattri_trak(book: Book, output: Output) -> Tensor:
    """The same as dattri has it: of training draws, divided by the root of the width."""
    width = sum(book.sizes.values())
    train = [book.mean("train", k, output) for k in range(book.last + 1)]
    mean_square = torch.stack(train).square().sum(-1).mean() / width
    damping = 0.1 * mean_square * len(book.train) / width
    scores = []
    for k, own in enumerate(train):
        phi, queries = own / width**0.5, book.mean("query", k, output) / width**0.5
        kernel = phi.T @ phi + damping * torch.eye(width).double()
        scores.append(queries @ torch.linalg.solve(kernel, phi.T))
    return torch.stack(scores).mean(0)


def hessian_inverse(book: Book, damping: float) -> Tensor:
    """``g_q^T (H + damping I)^-1 g_i``, the mean over checkpoints."""
    scores = []
    for k in range(book.last + 1):
        hessian = book.hessian(k)
        damped = hessian + damping * torch.eye(len(hessian)).double()
        solved = torch.linalg.solve(damped, book.mean("train", k).T)
        scores.append(book.mean("query", k) @ solved)
    return torch.stack(scores).mean(0)


def dattri_arnoldi(book: Book) -> Tensor:
    """Along the Hessian's top eigenvector, damped by 0.5; the mean over checkpoints."""
    scores = []
    for k in range(book.last + 1):
        values, vectors = torch.linalg.eigh(book.hessian(k))
        query, train = (book.mean(side, k) @ vectors[:, -1] for side in ("query", "train"))
        scores.append(torch.outer(query, train) / (values[-1] + 0.5))
    return torch.stack(scores).mean(0)


def captum_arnoldi(book: Book) -> Tensor:
    """Along the top eigenvector of the Hessian of the sum of losses, damped by 1e-3."""
    values, vectors = torch.linalg.eigh(len(book.train) * book.hessian(book.last))
    query, train = (book.mean(side, book.last) @ vectors[:, -1] for side in ("query", "train"))
    scores: Tensor = torch.outer(query, train) / (values[-1] + 1e-3)
    return scores


def captum_naive(book: Book) -> Tensor:
    """In the 50 top eigenvectors of the Hessian of the last layer, where it curves upwards."""
    width = book.sizes["conv_out.weight"] + book.sizes["conv_out.bias"]
    own = len(book.train) * book.hessian(book.last)[-width:, -width:]
    values, vectors = torch.linalg.eigh(own + 1e-6 * torch.eye(width).double())
    kept = (values > 1e-5) & (torch.arange(width) >= width - 50)
    inverse = vectors[:, kept] / values[kept] @ vectors[:, kept].T
    query, train = (book.mean(side, book.last)[:, -width:] for side in ("query", "train"))
    scores: Tensor = query @ inverse @ train.T
    return scores


def datainf(book: Book) -> Tensor:
    """Per layer, the mean over samples of the inverses of their Fisher matrices."""
    layers: dict[str, int] = {}
    for name, size in book.sizes.items():
        layer = name.rpartition(".")[0]
        layers[layer] = layers.get(layer, 0) + size
    every = [book.mean("train", k) for k in range(book.last + 1)]
    damping = 0.1 * torch.stack(every).square().mean()
    scores = []
    for k, train in enumerate(every):
        queries, start = book.mean("query", k), 0
        for width in layers.values():
            part = slice(start, start + width)
            own, theirs, start = train[:, part], queries[:, part], start + width
            identity = damping * torch.eye(own.shape[1]).double()
            inverses = [torch.linalg.inv(torch.outer(g, g) + identity) for g in own]
            scores.append(theirs @ torch.stack(inverses).mean(0) @ own.T)
    return torch.stack(scores).sum(0) / len(every)


def ekfac(book: Book) -> Tensor:
    """Of ``time_embedding.linear_1``: its Kronecker factors' eigenbasis, and the squares in it."""
    layer = book.network.get_submodule("time_embedding.linear_1")
    entered: list[Tensor] = []
    handle = layer.register_forward_hook(lambda m, inputs, out: entered.append(inputs[0][0]))
    book.load(book.last)
    for x, timesteps, noises in book.items("train"):
        book.output(x, int(timesteps[book.last, 0]), noises[book.last, 0, 0])
    handle.remove()
    inputs = torch.stack([torch.cat([a.detach(), torch.ones(1).double()]) for a in entered])
    out, width = book.network.get_parameter("time_embedding.linear_1.weight").shape
    train, queries = (
        torch.cat([g[:, : out * width].view(-1, out, width), g[:, out * width :][:, :out, None]], 2)
        for g in (book.mean(side, book.last) for side in ("train", "query"))
    )
    outputs = train[..., -1]  # the gradient of a bias is that of the layer's output
    _, u_a = torch.linalg.eigh(inputs.T @ inputs)
    _, u_s = torch.linalg.eigh(outputs.T @ outputs)
    eigenvalues = (u_s.T @ train @ u_a).square().mean(0)
    damped = eigenvalues + 0.1 * eigenvalues.mean()
    return torch.einsum("qab,iab->qi", u_s.T @ queries @ u_a / damped, u_s.T @ train @ u_a)
