"""Attributors ready to be compared: one for each method and each value of its hyper-parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrac_plugin import plugins
from retrac_plugin.attribution import attributors
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import Examples
from retrac_plugin.errors import MissingDependencyError
from retrac_plugin.extras import missing
from retrac_plugin.methods import attributor as on_features

Together = Callable[[Sequence[Any], Examples, Examples], Iterable[Scores]]
"""Scores several attributors that share what is expensive, one after the other."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """An attributor.

    Attributes:
        method: Its registered name.
        options: What it was given beyond what all are given.
        attributor: It.
    """

    method: str
    options: Mapping[str, Any]
    attributor: Any

    @property
    def together(self) -> Together | None:
        """What scores it with others of its kind, None if it scores alone."""
        kinds: tuple[tuple[type[Any], Callable[[Any], bool], Together], ...] = (
            (
                attributors.DiffusionAttributor,
                attributors.scores_by_itself,
                attributors.attribute_together,
            ),
            (
                on_features.FeatureAttributor,
                on_features.scores_by_itself,
                on_features.attribute_in_turn,
            ),
        )
        for kind, alone, together in kinds:
            if isinstance(self.attributor, kind) and not alone(self.attributor):
                return together
        return None


def candidates(task: Task, method: str, choose: bool) -> list[Candidate]:
    """Return a method's attributors for a task.

    Args:
        task: What for.
        method: Its registered name.
        choose: Whether there is a truth to choose a hyper-parameter by; else its default is taken.

    Raises:
        PluginError: If there is no such method.
        MissingDependencyError: If a package it needs is not installed.
    """
    kind = plugins.get_attributor(method)
    absent = missing(plugins.attributors()[method][0].needs)
    if absent:
        raise MissingDependencyError(f"{method} needs {', '.join(absent)}, not installed")
    tunable = getattr(kind, "tunable", {}) if choose else {}
    settings = [{name: value} for name, values in tunable.items() for value in values] or [{}]
    return [Candidate(method, options, _build(kind, task, options)) for options in settings]


def _build(kind: Any, task: Task, options: Mapping[str, Any]) -> Any:
    shared = task.shared_draws if getattr(kind, "draws_alike", False) else None
    return kind(
        task.model,
        task.checkpoints,
        train_draws=task.train_draws if shared is None else shared,
        query_draws=task.query_draws if shared is None else shared,
        batch_size=task.batch_size,
        device=task.device,
        progress=None,
        **options,
    )
