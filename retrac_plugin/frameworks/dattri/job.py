"""What the methods of dattri are given: a task, training samples and queries with their draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
from retrac_plugin.frameworks.side_loaders import Side, conditions_of, dataset_of
from retrac_plugin.model.outputs import with_output


@dataclass(frozen=True)
class Job:
    """The scoring of training samples for queries.

    Attributes:
        task: The task.
        train: The training samples.
        queries: The queries.
        core: Our own method for the same model, checkpoints and draws.
        examples: The training samples as it takes them.
    """

    task: DiffusionAttributionTask
    train: Side
    queries: Side
    core: DiffusionTracIn
    examples: Examples

    @property
    def device(self) -> str:
        """Where to compute, as dattri takes it."""
        return str(self.core.device)

    @property
    def num_parameters(self) -> int:
        """Of the attributed ones: dattri takes all that are trainable."""
        return sum(p.numel() for p in self.task.get_model().parameters() if p.requires_grad)

    def mean_square(self) -> float:
        """Return ``||g_i||^2 / P``, its mean over training samples and checkpoints.

        The scale of a damping: what is small beside one model's gradients is large for another.
        """
        model = with_output(self.core.model, self.task.train_target)
        weight = 1 / len(self.core.checkpoints)
        checkpoints = [
            replace(c, step_size=weight, preconditioner=None) for c in self.core.checkpoints
        ]
        norms = DiffusionTracIn(
            model,
            checkpoints,
            train_draws=self.core.train_draws,
            batch_size=self.core.setting.batch_size,
            device=self.core.device,
            progress=self.core.setting.progress,
        ).self_influence(self.examples)
        return float(norms.mean()) / self.num_parameters


def make_job(
    core: DiffusionTracIn, train: Examples, queries: Examples, output: str, last_only: bool
) -> Job:
    """Return the job of scoring ``train`` for ``queries``.

    Args:
        core: Has the model, the checkpoints, the draws, the device and the batch size.
        train: The training samples.
        queries: The queries.
        output: The output function of both sides.
        last_only: For methods of one checkpoint: use the last.

    Raises:
        InputError: If the data cannot be used.
    """
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    conditions = conditions_of(train, "train")

    def task_of(first_checkpoint: int) -> DiffusionAttributionTask:
        return DiffusionAttributionTask(
            core.model,
            core.checkpoints[first_checkpoint:],
            target=output,
            train_target=output,
            conditions=conditions,
        )

    everything = task_of(0)

    def side(data: Examples, ids: list[int], draws: Draws, name: str) -> Side:
        drawn = everything.drawn(dataset_of(data), draws, name)
        drawn = drawn.at_last_checkpoint() if last_only else drawn
        return Side(drawn, ids, core.setting.batch_size)

    sides = (
        side(train, sources[0].ids, core.train_draws, "train"),
        side(queries, sources[1].ids, core.query_draws, "query"),
    )
    task = task_of(-1) if last_only else everything
    task.expect(sides[0].drawn)
    task.get_model().to(core.device)  # the task's own copy
    return Job(task, *sides, core, train)
