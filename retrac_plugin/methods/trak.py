"""TRAK and its kin: products of features through the inverse of their curvature.

``phi`` is a projected gradient at the last checkpoint, averaged over shared timesteps;
``lambda = damping * mean |phi_i|^2``. Formulas as in the comparison of Zheng et al. (D-TRAK, ICLR
2024), where TRAK's residual factor is left out.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from retrac_plugin.attribution.features import KEPT, UNIT, Treatment
from retrac_plugin.attribution.rescaling import unit_norm
from retrac_plugin.errors import InputError
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.methods.features import Bank, Feature, Pair
from retrac_plugin.methods.layer_weights import LayerWeights
from retrac_plugin.methods.setting import A_TIMESTEP, Gradients
from retrac_plugin.model import outputs

DAMPINGS = tuple(10.0**power for power in range(-5, 4))
"""What a benchmark chooses from, on queries that it does not report."""


class TRAK(FeatureAttributor):
    """``phi_q^T (Phi^T Phi + lambda I)^-1 phi_i`` (Park et al., ICML 2023).

    Args:
        *args: See ``GradientMethod``.
        damping: ``lambda`` as a multiple of the training features' mean squared norm. The right
            value differs from model to model: choose it on queries of which the truth is known.
        **options: See ``GradientMethod``.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name = "TRAK"
    sample_by_sample = True
    output: ClassVar[outputs.Output] = outputs.LOSS
    treatment: ClassVar[Treatment] = KEPT
    tunable: ClassVar[dict[str, tuple[float, ...]]] = {"damping": DAMPINGS}

    def __init__(self, *args: Any, damping: float = 0.1, **options: Any) -> None:
        super().__init__(*args, **options)
        if not damping >= 0:
            raise InputError(f"damping must be at least 0, got {damping}")
        self.damping = damping

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        return [self.feature(self.last, self.output, self.treatment)]

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        (feature,) = self.needs()
        pair = bank[feature]
        queries = pair.queries.features
        solved = pair.whole.once(
            queries, self.damping, lambda: pair.whole.curvature.inverse_of(queries, self.damping)
        )
        return solved @ pair.train.features.T * self.scale(pair)

    def scale(self, pair: Pair) -> Tensor:
        """Return the factor of each training sample, ``[train]``."""
        return pair.train.norms.new_ones(len(pair.train.norms))

    def about(self) -> dict[str, Any]:
        """See ``FeatureAttributor.about``."""
        return {**super().about(), "damping": self.damping}


class RelativeInfluence(TRAK):
    """TRAK over ``|(Phi^T Phi + lambda I)^-1 phi_i|`` (Barshan et al., AISTATS 2020)."""

    name = "relative influence"

    def scale(self, pair: Pair) -> Tensor:
        """See ``TRAK.scale``."""
        return unit_norm(pair.whole.curvature.inverse_norms(pair.coordinates, self.damping))


class RenormalisedInfluence(TRAK):
    """TRAK over ``|phi_i|``, the exact norm (Hammoudeh and Lowd, CCS 2022)."""

    name = "renormalised influence"

    def scale(self, pair: Pair) -> Tensor:
        """See ``TRAK.scale``."""
        return unit_norm(pair.train.norms)


class CurvedReTrac(TRAK):
    """Our hybrid: ReTrac's normalised gradients with TRAK's curvature.

    ``phi`` is the mean over shared timesteps of gradients of norm 1, their noise draws averaged
    first, on both sides: Diffusion-ReTrac's query side. No published method.
    """

    name = "ReTrac with curvature"
    treatment = UNIT


class LayeredTRAK(TRAK):
    """TRAK of each group of layers by itself, added up by learned weights, see ``layer_weights``.

    512 numbers are kept of each group's gradient.
    """

    name = "TRAK, learned layer weights"
    sample_by_sample = False
    gradients: ClassVar[Gradients] = A_TIMESTEP
    layers = LayerWeights()


class DTRAK(TRAK):
    """TRAK of the mean squared prediction in place of the loss (Zheng et al., ICLR 2024)."""

    name = "D-TRAK"
    output = outputs.MEAN_SQUARED_NORM


class DTRAKMean(DTRAK):
    """D-TRAK of the mean prediction."""

    name = "D-TRAK, mean"
    output = outputs.MEAN


class DTRAKL1(DTRAK):
    """D-TRAK of the prediction's L1 norm."""

    name = "D-TRAK, L1 norm"
    output = outputs.L1_NORM


class DTRAKL2(DTRAK):
    """D-TRAK of the prediction's L2 norm."""

    name = "D-TRAK, L2 norm"
    output = outputs.L2_NORM


class DTRAKLinf(DTRAK):
    """D-TRAK of the prediction's largest absolute value."""

    name = "D-TRAK, Linf norm"
    output = outputs.LINF_NORM


class DTRAKWeightedMSE(DTRAK):
    """D-TRAK of the loss with the weights of the evidence lower bound."""

    name = "D-TRAK, weighted MSE"
    output = outputs.WEIGHTED_MSE
