"""A dattri task for a diffusion model, right in every convention of dattri's own attributors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from retrac_plugin.checkpoints.checking import check_checkpoints
from retrac_plugin.checkpoints.checkpoint import Checkpoint, load_into
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.drawn import DrawnExamples, check_alike
from retrac_plugin.frameworks.drawn_rows import as_rows
from retrac_plugin.frameworks.nesting import Keys, nested
from retrac_plugin.frameworks.side_loaders import steps_of
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import ElementLoss, Loss
from retrac_plugin.model.outputs import with_output
from retrac_plugin.model.wrapping import wrap

Weights = Checkpoint | Mapping[str, Tensor] | str | Path
OutputFunction = Callable[[Mapping[str, Tensor], Sequence[Tensor]], Tensor]


class DiffusionAttributionTask(AttributionTask):  # type: ignore[misc]  # dattri is untyped
    """What is attributed: a diffusion model, its checkpoints, and an output function.

    dattri's own attributors take it with loaders over what ``drawn`` returns; ours take it with
    loaders over the examples themselves. The network is copied, since dattri loads checkpoints
    into the one it has; yours stays as it is. Attributed are the parameters that the model
    attributes, see ``DiffusionModel.attributing``.

    Args:
        model: The diffusion model, from ``retrac_plugin.wrap``; or a network, with ``scheduler``.
        checkpoints: ``retrac_plugin.Checkpoint`` records, or, with step size 1, state dicts or
            paths as dattri takes them; one or several.
        scheduler: The noise scheduler that the network was trained with.
        loss: The loss it was trained with, see ``retrac_plugin.wrap``.
        target: The output function of the queries, a key of ``OUTPUTS`` or a function.
        train_target: The output function of the training samples.
        conditions: Names of the examples' fields besides ``sample``, in the order in which
            ``drawn`` puts them behind the noise.

    Raises:
        InputError: If an argument is not what it should be.
    """

    def __init__(
        self,
        model: DiffusionModel | nn.Module,
        checkpoints: Weights | Sequence[Weights],
        *,
        scheduler: Any = None,
        loss: Loss = "mse",
        target: str | ElementLoss = "loss",
        train_target: str | ElementLoss = "loss",
        conditions: Sequence[str] = (),
    ) -> None:
        self.diffusion = _diffusion(model, scheduler, loss)
        self.conditions = tuple(conditions)
        self.target, self.train_target = target, train_target
        self._paths: tuple[Keys, ...] = tuple((name,) for name in self.conditions)
        self._integers: set[Keys] = set()  # conditions that dattri's LiSSA must not make floats of
        self._drawn: DrawnExamples | None = None
        check_deterministic(self.diffusion.network)
        super().__init__(
            loss_func=self._function(train_target),
            model=_own_network(self.diffusion),
            checkpoints=check_checkpoints(_listed(checkpoints)),
            target_func=self._function(target),
            checkpoints_load_func=self._load,
        )

    def drawn(self, examples: Any, draws: Draws, side: str) -> DrawnExamples:
        """Return ``examples`` with their timesteps and noise as data, for dattri's attributors.

        The same draws give our attributors the same timesteps and noise.

        Args:
            examples: A map-style dataset or a list of examples.
            draws: Which timesteps and noise, such as ``Strided(10)``.
            side: ``"train"`` or ``"query"``.

        Raises:
            InputError: If ``side`` is another one, or the conditions hold something else than those
                that were drawn before.
        """
        steps = steps_of(self.get_checkpoints())
        drawn = DrawnExamples(examples, draws, side, self.diffusion, steps, self.conditions)
        if drawn.fits:
            self.expect(drawn)
        return drawn

    def expect(self, drawn: DrawnExamples) -> None:
        """Take it that the output functions are given what ``drawn`` yields.

        Raises:
            InputError: If the conditions hold something else than those that were expected before.
        """
        check_alike(self._drawn or drawn, drawn)
        self._drawn, self._paths = drawn, drawn.paths
        self._integers |= drawn.integers()

    def _load(self, network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
        """Load a checkpoint as the core does: checked, and never unpickled."""
        device = next(network.parameters()).device
        values = load_into(self.diffusion.network, checkpoint, device)
        own = dict(network.named_parameters()) | dict(network.named_buffers())
        with torch.no_grad():
            for name, value in values.items():
                own[name].copy_(value)
        return network.eval()

    def _function(self, output: str | ElementLoss) -> OutputFunction:
        """Return ``(parameters, data) -> scalar``, the mean over all samples and draws of data."""
        model = with_output(self.diffusion, output)

        def function(params: Mapping[str, Tensor], data: Sequence[Tensor]) -> Tensor:
            own = replace(model, network=self.get_model())
            dtype = next(iter(params.values())).dtype
            rows = as_rows(data, self.current_checkpoint_idx or 0, dtype)
            pairs = zip(self._paths, rows.conditions, strict=True)
            kinds = (part.long() if path in self._integers else part for path, part in pairs)
            conditions = nested(self._paths, kinds)
            batch = own.diffuse(rows.samples, rows.timesteps, rows.noise, conditions)
            # The fused attention kernels have no batching rule and no second derivative.
            with sdpa_kernel(SDPBackend.MATH):
                return own.losses({}, params, batch).mean()

        return function


def _diffusion(model: DiffusionModel | nn.Module, scheduler: Any, loss: Loss) -> DiffusionModel:
    if not isinstance(model, DiffusionModel):
        return wrap(model, scheduler, loss)
    if scheduler is not None or loss != "mse":
        raise InputError(
            "scheduler, loss: a DiffusionModel has its own. Give them with a bare network, or to "
            "retrac_plugin.wrap(network, scheduler, loss)"
        )
    return model


def _own_network(model: DiffusionModel) -> nn.Module:
    """Return a copy of the network in which the attributed parameters alone are trainable."""
    network = copy.deepcopy(model.network)
    attributed = set(model.attributed_names())
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in attributed)
    return network


def _listed(checkpoints: Weights | Sequence[Weights]) -> list[Checkpoint]:
    if isinstance(checkpoints, Checkpoint | Mapping | str | Path):
        checkpoints = [checkpoints]
    return [Checkpoint(c) if isinstance(c, Mapping | str | Path) else c for c in checkpoints]
