"""The hooks that plugins answer, and the records they answer with. Imports no torch.

A plugin is a module named by an entry point of the group ``retrac_plugin``. It imports ``hookimpl``
from ``retrac_plugin`` and defines functions with the names below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pluggy

PROJECT = "retrac_plugin"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class AttributorEntry:
    """An attribution method on offer.

    Attributes:
        name: What users type, such as ``"diffusion-retrac"``.
        summary: One line for ``retrac list``.
        load: Returns the attributor class; heavy imports belong in here.
        source: The paper or package that defines the method.
        needs: Packages that must be installed, as they are imported, such as ``("captum",)``.
        good_for: One line for ``retrac list``: when to take it.
    """

    name: str
    summary: str
    load: Callable[[], Any]
    source: str = ""
    needs: tuple[str, ...] = ()
    good_for: str = ""


@dataclass(frozen=True)
class MetricEntry:
    """A measure of the quality of scores.

    Attributes:
        name: What users type, such as ``"specificity"``.
        summary: One line for ``retrac list``.
        load: Returns the metric, a function ``(values [query, train], evidence) -> float``.
        higher_is_better: Its direction, or None where there is none.
        source: Where it is defined.
        needs: Packages that must be installed, as they are imported.
        caution: A sentence beside the metric's figures: what they do not say.
    """

    name: str
    summary: str
    load: Callable[[], Any]
    higher_is_better: bool | None = True
    source: str = ""
    needs: tuple[str, ...] = ()
    caution: str = ""


@dataclass(frozen=True)
class CommandEntry:
    """A subcommand of ``retrac``.

    Attributes:
        name: What users type, such as ``"attribute"``.
        summary: One line for ``retrac --help``, which loads no command.
        load: Returns the ``click.Command``; heavy imports belong inside that command's function.
    """

    name: str
    summary: str
    load: Callable[[], Any]


@dataclass(frozen=True)
class TaskEntry:
    """A benchmark task.

    Attributes:
        name: What users type, such as ``"digits"``.
        summary: One line for ``retrac benchmark --help``.
        load: Returns a ``benchmarks.TaskSource``; heavy imports belong in here.
        needs: Packages that must be installed, as they are imported.
    """

    name: str
    summary: str
    load: Callable[[], Any]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrappedModel:
    """How a third party's denoiser and noise scheduler are to be used.

    Attributes:
        predict: ``(call, noisy, timesteps, conditions) -> prediction``, where ``call`` is the
            network with the checkpoint's parameters in place.
        schedule: The training process, as a ``retrac_plugin.NoiseSchedule``.
    """

    predict: Callable[..., Any]
    schedule: Any


class RunRecord(Protocol):
    """What a run reader found: a ``retrac_plugin.Run``.

    The hooks know no more of it than that it has a model, checkpoints, and findings about them.
    """

    model: Any
    checkpoints: Sequence[Any]
    findings: Sequence[Any]


@dataclass(frozen=True)
class RunRequest:
    """What a run reader is asked for, see ``retrac_plugin.read_run``.

    Attributes:
        directory: The run's folder.
        loss: The loss the run was trained with.
        weights: ``"raw"`` or ``"ema"``, for the gradients of the training set.
        query_weights: The same, for those of the queries; None for ``weights``.
        base: Where the model that was fine-tuned lies, or None.
        model: A ``DiffusionModel``, where the folder does not describe one, or None.
        arguments: Arguments of the training script that are known otherwise, by name.
        optimizer: ``"plain"`` for plain gradient steps, ``"adam"`` for steps as Adam scaled them.
    """

    directory: Path
    loss: Any = "mse"
    weights: str = "raw"
    base: str | Path | None = None
    model: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "plain"
    query_weights: str | None = None


@hookspec
def retrac_register_attributors() -> Iterable[AttributorEntry]:  # type: ignore[empty-body]
    """Yield the attribution methods that this plugin brings."""


@hookspec
def retrac_register_metrics() -> Iterable[MetricEntry]:  # type: ignore[empty-body]
    """Yield the metrics that this plugin brings."""


@hookspec
def retrac_register_commands() -> Iterable[CommandEntry]:  # type: ignore[empty-body]
    """Yield the subcommands of ``retrac`` that this plugin brings."""


@hookspec
def retrac_register_tasks() -> Iterable[TaskEntry]:  # type: ignore[empty-body]
    """Yield the benchmark tasks that this plugin brings."""


@hookspec(firstresult=True)
def retrac_wrap_model(network: Any, scheduler: Any) -> WrappedModel | None:
    """Return how to use ``network`` with ``scheduler``, or None for "not mine"; first wins."""


@hookspec(firstresult=True)
def retrac_read_run(request: RunRequest) -> RunRecord | None:
    """Read a training run: a ``retrac_plugin.Run``, or None for "not mine"; first wins."""
