"""kronfluence's methods on diffusion models, as attributors of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from retrac_plugin.data.examples import Examples
from retrac_plugin.draws import Strided
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.kronfluence.analysis import influence
from retrac_plugin.frameworks.kronfluence.job import make_job
from retrac_plugin.frameworks.registered import RegisteredMethod, surroundings
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import squared_error

STRATEGIES = {"kronfluence-ekfac": "ekfac", "kronfluence-kfac": "kfac"}
"""What kronfluence calls its methods, by registered name."""

STRATIFIED = "kronfluence-ekfac-stratified"
STRATA = 250
"""Timesteps of it."""

FISHERS = ("true", "empirical")


class KronfluenceMethod(RegisteredMethod):
    """``g_q^T (F + lambda I)^-1 g_i`` at the last checkpoint, ``F`` by EK-FAC or K-FAC.

    ``F`` is estimated from the single draws of ``train_draws``; gradients are means over draws.

    Args:
        arguments: ``RegisteredMethod``'s.
        options: Likewise, and two settings: ``fisher``, either ``"true"`` (targets sampled from the
            model's own distribution, see ``fisher``) or ``"empirical"`` (the targets of training,
            for any loss); ``relative_damping``, a layer's ``lambda`` over the mean eigenvalue of
            its ``F``, 0.1 in Grosse et al.

    Raises:
        InputError: If an argument is not what it should be.
    """

    strategy: ClassVar[str]
    draws_alike: ClassVar[bool] = True  # one draw a sample is too few to estimate a matrix from
    tunable: ClassVar[Mapping[str, tuple[float, ...]]] = {"relative_damping": (0.001, 0.03, 1.0)}
    defaults: ClassVar[Mapping[str, Any]] = {"fisher": "true", "relative_damping": 0.1}

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        fisher, damping = self.settings["fisher"], self.settings["relative_damping"]
        if fisher not in FISHERS:
            raise InputError(
                f"{self.name}: unknown fisher {fisher!r}, expected one of {', '.join(FISHERS)}"
            )
        if fisher == "true" and self.core.model.element_loss is not squared_error:
            raise InputError(
                f"{self.name}: the true Fisher matrix is known for the mean squared error only, "
                "and this model has another loss. Give fisher='empirical'"
            )
        if not damping > 0:
            raise InputError(f"{self.name}: relative_damping must be above 0, got {damping}")

    def score(self, train: Examples, queries: Examples) -> Tensor:
        """See ``RegisteredMethod.score``."""
        job = make_job(self.core, train, queries)
        with surroundings(next(job.model.network.parameters()).dtype):
            return influence(job, strategy=self.strategy, **self.settings)


class StratifiedEKFAC(KronfluenceMethod):
    """EK-FAC with many stratified draws, as FMAS has it, and damping by a layer's mean eigenvalue.

    Both sides are taken at ``strata`` evenly spaced timesteps with one noise draw of each sample's
    own, which are the strata of the schedule; the factors are estimated from all of them. Draws
    that are given are not used: many draws are what the method is. A reading of the benchmark
    repository of SNR-LDS (2026).

    Args:
        model: See ``RegisteredMethod``.
        arguments: Likewise.
        strata: How many timesteps. Default: 250, or all of a shorter schedule.
        seed: Of the noise.
        options: ``KronfluenceMethod``'s.
    """

    name = STRATIFIED
    strategy = "ekfac"
    tunable: ClassVar[Mapping[str, tuple[float, ...]]] = {}  # each value would cost it all again

    def __init__(
        self,
        model: DiffusionModel,
        *arguments: Any,
        strata: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        most = min(STRATA, model.schedule.num_timesteps)
        draws = Strided(most if strata is None else strata, seed=seed)
        given = {**options, "train_draws": draws, "query_draws": draws}
        super().__init__(model, *arguments, **given)


def method(name: str) -> type[KronfluenceMethod]:
    """Return the class registered as ``name``."""
    if name == STRATIFIED:
        return StratifiedEKFAC
    return type(name, (KronfluenceMethod,), {"name": name, "strategy": STRATEGIES[name]})
