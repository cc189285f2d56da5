"""The two sides that a framework's own method is given: examples with their draws, as loaders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.data.examples import Examples, ExampleSource, as_fields
from retrac_plugin.draws import Draws
from retrac_plugin.frameworks.drawn import DrawnExamples, check_alike
from retrac_plugin.frameworks.nesting import Keys
from retrac_plugin.progress import asked_for, wants_bar
from retrac_plugin.randomness import SAMPLE_KEY

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

    @property
    def at_once(self) -> int:
        """How many examples fill a network pass."""
        return max(1, self.batch_size // self.draws_each)

    def examples(self) -> Items:
        """Return one item per example."""
        return Subset(self.drawn, self.ids)

    def loader(self) -> Loader:
        """Return a loader with one item per example."""
        return DataLoader(self.examples(), batch_size=self.at_once)

    def whole(self) -> Loader:
        """Return a loader of all examples as one batch."""
        return DataLoader(self.examples(), batch_size=len(self.ids))

    def by_draw(self) -> Items:
        """Return one item per draw, an example's draws side by side."""
        return Subset(self.drawn.by_draw(), self.rows)

    @property
    def rows(self) -> list[int]:
        """Positions of its draws among those of all examples."""
        return [i * self.draws_each + draw for i in self.ids for draw in range(self.draws_each)]


def sides_of(
    core: DiffusionTracIn,
    train: Examples,
    queries: Examples,
    train_draws: Draws,
    last_only: bool,
) -> tuple[Side, Side, tuple[Keys, ...]]:
    """Return both sides, and where each of an item's conditions belongs, see ``nesting``.

    Args:
        core: Has the model, the checkpoints, the queries' draws and the batch size.
        train: The training samples.
        queries: The queries.
        train_draws: Timesteps and noise of the training samples.
        last_only: For methods of one checkpoint: at the last.

    Raises:
        InputError: If the data cannot be used.
    """
    conditions, steps = conditions_of(train, "train"), steps_of(core.checkpoints)

    def side(data: Examples, draws: Draws, name: str, role: str) -> Side:
        ids = ExampleSource(data, role).ids
        drawn = DrawnExamples(dataset_of(data), draws, name, core.model, steps, conditions)
        drawn = drawn.at_last_checkpoint() if last_only else drawn
        return Side(drawn, ids, core.setting.batch_size)

    given = side(train, train_draws, "train", "train")
    asked = side(queries, core.query_draws, "query", "queries")
    check_alike(given.drawn, asked.drawn)
    return given, asked, given.drawn.paths


def shows_progress(core: DiffusionTracIn) -> bool:
    """Return whether a framework is to show its bars: as asked for, by default on a terminal."""
    return wants_bar(asked_for(core.setting.progress))


def dataset_of(data: Examples) -> Examples:
    """Return what a loader loads from; whatever is no loader is returned as it is."""
    return data.dataset if isinstance(data, DataLoader) else data


def conditions_of(data: Examples, role: str) -> tuple[str, ...]:
    """Return the names of the examples' fields besides ``sample``."""
    first = ExampleSource(data, role).ids[0]
    fields = as_fields(dataset_of(data)[first], role)
    return tuple(name for name in fields if name not in ("sample", SAMPLE_KEY))


def steps_of(checkpoints: Iterable[Checkpoint]) -> dict[int, int]:
    """Return each checkpoint's training step by its position, which it is where none is known."""
    return {
        position: checkpoint.step_at(position) for position, checkpoint in enumerate(checkpoints)
    }
