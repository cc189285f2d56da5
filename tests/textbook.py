"""The formulas as plain loops over single samples, in the words of the paper; slow and obvious."""

from __future__ import annotations

import torch

TARGETS = {
    "epsilon": lambda x, eps, a, s: eps,
    "sample": lambda x, eps, a, s: x,
    "v_prediction": lambda x, eps, a, s: a * eps - s * x,
}
ERRORS = {"mse": torch.square, "l1": torch.abs}


def loss_function(forward, alphas_cumprod, prediction_type="epsilon", loss="mse"):
    """The loss of one example at one timestep with one noise.

    ``forward(noisy, timesteps, **conditions)`` calls the network on a batch of one.
    """

    def loss_of(example, t, eps):
        x = example["sample"]
        conditions = {name: value[None] for name, value in example.items() if name != "sample"}
        alpha = alphas_cumprod[t].to(x.dtype)
        a, s = alpha.sqrt(), (1 - alpha).sqrt()
        output = forward((a * x + s * eps)[None], torch.tensor([int(t)]), **conditions)[0]
        return ERRORS[loss](output - TARGETS[prediction_type](x, eps, a, s)).mean()

    return loss_of


def gradient(loss, network):
    """Flat gradient of a loss over all trainable parameters."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def direction(vector):
    """The gradient as ReTrac takes it: of norm 1, or zero."""
    norm = vector.norm()
    return vector / norm if norm > 0 else vector


def unchanged(vector):
    """The gradient as TracIn takes it."""
    return vector


def influence(loss_of, network, checkpoints, train, queries, rescale):
    """``sum_k eta_k <r(g_i), 1/T sum_t r(1/S sum_s g_qts)>`` as ``[query, train]``.

    ``checkpoints[k]`` is ``(state, eta)``; ``train[k][i]`` is ``(example, t, eps)``;
    ``queries[k][q]`` is ``(example, [(t, [eps, ...]), ...])``.
    """
    total = torch.zeros(len(queries[0]), len(train[0]), dtype=torch.float64)
    for k, (state, eta) in enumerate(checkpoints):
        network.load_state_dict(state)
        own = [rescale(gradient(loss_of(*visit), network)) for visit in train[k]]
        for q, (example, pairs) in enumerate(queries[k]):
            per_timestep = []
            for t, noises in pairs:
                draws = [gradient(loss_of(example, t, eps), network) for eps in noises]
                per_timestep.append(rescale(torch.stack(draws).mean(0)))
            mean = torch.stack(per_timestep).mean(0)
            total[q] += eta * torch.stack([torch.dot(g, mean) for g in own])
    return total
