"""The gradients and Hessians that other methods are made of, one sample at a time."""

from __future__ import annotations

import torch

from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.frameworks.side_loaders import conditions_of, steps_of
from tests import textbook


class Textbook:
    """A case's training samples at one draw each, its queries at all of theirs.

    ``train[k]`` and ``queries[k]`` are lists of the draws ``(example, t, eps)`` of each sample.
    """

    def __init__(self, case, train_draws, query_draws, output=None):
        self.network = case.network
        self.states = [checkpoint.parameters for checkpoint in case.checkpoints]
        self.output = output or textbook.loss_function(case.network, case.schedule.alphas_cumprod)
        steps = steps_of(case.checkpoints)
        names = conditions_of(case.train, "train")
        self.train, self.queries = (
            [[self._draws(drawn, i, k) for i in range(len(drawn))] for k in range(len(self.states))]
            for drawn in (
                DrawnExamples(case.train, train_draws, "train", case.model, steps, names),
                DrawnExamples(case.queries, query_draws, "query", case.model, steps, names),
            )
        )

    def gradients(self, side, k):
        """``[sample, P]``: each sample's gradient of the mean over its draws."""
        self.network.load_state_dict(self.states[k])
        return torch.stack(
            [textbook.gradient(self._mean(draws), self.network) for draws in side[k]]
        )

    def hessian(self, k):
        """Of the mean over the training samples, ``[P, P]``."""
        self.network.load_state_dict(self.states[k])
        parameters = list(self.network.parameters())
        mean = torch.stack([self._mean(draws) for draws in self.train[k]]).mean()
        first = torch.cat(
            [g.flatten() for g in torch.autograd.grad(mean, parameters, create_graph=True)]
        )
        rows = [torch.autograd.grad(g, parameters, retain_graph=True) for g in first]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])

    def influence(self, damping):
        """``mean_k g_q^T (H_k + damping I)^-1 g_i``, ``[query, train]``."""
        scores = []
        for k in range(len(self.states)):
            hessian = self.hessian(k)
            damped = hessian + damping * torch.eye(len(hessian), dtype=hessian.dtype)
            assert torch.linalg.eigvalsh(damped).min() > 0, "the test's damping is too small"
            train, queries = self.gradients(self.train, k), self.gradients(self.queries, k)
            scores.append(queries @ torch.linalg.solve(damped, train.T))
        return torch.stack(scores).mean(0)

    def _mean(self, draws):
        return torch.stack([self.output(*draw) for draw in draws]).mean()

    @staticmethod
    def _draws(drawn, i, k):
        sample, timesteps, noise, *_ = drawn[i]
        return [
            ({"sample": sample}, int(t), eps)
            for t, noises in zip(timesteps[k], noise[k], strict=True)
            for eps in noises
        ]
