"""Examples: what a dataset holds, read block by block from datasets, lists and data loaders.

An example is a mapping with ``sample`` (Tensor ``[C, H, W]``) and the denoiser's own keyword
arguments; a bare tensor stands for ``{"sample": tensor}``. Its id is its index in the dataset.

An example's timesteps and noise are drawn by a key of what it was made from. That is the sample's
own values, or, where a network computed them and their last bits depend on the machine, what the
network was given: such an example says so in the field ``sample_key``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from retrac_plugin.data.collating import collate, sliced
from retrac_plugin.data.keys import keys_of
from retrac_plugin.data.order import ids_of
from retrac_plugin.data.picture_values import check_values
from retrac_plugin.data.steadiness import Steadiness
from retrac_plugin.errors import InputError
from retrac_plugin.randomness import SAMPLE_KEY

Examples = Any
"""A map-style dataset, a list, a tensor ``[sample, ...]``, or an unshuffled DataLoader."""


class Block(NamedTuple):
    """A few examples side by side."""

    ids: list[int]
    keys: list[int]
    """What each sample was made from: its content key, or its example's ``sample_key``."""
    samples: Tensor
    conditions: dict[str, Any]
    encoded: bool = False
    """Whether the examples said their keys themselves, so that these are not content keys."""


class ExampleSource:
    """Examples from any supported container, in a fixed order.

    Args:
        data: See ``Examples``.
        role: What the examples are, for messages: ``"train"`` or ``"queries"``.

    Raises:
        InputError: If the data is empty, shuffled, or cannot be read twice in the same order.
    """

    def __init__(self, data: Examples, role: str) -> None:
        if isinstance(data, Mapping):
            raise InputError(
                f"{role}: expected examples, got one mapping with the fields {sorted(data)}. Of "
                "stacked tensors, make a list of mappings, one for each example"
            )
        self.data, self.role = data, role
        self.ids = ids_of(data, role)
        if not self.ids:
            raise InputError(f"{role} is empty: expected at least one example")
        dataset: Any = data.dataset if isinstance(data, DataLoader) else data
        self.dataset_size = len(dataset)
        self._steadiness = Steadiness(dataset, self.ids, role)
        self._positions: Sequence[int] = range(len(self.ids))

    def part(self, positions: Sequence[int]) -> ExampleSource:
        """Return some of the examples, which keep their ids and so their draws, in that order."""
        other = copy.copy(self)
        other.ids = [self.ids[position] for position in positions]
        other._positions = [self._positions[position] for position in positions]
        if isinstance(self.data, DataLoader):
            size, whole = self.data.batch_size or 1, self.data.dataset
            collate_fn = self.data.collate_fn
            other.data = DataLoader(whole, size, sampler=other.ids, collate_fn=collate_fn)
        return other

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield all examples in order, at most ``size`` at a time.

        Raises:
            InputError: If an example is none, or is not what it was when it was read before.
        """
        self._steadiness.check_first()
        position = 0
        for fields in self._collated(size):
            check_values(fields["sample"], self.ids[position], self.role)
            count = fields["sample"].shape[0]
            for start in range(0, count, size):
                part = sliced(fields, start, min(start + size, count))
                given, samples = part.pop(SAMPLE_KEY, None), part.pop("sample")
                ids = self.ids[position : position + samples.shape[0]]
                keys = keys_of(samples, given, self.role)
                self._steadiness.check(self._positions[position : position + len(ids)], keys)
                yield Block(ids, keys, samples, part, given is not None)
                position += samples.shape[0]
        if position != len(self.ids):
            raise InputError(
                f"{self.role} yielded {position} examples, expected {len(self.ids)}: "
                "a loader must not drop its last batch"
            )

    def _collated(self, size: int) -> Iterator[dict[str, Any]]:
        if isinstance(self.data, DataLoader):
            yield from (as_fields(batch, self.role) for batch in self.data)
            return
        for start in range(0, len(self.ids), size):
            wanted = self.ids[start : start + size]
            yield collate([as_fields(self.data[i], self.role) for i in wanted], wanted, self.role)


def as_source(examples: Examples | ExampleSource, role: str) -> ExampleSource:
    """Return examples as a source; one that is a part of another stays as it is."""
    return examples if isinstance(examples, ExampleSource) else ExampleSource(examples, role)


def gathered(blocks: Iterable[Block], at_once: int) -> Iterator[list[Block]]:
    """Yield consecutive blocks together, as many as hold at most ``at_once`` examples."""
    together: list[Block] = []
    for block in blocks:
        if together and sum(len(b.ids) for b in [*together, block]) > at_once:
            yield together
            together = []
        together.append(block)
    if together:
        yield together


def as_fields(example: Any, role: str) -> dict[str, Any]:
    """Return an example, or a batch of them, as a mapping with ``sample``.

    Raises:
        InputError: If it is none.
    """
    if isinstance(example, (tuple, list)) and len(example) == 1:
        example = example[0]  # what a TensorDataset of one tensor yields
    if isinstance(example, Tensor):
        return {"sample": example}
    if isinstance(example, Mapping) and isinstance(example.get("sample"), Tensor):
        return dict(example)
    if isinstance(example, Mapping):
        found = f"a mapping with the keys {sorted(map(str, example))}"
    else:
        found = f"a {type(example).__name__}"
    raise InputError(
        f"{role}: expected examples as a tensor or a mapping with a tensor 'sample', got {found}. "
        "retrac_plugin.named(dataset, ('sample', 'class_labels')) names the fields of tuples"
    )


def named(dataset: Sequence[Any], names: Sequence[str | None]) -> Dataset[dict[str, Any]]:
    """Return a view of a dataset of tuples as a dataset of examples.

    Args:
        dataset: Yields tuples.
        names: The name of each field, ``"sample"`` among them; None drops the field.

    Raises:
        InputError: If no field is named ``"sample"``.
    """
    if "sample" not in names:
        raise InputError(f"expected one of the names to be 'sample', got {list(names)}")
    return Named(dataset, tuple(names))


class Named(Dataset[dict[str, Any]]):
    """What ``named`` returns."""

    def __init__(self, dataset: Sequence[Any], names: tuple[str | None, ...]) -> None:
        self.dataset, self.names = dataset, names

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pairs = zip(self.names, self.dataset[index], strict=True)
        return {name: value for name, value in pairs if name is not None}
