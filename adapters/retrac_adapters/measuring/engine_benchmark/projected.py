"""How well projected scores agree with exact ones, on a network that was trained a little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from retrac_adapters.measuring.engine_benchmark.workload import Workload
from retrac_plugin.gradients.projections import CountSketch, Factored, Projection
from retrac_plugin.gradients.streamed import StreamedEngine

STEPS, TRAIN, QUERIES, TIMESTEPS, DRAWS = 150, 512, 20, 4, 4

PROJECTIONS: tuple[Projection, ...] = (
    CountSketch(1024),
    CountSketch(4096),
    CountSketch(16384),
    Factored(4),
    Factored(8),
    Factored(16),
)


@dataclass(frozen=True)
class Agreement:
    """Of one projection's scores with the exact ones; means over queries.

    Attributes:
        projection: The projection.
        dimension: Numbers per row.
        tracin: Rank correlation of Diffusion-TracIn's scores.
        retrac: Rank correlation of Diffusion-ReTrac's.
        top: Share of ReTrac's 10 highest that are among the projected 10 highest.
    """

    projection: str
    dimension: int
    tracin: float
    retrac: float
    top: float


def agreements(work: Workload) -> list[Agreement]:
    """Train the workload's network on digits and compare all projections."""
    images = _digits(work.size.image)
    train_on(work, images[: TRAIN + QUERIES])
    engine = StreamedEngine(work.losses, work.parameters)
    train, queries = _noisy(images[:TRAIN], 1), _noisy(images[-QUERIES:], TIMESTEPS * DRAWS)
    rows = engine.gradients(queries, DRAWS).gradients
    passes = list(engine.products(_batches(train), 1, _queries(rows)))
    dots, norms = (torch.cat([getattr(p, part) for p in passes]) for part in ("dots", "norms"))
    exact = _scores(dots, norms)
    found = []
    for projection in PROJECTIONS:
        own = torch.cat([f.features for f in engine.features(_batches(train), 1, projection)])
        theirs = list(engine.features(_batches(queries), DRAWS, projection))
        query_rows, query_norms = (
            torch.cat([getattr(f, part) for f in theirs]) for part in ("features", "norms")
        )
        own_norms = norms if isinstance(projection, CountSketch) else own.norm(dim=1)
        scores = _scores(own @ _queries(query_rows, query_norms).T, own_norms)
        found.append(_agreement(projection, own.shape[1], exact, scores))
    return found


def train_on(work: Workload, images: Tensor) -> None:
    """Fit the network to predict noise, in place."""
    optimizer = torch.optim.Adam(work.network.parameters(), lr=1e-3)
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(step)
        some = images[torch.randint(len(images), (32,), generator=generator)]
        loss = work.losses(dict(work.network.named_parameters()), _noisy(some, 1, step)).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def _digits(size: int) -> Tensor:
    """Return scikit-learn's digits as images ``[image, 3, size, size]``, in a seeded order."""
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    larger = functional.interpolate(images[order], size=(size, size), mode="bilinear")
    return larger.expand(-1, 3, -1, -1)


def _noisy(images: Tensor, draws: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy images, timesteps and noise; 4 draws of one image in a row share a timestep."""
    generator = torch.Generator().manual_seed(seed)
    images = images.repeat_interleave(draws, 0)
    share = min(draws, DRAWS)
    timesteps = torch.randint(1000, (len(images) // share,), generator=generator)
    timesteps = timesteps.repeat_interleave(share)
    noise = torch.randn(images.shape, generator=generator)
    alphas = (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0)[timesteps].view(-1, 1, 1, 1)
    return alphas.sqrt() * images + (1 - alphas).sqrt() * noise, timesteps, noise


def _batches(data: tuple[Tensor, Tensor, Tensor]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(torch.split(part, 64) for part in data), strict=True))


def _queries(rows: Tensor, norms: Tensor | None = None) -> Tensor:
    """Return every query's TracIn vector, then every query's ReTrac vector."""
    norms = rows.norm(dim=1) if norms is None else norms
    both = (rows, rows / norms[:, None])
    return torch.cat([each.view(QUERIES, TIMESTEPS, -1).mean(1) for each in both])


def _scores(dots: Tensor, norms: Tensor) -> Mapping[str, Tensor]:
    """Return scores ``[query, train]`` of both methods from products ``[train, 2 * query]``."""
    return {"tracin": dots[:, :QUERIES].T, "retrac": (dots[:, QUERIES:] / norms[:, None]).T}


def _agreement(
    projection: Projection,
    dimension: int,
    exact: Mapping[str, Tensor],
    scores: Mapping[str, Tensor],
) -> Agreement:
    def correlation(method: str) -> float:
        pairs = zip(exact[method], scores[method], strict=True)
        return sum(float(spearmanr(a, b).statistic) for a, b in pairs) / QUERIES

    best = [values["retrac"].topk(10).indices.tolist() for values in (exact, scores)]
    shared = sum(len(set(a) & set(b)) for a, b in zip(*best, strict=True))
    return Agreement(
        repr(projection), dimension, correlation("tracin"), correlation("retrac"), shared / 200
    )
