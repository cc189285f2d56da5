"""Methods that compare gradients with one another, without curvature.

``g`` is the gradient of the loss, averaged over shared timesteps. Formulas as in the comparison of
Zheng et al. (D-TRAK, ICLR 2024), on projected gradients with exact norms.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from retrac_plugin.attribution.features import DIRECTIONS, KEPT, UNIT_PER_DRAW
from retrac_plugin.attribution.rescaling import unit_norm
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.methods.features import Bank, Feature, Pair
from retrac_plugin.methods.setting import A_TIMESTEP, Gradients
from retrac_plugin.model.outputs import LOSS


def dot(pair: Pair) -> Tensor:
    """Return ``<g_q, g_i>``, ``[query, train]``."""
    return pair.queries.features @ pair.train.features.T


def cosine(pair: Pair) -> Tensor:
    """Return ``<g_q, g_i> / (|g_q| |g_i|)``; a zero gradient has no direction and gives 0."""
    return unit_norm(pair.queries.norms)[:, None] * dot(pair) * unit_norm(pair.train.norms)


class GradientDot(FeatureAttributor):
    """Inner products of gradients at the last checkpoint (Charpiat et al., NeurIPS 2019)."""

    name = "gradient dot"
    sample_by_sample = True

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        return [self.feature(self.last, LOSS, KEPT)]

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        (feature,) = self.needs()
        return dot(bank[feature])


class GradientCosine(GradientDot):
    """Cosines of gradients at the last checkpoint (Charpiat et al., NeurIPS 2019)."""

    name = "gradient cosine"

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        (feature,) = self.needs()
        return cosine(bank[feature])


class TracInCP(FeatureAttributor):
    """``sum_k eta_k <g_q^k, g_i^k>`` (Pruthi et al., NeurIPS 2020)."""

    name = "TracInCP"
    sample_by_sample = True

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        return [self.feature(k, LOSS, KEPT) for k in range(self.last + 1)]

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        pairs = [bank[feature] for feature in self.needs()]
        parts = [
            checkpoint.step_size * self.compare(pair)
            for checkpoint, pair in zip(self.setting.checkpoints, pairs, strict=True)
        ]
        return sum(parts[1:], parts[0])

    def compare(self, pair: Pair) -> Tensor:
        """Return how alike the gradients of one checkpoint are, ``[query, train]``."""
        return dot(pair)


class GAS(TracInCP):
    """TracInCP of cosines (Hammoudeh and Lowd, CCS 2022)."""

    name = "GAS"

    def compare(self, pair: Pair) -> Tensor:
        """See ``TracInCP.compare``."""
        return cosine(pair)


class PerDrawReTrac(TracInCP):
    """ReTrac as MOTIVE reads it (arXiv 2601.08828, eq. 5).

    Every gradient of one timestep and noise draw is normalised on its own, then they are averaged,
    on both sides. MOTIVE uses one checkpoint, here all that are given.
    """

    name = "Diffusion-ReTrac, per draw"

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        return [self.feature(k, LOSS, UNIT_PER_DRAW) for k in range(self.last + 1)]


class PairedReTrac(TracInCP):
    """``sum_k eta_k 1/T sum_t cos(g_q^k(t), g_i^k(t))``: timesteps of both sides in pairs.

    ReTrac as DMin (arXiv 2412.08637) and MOTIVE (arXiv 2601.08828, eq. 6) pair them, a training
    sample at a timestep with the query at the same timestep and noise. They use one checkpoint,
    here all that are given.
    """

    name = "Diffusion-ReTrac, paired"
    gradients: ClassVar[Gradients] = A_TIMESTEP

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        return [self.feature(k, LOSS, DIRECTIONS) for k in range(self.last + 1)]

    def compare(self, pair: Pair) -> Tensor:
        """See ``TracInCP.compare``."""
        queries, train = pair.queries.features, pair.train.features
        return queries.flatten(1) @ train.flatten(1).T / train.shape[1]
