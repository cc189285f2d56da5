"""Kronecker-factored influence functions, one training draw after the other."""

from __future__ import annotations

import torch
from torch import nn

from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.frameworks.side_loaders import steps_of
from retrac_plugin.randomness import content_key, normal


def explicit(case, draws, layers, corrected=True, fisher="true", relative_damping=0.1):
    """The sum over layers of ``<Q_s^T G_q Q_a / (Lambda + lambda), Q_s^T G_i Q_a>``.

    ``[query, train]``; the bias is the last column of ``G``.
    """
    network = case.network
    network.load_state_dict(case.checkpoints[-1].parameters)
    steps = steps_of(case.checkpoints)
    modules = {name: network.get_submodule(name) for name in layers}
    train, queries = (
        [one_sample(drawn[i]) for i in range(len(drawn))]
        for drawn in (
            DrawnExamples(case.train, draws["train_draws"], "train", case.model, steps, ()),
            DrawnExamples(case.queries, draws["query_draws"], "query", case.model, steps, ()),
        )
    )

    def loss(x, t, eps, as_sampled=False):
        bar = case.schedule.alphas_cumprod[t].to(x.dtype)
        prediction = network((bar.sqrt() * x + (1 - bar).sqrt() * eps)[None], torch.tensor([t]))[0]
        target = eps
        if as_sampled:
            z = normal([(0x46495348, content_key(x), t, content_key(eps))], x.shape)[0]
            target = (prediction + (x.numel() / 2) ** 0.5 * z.to(x.dtype)).detach()
        return (prediction - target).square().mean()

    def mean_gradients(samples):
        parts = [gradients(modules, sum(loss(*d) for d in own) / len(own)) for own in samples]
        return {name: torch.stack([part[name] for part in parts]) for name in layers}

    own, theirs, total = mean_gradients(train), mean_gradients(queries), 0
    entered, left, single = observed(
        modules, [lambda d=d: loss(*d, fisher == "true") for single in train for d in single]
    )
    for name in layers:
        values_a, q_a = torch.linalg.eigh(entered[name].T @ entered[name] / len(entered[name]))
        values_s, q_s = torch.linalg.eigh(left[name].T @ left[name] / len(left[name]))
        eigenvalues = torch.outer(values_s, values_a)
        if corrected:
            eigenvalues = (q_s.T @ single[name] @ q_a).square().mean(0)
        damped = eigenvalues + relative_damping * eigenvalues.mean()
        query, train = (q_s.T @ side[name] @ q_a for side in (theirs, own))
        total = total + torch.einsum("qsa,isa->qi", query / damped, train)
    return total


def one_sample(item):
    """A sample's draws at the last checkpoint, ``(x, t, eps)`` each."""
    x, timesteps, noise = item
    return [
        (x, int(t), eps) for t, own in zip(timesteps[-1], noise[-1], strict=True) for eps in own
    ]


def gradients(modules, loss):
    """``{layer: [out, in + 1]}``, the bias as a last column."""
    parameters = [p for module in modules.values() for p in (module.weight, module.bias)]
    parts = iter(torch.autograd.grad(loss, parameters, retain_graph=True))
    return {
        name: torch.cat([weight.flatten(1), bias[:, None]], 1)
        for name, weight, bias in zip(modules, parts, parts, strict=True)
    }


def observed(modules, losses):
    """What enters each layer, the gradients of what leaves it, each ``[place, ...]``; gradients."""
    entered, left = ({name: [] for name in modules} for _ in range(2))

    def note(name):
        def hook(module, inputs, output):
            entered[name].append(places(module, inputs[0].detach()))
            output.register_hook(lambda grad: left[name].append(grad.movedim(1, -1).flatten(0, -2)))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in modules.items()]
    single = [gradients(modules, loss()) for loss in losses]
    for handle in handles:
        handle.remove()
    return (
        {name: torch.cat(parts) for name, parts in entered.items()},
        {name: torch.cat(parts) for name, parts in left.items()},
        {name: torch.stack([part[name] for part in single]) for name in modules},
    )


def places(module, inputs):
    """The vectors that a layer multiplies, a one behind each, ``[place, in + 1]``."""
    if isinstance(module, nn.Conv2d):
        inputs = nn.functional.unfold(inputs, module.kernel_size, padding=module.padding).mT
    flat = inputs.flatten(0, -2)
    return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)


def gauss_newton(model, batch):
    """``J^T H J`` of one sample's loss, ``H`` its Hessian by the prediction."""
    parameters = dict(model.network.named_parameters())

    def predict(values):
        return torch.func.functional_call(model.network, values, (batch.noisy, batch.timesteps))

    parts = torch.func.jacrev(predict)(parameters)
    jacobian = torch.cat([p.flatten(0, 3).flatten(1) for p in parts.values()], 1)
    weight = 2 * batch.weight / batch.target.numel()
    return weight * jacobian.T @ jacobian
