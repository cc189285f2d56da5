"""One value for what every command that computes scores is told, and what it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.computing import Computing, batch_size, device
from retrac_plugin.cli.drawing import QueryDraws, query_draws
from retrac_plugin.cli.methods import chosen
from retrac_plugin.cli.packing import Decorator, packed
from retrac_plugin.cli.reading import Reading, reading
from retrac_plugin.cli.training import Training, training

if TYPE_CHECKING:
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.runs.run import Run


@dataclass(frozen=True)
class Job:
    """Which run, which training set, how it is read, which draws, where and how it is computed."""

    training: Training
    reading: Reading
    draws: QueryDraws
    computing: Computing

    def read_run(self) -> Run:
        """Read the training run."""
        return self.reading.of(self.training.run, self.training.loss)

    def train_examples(self, run: Run) -> FileExamples:
        """Return the run's training set."""
        return self.training.examples(run, self.computing.device)

    def query_examples(self, run: Run, path: Path, prompt: str | None) -> FileExamples:
        """Return pictures to explain, generated from ``prompt``."""
        device = self.computing.device
        return run.query_examples(path, prompt, cache=self.training.cache, device=device)

    def chosen(self, run: Run, methods: tuple[str, ...], train: int) -> dict[str, Any]:
        """Return methods for the run, by name; ``best`` by the name of the one that is.

        Args:
            run: The run.
            methods: What was asked for.
            train: Number of training images.
        """
        names = chosen(methods, train)
        return dict(zip(names, self.attributors(run, names), strict=True))

    def attributors(self, run: Run, methods: Sequence[str]) -> list[Any]:
        """Return methods by name, for the run."""
        from retrac_plugin import plugins

        kinds = [plugins.get_attributor(name) for name in methods]
        for name, kind in zip(methods, kinds, strict=True):
            self.computing.check_known(name, kind)
        return [
            kind(
                run.model,
                run.checkpoints,
                train_draws=run.train_draws,
                query_draws=self.draws.rule(takes_alike(kind)),
                **self.computing.given(),
            )
            for kind in kinds
        ]


def takes_alike(method: Any) -> bool:
    """Whether a method, or its class, takes both sides at the same draws."""
    return bool(getattr(method, "draws_alike", False))


def job(*fitting: Decorator) -> Decorator:
    """Return a decorator that adds a job's options to a command, which gets a ``Job``.

    Args:
        fitting: Those of ``max_memory`` and ``query_store`` that the command follows.
    """
    computing = packed("computing", Computing, batch_size, device, *fitting)
    return packed("job", Job, training, reading, query_draws, computing)
