"""What the methods of dattri are given: a task, training samples and queries with their draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from retrac_plugin.attributors import DiffusionTracIn
from retrac_plugin.draws import Draws
from retrac_plugin.examples import Examples, ExampleSource, as_fields
from retrac_plugin.frameworks.dattri.drawn import DrawnExamples
from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
from retrac_plugin.outputs import with_output

Items = Dataset[tuple[Tensor, ...]]
Loader = DataLoader[tuple[Tensor, ...]]


@dataclass(frozen=True)
class Side:
    """The training samples, or the queries.

    Attributes:
        drawn: All examples of the data set that they are in, with their draws.
        ids: Which of them, in order.
        batch_size: Draws in a network pass.
    """

    drawn: DrawnExamples
    ids: list[int]
    batch_size: int

    @property
    def draws_each(self) -> int:
        """Draws of each example."""
        timesteps, noise = self.drawn.draws.per_sample()
        return timesteps * noise

    def loader(self) -> Loader:
        """Return a loader with one item per example."""
        at_once = max(1, self.batch_size // self.draws_each)
        return DataLoader(Subset(self.drawn, self.ids), batch_size=at_once)

    def whole(self) -> Loader:
        """Return a loader of all examples as one batch."""
        return DataLoader(Subset(self.drawn, self.ids), batch_size=len(self.ids))

    def by_draw(self) -> Items:
        """Return one item per draw, an example's draws side by side."""
        rows = [i * self.draws_each + draw for i in self.ids for draw in range(self.draws_each)]
        return Subset(self.drawn.by_draw(), rows)


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
            batch_size=self.core.batch_size,
            device=self.core.device,
            progress=self.core.progress,
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
    first = as_fields(_dataset(train)[sources[0].ids[0]], "train")

    def task_of(first_checkpoint: int) -> DiffusionAttributionTask:
        return DiffusionAttributionTask(
            core.model,
            core.checkpoints[first_checkpoint:],
            target=output,
            train_target=output,
            conditions=[name for name in first if name != "sample"],
        )

    everything = task_of(0)

    def side(data: Examples, ids: list[int], draws: Draws, name: str) -> Side:
        drawn = everything.drawn(_dataset(data), draws, name)
        return Side(drawn.at_last_checkpoint() if last_only else drawn, ids, core.batch_size)

    task = task_of(-1) if last_only else everything
    task.get_model().to(core.device)  # the task's own copy
    return Job(
        task,
        side(train, sources[0].ids, core.train_draws, "train"),
        side(queries, sources[1].ids, core.query_draws, "query"),
        core,
        train,
    )


def _dataset(data: Examples) -> Examples:
    return data.dataset if isinstance(data, DataLoader) else data
