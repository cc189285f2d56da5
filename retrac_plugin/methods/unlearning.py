"""Attribution by unlearning: make the model forget the picture, and see what else it forgets.

One step up the query's loss, scaled by the inverse of the Fisher matrix's diagonal, and then the
training samples' losses before and after, by forward passes alone. No gradient of a training sample
is compared with anything; those that estimate the diagonal are squared and dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.features import KEPT, features_of, train_gradients
from retrac_plugin.attribution.passes import CheckpointPass, Making
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.rescaling import keep_norm
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.checkpoints.checking import check_same_weights
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import Features
from retrac_plugin.gradients.layout import Layout
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.methods.base import GradientMethod
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.diffusion import NoisyBatch


class Unlearning(GradientMethod):
    """``L(i; theta_q) - L(i; theta)`` with ``theta_q = theta + s |theta| d_q / |d_q|``.

    ``d_q = (F + lambda I)^-1 g_q`` raises the query's loss at the last checkpoint: ``F`` is the
    mean of the squares of training samples' gradients, ``lambda`` the damping times its mean. In
    the limit of small steps this is an influence function with a diagonal Fisher matrix. A reading
    of Wang et al. (Attribute by Unlearning, NeurIPS 2024), whose step is not normalised and whose
    matrix is EK-FAC's in the later version; of the parameters, those that are attributed move.

    Args:
        *args: See ``GradientMethod``; the last checkpoint is used, and nothing is projected.
        step: ``s``, how far the parameters move as a share of their own norm.
        damping: ``lambda`` as a multiple of the mean of ``F``.
        **options: See ``GradientMethod``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name = "unlearning"

    def __init__(
        self, *args: Any, step: float = 0.01, damping: float = 0.1, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        for name, value in (("step", step), ("damping", damping)):
            if not value > 0:
                raise InputError(f"{name} must be more than 0, got {value}")
        check_same_weights(self.name, self.setting.computing.checkpoints)
        self.step, self.damping = step, damping

    def attribute(self, train: Examples, queries: Examples) -> Scores:
        """Return how much each training sample's loss rises where each query is forgotten.

        See ``GradientMethod.attribute``.
        """
        setting = self.setting.computing
        check_deterministic(setting.model.network)
        sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
        with setting.bar(2 * len(sources[0]) + len(sources[1]), "unlearning") as bar:
            at = setting.at(len(setting.checkpoints) - 1, bar.update)
            steps = self._steps(at, *sources)
            losing = features_of(
                at, sources[0], self.setting.draws, "train", KEPT, losses_after(at, steps)
            )
            values = torch.cat([part.features for part in losing]).T
        return Scores(values, about=self._about(*map(len, sources)))

    def _steps(self, at: CheckpointPass, train: ExampleSource, queries: ExampleSource) -> Tensor:
        """Return how the parameters move for each query, ``[query, width]``."""
        draws = self.setting.draws
        gradients = query_gradients(at, queries, draws, [keep_norm])[0]
        fisher = at.zeros(at.engine.width)
        for own, _ in train_gradients(at, train, draws):
            fisher += own.square().sum(0) / len(train)
        directions = gradients / (fisher + self.damping * fisher.mean())
        theta = Layout(at.attributed).flatten({n: v[None] for n, v in at.attributed.items()})
        sizes = self.step * row_norms(theta) / row_norms(directions)
        return directions * torch.where(sizes.isfinite(), sizes, 0)[:, None]

    def _about(self, train: int, queries: int) -> dict[str, Any]:
        draws_each = math.prod(self.setting.draws.per_sample())
        forward = train * draws_each * (1 + queries)
        return {
            "method": self.name,
            "query_draws": repr(self.setting.draws),
            "step": self.step,
            "damping": self.damping,
            "passes": (train + queries) * draws_each + forward,
            "forward passes": forward,
        }


def losses_after(at: CheckpointPass, steps: Tensor) -> Making[Features]:
    """Return what gives a row's rise of loss by each step, ``[row, step]``, without gradients."""
    layout = Layout(at.attributed)

    def moved(step: Tensor) -> dict[str, Tensor]:
        own = layout.unflatten(step[None])
        return {name: value + own[name][0] for name, value in at.attributed.items()}

    @torch.no_grad()
    def rises(batch: NoisyBatch, draws_each: int) -> Features:
        before = at.losses(at.attributed, batch).view(-1, draws_each)
        after = [at.losses(moved(step), batch).view(-1, draws_each).mean(1) for step in steps]
        rise = torch.stack(after, dim=1) - before.mean(1, keepdim=True)
        return Features(before, rise, row_norms(rise))

    def make(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
        for batch in batches:
            yield rises(batch, draws_each)

    return make
