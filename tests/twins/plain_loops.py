"""What every method is made of, by plain loops over single samples; slow and obvious.

Nothing here uses this package but its draws, which say at which timesteps and noise. The objective
is that of ``small_run``: the mean squared error of the noise, by a DDPM schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from retrac_plugin.draws import Draws, Recorded
from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.frameworks.side_loaders import steps_of
from tests.twins.small_run import SmallRun

Output = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(prediction, noise, weight of the bound) -> number`` of one sample at one draw."""


def loss(prediction: Tensor, noise: Tensor, weight: Tensor) -> Tensor:
    """Return the loss."""
    return (prediction - noise).square().mean()


class Book:
    """Gradients, Hessians and losses of a run.

    Args:
        run: In float64.
        alphas_cumprod: Of its scheduler, ``[timestep]``.

    Attributes:
        step_sizes: Of the checkpoints.
        sizes: How many numbers each attributed parameter has, by name.
        network: The network, with whatever checkpoint was used last.
        train: The training images.
        queries: The queries.
    """

    def __init__(self, run: SmallRun, alphas_cumprod: Tensor) -> None:
        self.network, self.bars = run.model.network, alphas_cumprod.double()
        self.states = [checkpoint.load() for checkpoint in run.checkpoints]
        self.step_sizes = [checkpoint.step_size for checkpoint in run.checkpoints]
        self.train, self.queries = run.train, run.queries
        own, names = dict(self.network.named_parameters()), run.model.attributed_names()
        self.parameters = [own[name] for name in names]
        self.sizes = {name: own[name].numel() for name in names}
        self.trace = run.train_draws.trace if isinstance(run.train_draws, Recorded) else None
        self.steps = steps_of(run.checkpoints)

        def drawn(images: Tensor, draws: Draws, side: str) -> DrawnExamples:
            return DrawnExamples(images, draws, side, run.model, self.steps, ())

        self.sides = {
            "train": drawn(run.train, run.train_draws, "train"),
            "query": drawn(run.queries, run.query_draws, "query"),
            "shared": drawn(run.train, run.query_draws, "train"),
            "train as query": drawn(run.train, run.query_draws, "query"),
        }
        """Training samples as trained, queries, training samples at the queries' timesteps with
        noise of their own, and with the noise that they would get as queries."""
        self.gradients = cache(self._gradients)
        self.hessian = cache(self._hessian)

    def items(self, side: str) -> list[tuple[Tensor, ...]]:
        """Return ``(x, timesteps [checkpoint, T], noise [checkpoint, T, S, ...])`` of a side."""
        drawn = self.sides[side]
        return [drawn[i] for i in range(len(drawn))]

    @property
    def last(self) -> int:
        """Position of the last checkpoint."""
        return len(self.states) - 1

    def load(self, k: int) -> None:
        """Load a checkpoint."""
        self.network.load_state_dict(self.states[k])

    def mean(self, side: str, k: int, output: Output = loss) -> Tensor:
        """Return each sample's gradient of the mean over its draws, ``[sample, p]``."""
        return self.gradients(side, k, output).mean((1, 2))

    def output(self, x: Tensor, t: int, eps: Tensor, output: Output = loss) -> Tensor:
        """Return one sample's number at one draw."""
        bar, before = self.bars[t], self.bars[t - 1] if t > 0 else torch.tensor(1.0)
        alpha = bar / before
        noisy = bar.sqrt() * x + (1 - bar).sqrt() * eps
        prediction = self.network(noisy[None], torch.tensor([t])).sample[0]
        return output(prediction, eps, (1 - alpha) / (2 * alpha * (1 - bar)))

    def value(self, side: str, k: int, output: Output = loss) -> Tensor:
        """Return each sample's mean over its draws, ``[sample]``."""
        self.load(k)
        own = []
        with torch.no_grad():
            for x, timesteps, noises in self.items(side):
                pairs = zip(timesteps[k], noises[k], strict=True)
                values = [self.output(x, int(t), e, output) for t, eps in pairs for e in eps]
                own.append(torch.stack(values).mean())
        return torch.stack(own)

    def gradient(self, number: Tensor) -> Tensor:
        """Return the flat gradient of a number by the attributed parameters."""
        parts = torch.autograd.grad(number, self.parameters, allow_unused=True)
        pairs = zip(parts, self.parameters, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])

    def visits(self, k: int) -> list[list[Tensor]]:
        """Return each training sample's gradient at every visit since the checkpoint before."""
        assert self.trace is not None, "the small run records its training"
        self.load(k)
        first, trace = self.steps[k - 1] if k > 0 else 0, self.trace
        found: list[list[Tensor]] = [[] for _ in self.train]
        for visit in range(len(trace.ids)):
            if first <= trace.steps[visit] < self.steps[k]:
                i, t = int(trace.ids[visit]), int(trace.timesteps[visit])
                eps = trace.noise(torch.tensor([visit]), self.train[i].shape)[0].double()
                found[i].append(self.gradient(self.output(self.train[i], t, eps)))
        return found

    def _gradients(self, side: str, k: int, output: Output = loss) -> Tensor:
        """Return ``[sample, timestep, noise, p]``."""
        self.load(k)
        samples = []
        for x, timesteps, noises in self.items(side):
            samples.append(
                torch.stack(
                    [
                        torch.stack([self.gradient(self.output(x, int(t), e, output)) for e in eps])
                        for t, eps in zip(timesteps[k], noises[k], strict=True)
                    ]
                )
            )
        return torch.stack(samples)

    def _hessian(self, k: int) -> Tensor:
        """Return that of the mean loss of the training samples as trained, ``[p, p]``."""
        self.load(k)
        items = self.items("train")  # side by side: singly, it takes minutes
        x = torch.stack([own for own, _, _ in items])
        t = torch.stack([timesteps[k, 0] for _, timesteps, _ in items])
        eps = torch.stack([noise[k, 0, 0] for _, _, noise in items])
        bars = self.bars[t].view(-1, 1, 1, 1)
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no second derivative
            predictions = self.network(bars.sqrt() * x + (1 - bars).sqrt() * eps, t).sample
        mean = loss(predictions, eps, bars)
        first = torch.autograd.grad(mean, self.parameters, create_graph=True)
        flat = torch.cat([part.flatten() for part in first])
        rows = [torch.autograd.grad(g, self.parameters, retain_graph=True) for g in flat]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
