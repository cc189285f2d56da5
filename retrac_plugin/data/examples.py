"""Examples: what a dataset holds, read block by block from datasets, lists and data loaders.

An example is a mapping with ``sample`` (Tensor ``[C, H, W]``) and the denoiser's own keyword
arguments; a bare tensor stands for ``{"sample": tensor}``. Its id is its index in the dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from retrac_plugin.data.picture_values import check_values
from retrac_plugin.errors import InputError
from retrac_plugin.randomness import content_key

Examples = Any
"""A map-style dataset, a list, a tensor ``[sample, ...]``, or an unshuffled DataLoader."""

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


class Block(NamedTuple):
    """A few examples side by side."""

    ids: list[int]
    keys: list[int]
    """Content keys: the same values give the same key, see ``randomness.content_key``."""
    samples: Tensor
    conditions: dict[str, Any]


class ExampleSource:
    """Examples from any supported container, in a fixed order.

    Args:
        data: See ``Examples``.
        role: What the examples are, for messages: ``"train"`` or ``"queries"``.

    Raises:
        InputError: If the data is empty, shuffled, or cannot be read twice in the same order.
    """

    def __init__(self, data: Examples, role: str) -> None:
        self.data, self.role = data, role
        self.ids = _loader_ids(data, role) if isinstance(data, DataLoader) else _ids(data, role)
        if not self.ids:
            raise InputError(f"{role} is empty: expected at least one example")
        dataset: Any = data.dataset if isinstance(data, DataLoader) else data
        self.dataset_size = len(dataset)

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield all examples in order, at most ``size`` at a time."""
        position = 0
        for fields in self._collated(size):
            check_values(fields["sample"], self.ids[position], self.role)
            count = fields["sample"].shape[0]
            for start in range(0, count, size):
                part = _slice(fields, start, min(start + size, count))
                samples = part.pop("sample")
                ids = self.ids[position : position + samples.shape[0]]
                yield Block(ids, [content_key(sample) for sample in samples], samples, part)
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
    return _Named(dataset, tuple(names))


class _Named(Dataset[dict[str, Any]]):
    def __init__(self, dataset: Sequence[Any], names: tuple[str | None, ...]) -> None:
        self.dataset, self.names = dataset, names

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pairs = zip(self.names, self.dataset[index], strict=True)
        return {name: value for name, value in pairs if name is not None}


def collate(examples: list[dict[str, Any]], ids: list[int], role: str) -> dict[str, Any]:
    """Stack examples field by field.

    Raises:
        InputError: If an example has other fields or shapes than the first one.
    """
    first = examples[0]
    for example, sample_id in zip(examples, ids, strict=True):
        if example.keys() != first.keys():
            raise InputError(
                f"{role}: example {sample_id} has the fields {sorted(example)}, "
                f"expected {sorted(first)} as in example {ids[0]}"
            )
    return {name: _stack([e[name] for e in examples], ids, f"{role} {name!r}") for name in first}


def _stack(values: list[Any], ids: list[int], what: str) -> Any:
    if isinstance(values[0], Mapping):
        return {k: _stack([v[k] for v in values], ids, f"{what} {k!r}") for k in values[0]}
    tensors = [torch.as_tensor(value) for value in values]
    for tensor, sample_id in zip(tensors, ids, strict=True):
        if tensor.shape != tensors[0].shape:
            raise InputError(
                f"{what}: example {sample_id} has the shape {tuple(tensor.shape)}, "
                f"expected {tuple(tensors[0].shape)} as in example {ids[0]}"
            )
    return torch.stack(tensors)


def _slice(fields: Any, start: int, stop: int) -> Any:
    if isinstance(fields, Mapping):
        return {name: _slice(value, start, stop) for name, value in fields.items()}
    return torch.as_tensor(fields)[start:stop]


def _ids(data: Any, role: str) -> list[int]:
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return list(range(len(data)))
    raise InputError(
        f"{role}: expected a map-style dataset (with len() and indices), a list or a DataLoader, "
        f"got a {type(data).__name__}"
    )


def _loader_ids(loader: DataLoader[Any], role: str) -> list[int]:
    """Return the dataset indices in the order in which the loader yields them."""
    if isinstance(loader.dataset, IterableDataset):
        raise InputError(f"{role}: expected a DataLoader over a map-style dataset, not an iterable")
    if loader.batch_sampler is None:
        raise InputError(f"{role}: expected a DataLoader that makes batches, got batch_size=None")
    sampler = getattr(loader.batch_sampler, "sampler", None)
    listing = [int(i) for batch in loader.batch_sampler for i in batch]
    if isinstance(sampler, _SHUFFLING) or listing != [
        int(i) for b in loader.batch_sampler for i in b
    ]:
        raise InputError(
            f"{role}: the DataLoader shuffles, so that columns would not be samples. "
            "Expected shuffle=False and no random sampler"
        )
    return listing
