"""The other methods as plain loops over single samples, in float64; slow and obvious."""

from __future__ import annotations

import torch

from retrac_plugin.draws import Request
from retrac_plugin.randomness import content_key
from tests.textbook import direction, gradient, unchanged

OUTPUTS = {
    "loss": lambda f, target, weight: (f - target).square().mean(),
    "mean-squared-l2-norm": lambda f, target, weight: f.square().mean(),
    "mean": lambda f, target, weight: f.mean(),
    "l1-norm": lambda f, target, weight: f.abs().sum(),
    "l2-norm": lambda f, target, weight: f.square().sum().sqrt(),
    "linf-norm": lambda f, target, weight: f.abs().max(),
    "residual": lambda f, target, weight: (f - target).mean(),
    "weighted-mse": lambda f, target, weight: weight * (f - target).square().mean(),
}


def output_of(case, name, x, t, eps):
    """One output of one sample at one timestep with one noise."""
    bars = case.schedule.alphas_cumprod.double()
    bar, before = bars[t], bars[t - 1] if t > 0 else torch.tensor(1.0).double()
    alpha = bar / before
    weight = (1 - alpha) / (2 * alpha * (1 - bar))
    noisy = bar.sqrt() * x + (1 - bar).sqrt() * eps
    prediction = case.network(noisy[None], torch.tensor([int(t)]))[0]
    return OUTPUTS[name](prediction, eps, weight)


def features(case, draws, k, output="loss", rescale=unchanged, per_draw=False):
    """Timestep-averaged gradients of both sides at checkpoint ``k``: ``[train, p], [query, p]``."""
    case.network.load_state_dict(case.checkpoints[k].parameters)
    return tuple(
        torch.stack(
            [
                _feature(case, draws, k, side, i, x, output, rescale, per_draw)
                for i, x in enumerate(examples)
            ]
        )
        for side, examples in (("train", case.train), ("query", case.queries))
    )


def _feature(case, draws, k, side, i, x, output, rescale, per_draw):
    timesteps, noise, _ = draws.draw(request_of(case, k, side, i, x))
    parts = []
    for t, noises in zip(timesteps[0], noise[0].double(), strict=True):
        own = [gradient(output_of(case, output, x, t, eps), case.network) for eps in noises]
        parts.extend(map(rescale, own if per_draw else [torch.stack(own).mean(0)]))
    return torch.stack(parts).mean(0)


def dots(train, queries):
    return torch.stack([torch.stack([torch.dot(q, g) for g in train]) for q in queries])


def cosines(train, queries):
    return dots([direction(g) for g in train], [direction(q) for q in queries])


def through_curvature(train, queries, damping, scale=lambda g, inverse: 1.0):
    """``phi_q^T (Phi^T Phi + lambda I)^-1 phi_i``, the matrix formed and inverted."""
    rows = list(train)
    damped = damping * sum(float(g.norm()) ** 2 for g in rows) / len(rows)
    curvature = damped * torch.eye(rows[0].numel(), dtype=torch.float64)
    for g in rows:
        curvature += torch.outer(g, g)
    inverse = torch.linalg.inv(curvature)
    return torch.stack(
        [torch.stack([q @ inverse @ g * scale(g, inverse) for g in rows]) for q in queries]
    )


def residuals(case, draws, k):
    """Mean residual of each training sample over its draws, ``[train]``."""
    case.network.load_state_dict(case.checkpoints[k].parameters)
    found = []
    for i, x in enumerate(case.train):
        timesteps, noise, _ = draws.draw(request_of(case, k, "train", i, x))
        found.append(
            torch.stack(
                [
                    output_of(case, "residual", x, t, eps)
                    for t, noises in zip(timesteps[0], noise[0].double(), strict=True)
                    for eps in noises
                ]
            ).mean()
        )
    return torch.stack(found)


def attribution_scores(train, queries, residuals, damping):
    """DAS: the squared change of the prediction, one sample left out at a time."""
    rows = list(train)
    damped = damping * sum(float(g.norm()) ** 2 for g in rows) / len(rows)
    inverse = torch.linalg.inv(
        damped * torch.eye(rows[0].numel(), dtype=torch.float64)
        + sum(torch.outer(g, g) for g in rows)
    )
    return torch.stack(
        [
            torch.stack(
                [
                    (q @ inverse @ g * r / (1 - g @ inverse @ g)) ** 2
                    for g, r in zip(rows, residuals, strict=True)
                ]
            )
            for q in queries
        ]
    )


def journey(case, k, x, timesteps, substeps):
    """The clean pictures foreseen on one picture's way back to noise, one for each timestep."""
    case.network.load_state_dict(case.checkpoints[k].parameters)
    bars = case.schedule.alphas_cumprod.double()
    low, high = x.min(), x.max()

    def foresee(x_t, t):
        with torch.no_grad():
            noise = case.network(x_t[None], torch.tensor([t]))[0]
        clean = (x_t - (1 - bars[t]).sqrt() * noise) / bars[t].sqrt()
        return clean.clamp(low, high), noise

    now, found = 0, []
    for goal in timesteps:
        for left in range(substeps, 0, -1):
            clean, noise = foresee(x, now)
            now += (goal - now) // left
            x = bars[now].sqrt() * clean + (1 - bars[now]).sqrt() * noise
        found.append(foresee(x, goal)[0])
    return found


def journey_feature(case, draws, k, x, q, substeps):
    """Mean gradient of the loss at what is foreseen on the way, at the picture's own noise."""
    drawn = draws.draw(request_of(case, k, "query", q, x))
    order = drawn.timesteps[0].argsort()
    timesteps = drawn.timesteps[0][order].tolist()
    parts = []
    foreseen = journey(case, k, x, timesteps, substeps)
    for t, clean, noises in zip(timesteps, foreseen, drawn.noise[0][order].double(), strict=True):
        parts.extend(gradient(output_of(case, "loss", clean, t, e), case.network) for e in noises)
    return torch.stack(parts).mean(0)


def request_of(case, k, side, i, x):
    return Request([i], [content_key(x)], x.shape, side, 0, k, case.checkpoints[k].step, 100)
