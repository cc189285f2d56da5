"""Methods that compare directions at each timestep by a kernel, and add up over timesteps.

``u_t(x)`` is the direction of what is known of sample ``x`` at timestep ``t``, under noise that all
samples share. What is common to the training set, large under shared noise, goes:
``c_t(x) = (u_t(x) - m_t) / |u_t(x) - m_t|`` with ``m_t`` the training set's mean. A score is
``sum_t [k(c_t(q), C_t) (k(C_t, C_t) + lambda I)^-1]_i``, see ``kernel_ridge``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from retrac_plugin.attribution.features import DIRECTIONS
from retrac_plugin.attribution.rescaling import directions
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.engine import EngineFactory
from retrac_plugin.methods.activations import Activations, untrained_activations
from retrac_plugin.methods.attributor import FeatureAttributor
from retrac_plugin.methods.features import Bank, Feature, Pair
from retrac_plugin.methods.kernel_ridge import Limit, cubic, linear
from retrac_plugin.methods.layer_weights import LayerWeights
from retrac_plugin.methods.setting import A_TIMESTEP, Gradients
from retrac_plugin.model.outputs import LOSS, PROBE, Output


def cubic_scores(pair: Pair, damping: float) -> Tensor:
    """Return the sum over timesteps by the kernel ``((1 + <c, c'>) / 2)^3``, ``[query, train]``."""
    return reduce(torch.add, (cubic(*both, damping) for both in centred_sides(pair)))


def linear_scores(pair: Pair, damping: float) -> Tensor:
    """Return the same by ``<c, c'>``, for all of the training set or for some of it."""
    whole, queries = pair.whole, pair.queries.features

    def solve() -> Tensor:
        centred = (
            directions(q - mean) for q, mean in zip(queries.unbind(1), whole.mean, strict=True)
        )
        parts = zip(whole.centred_gram, centred, strict=True)
        return torch.stack([linear(gram, whole.count, q, damping) for gram, q in parts])

    solved = whole.once(queries, damping, solve)
    sides = zip(solved, whole.mean, pair.train.features.unbind(1), strict=True)
    parts = [weights @ directions(rows - mean).T for weights, mean, rows in sides]
    return torch.stack(parts).sum(0)


def centred_sides(pair: Pair) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``c_t`` of both sides, ``[train, d]`` and ``[query, d]``, timestep by timestep."""
    sides = pair.whole.mean, pair.train.features.unbind(1), pair.queries.features.unbind(1)
    for mean, own, theirs in zip(*sides, strict=True):
        yield directions(own - mean), directions(theirs - mean)


class Recipe(NamedTuple):
    """What the methods differ in."""

    output: Output
    """Of what the gradient is taken."""
    scores: Callable[[Pair, float], Tensor]
    """``(both sides, damping) -> [query, train]``."""
    damping: float
    """Unless told otherwise."""
    engine: EngineFactory | None = None
    """What stands for gradients; None: they do."""


class RetracKernel(FeatureAttributor):
    """Ours: a random probe's gradient, and the kernel ``((1 + <c, c'>) / 2)^3``.

    ``u_t`` is the direction of the gradient of ``<f(x_t, t), v_t> / elements`` at the last
    checkpoint, ``f`` the prediction and ``v_t`` Gaussian, the same for all samples. No published
    method; of Diffusion-ReTrac it has that norms go at each timestep.

    Args:
        *args: See ``GradientMethod``.
        damping: ``lambda`` as a multiple of the kernel matrix's mean eigenvalue. Default: the
            method's.
        **options: See ``GradientMethod``; 512 numbers are kept of a gradient by default.

    Raises:
        InputError: If an argument is not what it should be.
    """

    name = "ReTrac kernel"
    limit: ClassVar[Limit | None] = Limit(instead="retrac-ridge")
    gradients: ClassVar[Gradients] = A_TIMESTEP
    recipe: ClassVar[Recipe] = Recipe(PROBE, cubic_scores, damping=1.0)

    def __init__(self, *args: Any, damping: float | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.damping = self.recipe.damping if damping is None else damping
        if not self.damping > 0:
            raise InputError(f"damping must be more than 0, got {damping}")

    def needs(self) -> list[Feature]:
        """See ``FeatureAttributor.needs``."""
        recipe = self.recipe
        return [self.feature(self.last, recipe.output, DIRECTIONS, engine=recipe.engine)]

    def score(self, bank: Bank) -> Tensor:
        """See ``FeatureAttributor.score``."""
        (feature,) = self.needs()
        return self.recipe.scores(bank[feature], self.damping)

    def about(self) -> dict[str, Any]:
        """See ``FeatureAttributor.about``."""
        return {**super().about(), "damping": self.damping}


class RetracRidge(RetracKernel):
    """``retrac-kernel`` with the kernel ``<c, c'>``: matrices ``[d, d]``, for any training set."""

    name = "ReTrac ridge"
    limit = None
    sample_by_sample = True
    recipe = Recipe(PROBE, linear_scores, damping=0.2)


class LayeredKernel(RetracKernel):
    """``retrac-kernel`` of each group of layers by itself, added up by learned weights.

    See ``layer_weights``; 512 numbers are kept of each group's gradient at a timestep.
    """

    name = "ReTrac kernel, learned layer weights"
    layers = LayerWeights()


class ActivationKernel(RetracKernel):
    """``retrac-kernel`` of activations, without any backward pass.

    ``u_t`` is the direction of the up blocks' outputs, see ``Activations``.
    """

    name = "activation kernel"
    recipe = Recipe(LOSS, cubic_scores, damping=1.0, engine=Activations)


class UntrainedKernel(ActivationKernel):
    """A control: ``activation-kernel`` of the same network before any training.

    What a method adds to it is what the trained weights know.
    """

    name = "untrained kernel"
    recipe = Recipe(LOSS, cubic_scores, damping=1.0, engine=untrained_activations)
