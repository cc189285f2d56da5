"""The methods by kernels as plain loops over single samples and timesteps, in float64."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from retrac_plugin.randomness import normal
from tests.methods.textbook import request_of
from tests.textbook import direction, gradient


def probe(case, x, t, eps):
    """``mean(f * v)`` with ``v`` of the timestep alone."""
    bar = case.schedule.alphas_cumprod.double()[t]
    noisy = bar.sqrt() * x + (1 - bar).sqrt() * eps
    prediction = case.network(noisy[None], torch.tensor([int(t)]))[0]
    v = normal([(0, 4, int(t), 0)], eps.shape)[0].double()
    return (prediction * v).mean()


def loss(case, x, t, eps):
    bar = case.schedule.alphas_cumprod.double()[t]
    noisy = bar.sqrt() * x + (1 - bar).sqrt() * eps
    return (case.network(noisy[None], torch.tensor([int(t)]))[0] - eps).square().mean()


def of_gradient(output):
    def known(case, x, t, noises):
        own = [gradient(output(case, x, t, eps), case.network) for eps in noises]
        return torch.stack(own).mean(0)

    return known


def of_layers(names):
    """Outputs of layers, each of norm 1, side by side."""

    def known(case, x, t, noises):
        seen = {name: [] for name in names}
        hooks = [
            case.network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: seen[name].append(output.flatten())
            )
            for name in names
        ]
        with torch.no_grad():
            for eps in noises:
                loss(case, x, t, eps)
        for hook in hooks:
            hook.remove()
        return torch.cat([direction(torch.stack(seen[name]).mean(0)) for name in names])

    return known


def directions(case, draws, k, known):
    """``u_t`` of both sides at checkpoint ``k``: ``[train][t]`` and ``[query][t]`` vectors."""
    case.network.load_state_dict(case.checkpoints[k].parameters)
    sides = []
    for side, examples in (("train", case.train), ("query", case.queries)):
        found = []
        for i, x in enumerate(examples):
            timesteps, noise, _ = draws.draw(request_of(case, k, side, i, x))
            pairs = zip(timesteps[0], noise[0].double(), strict=True)
            found.append([direction(known(case, x, t, noises)) for t, noises in pairs])
        sides.append(found)
    return sides


def over_timesteps(train, queries, kernel, damping):
    """``sum_t k_t(q, X) (k_t(X, X) + lambda I)^-1`` of centred directions."""
    total = torch.zeros(len(queries), len(train), dtype=torch.float64)
    for t in range(len(train[0])):
        mean = sum(own[t] for own in train) / len(train)
        ours = [direction(own[t] - mean) for own in train]
        theirs = [direction(own[t] - mean) for own in queries]
        own = torch.tensor([[kernel(a, b) for b in ours] for a in ours], dtype=torch.float64)
        query = torch.tensor([[kernel(a, b) for b in ours] for a in theirs], dtype=torch.float64)
        mean_eigenvalue = own.trace() / len(ours)
        total += query @ torch.linalg.inv(
            own + damping * mean_eigenvalue * torch.eye(len(own), dtype=torch.float64)
        )
    return total


def cubic(a, b):
    return float((1 + torch.dot(a, b)) / 2) ** 3


def linear(a, b):
    return float(torch.dot(a, b))


def pixels(train, queries):
    """Kernel ridge on pixels, the width half the median squared distance of two images."""
    ours, theirs = [x.flatten() for x in train], [x.flatten() for x in queries]
    distances = sorted(
        float((a - b).square().sum()) for i, a in enumerate(ours) for b in ours[i + 1 :]
    )
    width = distances[(len(distances) - 1) // 2] / 2

    def kernel(a, b):
        return float(torch.exp(-(a - b).square().sum() / width))

    own = torch.tensor([[kernel(a, b) for b in ours] for a in ours], dtype=torch.float64)
    query = torch.tensor([[kernel(a, b) for b in ours] for a in theirs], dtype=torch.float64)
    return query @ torch.linalg.inv(own + torch.eye(len(own), dtype=torch.float64))


def paired_cosines(train, queries):
    """``1/T sum_t cos``."""
    return torch.stack(
        [torch.stack([(normalize(torch.stack(q)) * torch.stack(g)).sum(1).mean() for g in train])
         for q in queries]
    )  # fmt: skip
