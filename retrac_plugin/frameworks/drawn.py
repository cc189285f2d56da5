"""Examples with their timesteps and noise as data, as the frameworks' own methods need them.

Captum and dattri call a loss as often as they like, in batches of their own. A loss that drew its
timestep or noise itself would give every call other gradients, and so scores mostly of chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from retrac_plugin.data.examples import as_fields
from retrac_plugin.data.keys import keys_of
from retrac_plugin.draws import Draw, Draws, Request, WeightedDraw, draw_within
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.nesting import Keys, at_path, paths_of
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.randomness import SAMPLE_KEY

SIDES = {"train": "train", "query": "queries"}
"""What the examples of a side are called in messages."""


class DrawnExamples(Dataset[tuple[Tensor, ...]]):
    """Item ``i`` is ``(x0 [*sample], t [K, T], noise [K, T, S, *sample], *conditions)``.

    ``K`` counts the checkpoints. Conditions within conditions lie side by side, in the order of
    ``paths``. Made anew at each access, always the same; nothing is kept.

    Attributes:
        examples: The examples, a map-style dataset or a list.
        draws: Which timesteps and noise they get.
        side: ``"train"`` or ``"query"``.
        model: Whose schedule and objective decide what is drawn.
        steps: The training step of each checkpoint, by its position in the series.
        conditions: Names of the examples' fields besides ``sample``.
    """

    def __init__(
        self,
        examples: Any,
        draws: Draws,
        side: str,
        model: DiffusionModel,
        steps: Mapping[int, int],
        conditions: tuple[str, ...],
    ) -> None:
        if side not in SIDES:
            raise InputError(f"side: expected one of {', '.join(SIDES)}, got {side!r}")
        self.examples, self.draws, self.side = examples, draws, side
        self.model, self.steps, self.conditions = model, steps, conditions

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def paths(self) -> tuple[Keys, ...]:
        """Where each of an item's conditions belongs, see ``nesting``: as in the first example.

        Raises:
            InputError: If that has other fields than the conditions.
        """
        return paths_of(self._named(0), self.conditions, f"{SIDES[self.side]}, example 0")

    @property
    def fits(self) -> bool:
        """Whether the first example, if there is one, has the conditions for its fields."""
        if not len(self):
            return False
        fields = as_fields(self.examples[0], SIDES[self.side])
        return fields.keys() - {SAMPLE_KEY} == {"sample", *self.conditions}

    def integers(self) -> set[Keys]:
        """Return where those of the conditions belong that are integers in the first example."""
        fields = self._named(0)
        return {path for path in self.paths if not at_path(fields, path).is_floating_point()}

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.keyed(index)[1]

    def keyed(self, index: int) -> tuple[int, tuple[Tensor, ...]]:
        """Return what an item is drawn by, its example's key, and the item."""
        fields, given = self._fields(index)
        sample = fields["sample"]
        (key,) = keys_of(sample[None], given, SIDES[self.side])
        encoded = None if given is None else sample[None]
        drawn = [self._draw(index, sample, key, encoded, position) for position in self.steps]
        return key, (
            sample,
            torch.cat([draw.timesteps for draw in drawn]),
            torch.cat([draw.noise for draw in drawn]).to(sample.dtype),
            *(at_path(fields, path) for path in self.paths),
        )

    def by_timestep(self) -> DrawsApart:
        """Return one item per (example, timestep), an example's timesteps side by side.

        What a method gives for these, ``view(train, example, T).mean(-1)``, is its mean over
        timesteps of something taken at each: so dattri's Grad-Cos becomes Diffusion-ReTrac.
        """
        return DrawsApart(self, self.draws.per_sample()[0], 1)

    def by_draw(self) -> DrawsApart:
        """Return one item per (example, timestep, noise), for methods that take single draws."""
        return DrawsApart(self, *self.draws.per_sample())

    def at_last_checkpoint(self) -> DrawnExamples:
        """Return the same examples with the draws of the last checkpoint alone."""
        last = max(self.steps)
        return DrawnExamples(
            self.examples,
            self.draws,
            self.side,
            self.model,
            {last: self.steps[last]},
            self.conditions,
        )

    def _fields(self, index: int) -> tuple[dict[str, Any], Any]:
        """Return an example's fields, and its ``sample_key``, None where it has none.

        Raises:
            InputError: If they are not the conditions, or those in them not as in the first.
        """
        fields, given = self._read(index)
        found = paths_of(fields, self.conditions, f"{SIDES[self.side]}, example {index}")
        if found != self.paths:
            raise InputError(
                f"{SIDES[self.side]}: example {index} has {_listed(found)} in its conditions, "
                f"expected {_listed(self.paths)} as in example 0"
            )
        return fields, given

    def _named(self, index: int) -> dict[str, Any]:
        return self._read(index)[0]

    def _read(self, index: int) -> tuple[dict[str, Any], Any]:
        fields = as_fields(self.examples[index], SIDES[self.side])
        given = fields.pop(SAMPLE_KEY, None)
        if set(fields) != {"sample", *self.conditions}:
            raise InputError(
                f"{SIDES[self.side]}: example {index} has the fields {sorted(fields)}, but the "
                f"task's conditions are {list(self.conditions)}. Name every field but 'sample': "
                "DiffusionAttributionTask(..., conditions=[...])"
            )
        return fields, given

    def _draw(
        self, index: int, sample: Tensor, key: int, encoded: Tensor | None, checkpoint: int
    ) -> Draw:
        request = Request(
            [index],
            [key],
            sample.shape,
            self.side,
            len(self),
            checkpoint,
            self.steps[checkpoint],
            *self.model.drawing,
            encoded=encoded,
        )
        draw = draw_within(self.draws, request)
        if draw.samples is not None:
            raise InputError(
                "the samples were recorded as training saw them, another image at each visit; the "
                "frameworks' own methods take one image per example. Use our classes, which replay "
                "them, or draws that were not recorded"
            )
        if isinstance(draw, WeightedDraw):
            raise InputError(
                f"sample {index} was not visited before the checkpoint of step "
                f"{self.steps[checkpoint]}, so its influence there is 0; the frameworks' own "
                "methods count every sample. Leave the checkpoint out, or use our classes"
            )
        return draw


def _listed(paths: Iterable[Keys]) -> str:
    return ", ".join(".".join(path) for path in paths) or "nothing"


def check_alike(one: DrawnExamples, other: DrawnExamples) -> None:
    """Refuse two sides of other conditions.

    Raises:
        InputError: If they differ in what their conditions hold.
    """
    if one.paths != other.paths:
        raise InputError(
            f"{SIDES[other.side]}: the conditions hold {_listed(other.paths)}, expected "
            f"{_listed(one.paths)} as on the other side"
        )


class DrawsApart(Dataset[tuple[Tensor, ...]]):
    """Each example ``timesteps * parts`` times, with one timestep and a part of its noise."""

    def __init__(self, drawn: DrawnExamples, timesteps: int, parts: int) -> None:
        self.drawn, self.timesteps, self.parts = drawn, timesteps, parts

    def __len__(self) -> int:
        return len(self.drawn) * self.timesteps * self.parts

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return self.keyed(index)[1]

    def keyed(self, index: int) -> tuple[int, tuple[Tensor, ...]]:
        """See ``DrawnExamples.keyed``."""
        rest, part = divmod(index, self.parts)
        example, position = divmod(rest, self.timesteps)
        key, (sample, timesteps, noise, *conditions) = self.drawn.keyed(example)
        only = noise[:, position : position + 1].tensor_split(self.parts, dim=2)[part]
        return key, (sample, timesteps[:, position : position + 1], only, *conditions)
