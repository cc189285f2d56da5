"""Batches as some frameworks pass them, seen as the examples that they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset, default_collate

from retrac_plugin.data.examples import Examples, ExampleSource, Named, as_fields, named
from retrac_plugin.errors import InputError


class Rows(Dataset[dict[str, Any]]):
    """The examples of one batch.

    Args:
        fields: Tensors ``[sample, ...]`` by name, or mappings of such; ``sample`` among them.
        role: What the examples are, for messages.

    Raises:
        InputError: If the tensors hold different numbers of samples.
    """

    def __init__(self, fields: Mapping[str, Any], role: str) -> None:
        self.fields = fields
        counts = [len(leaf) for leaf in tree_leaves(dict(fields))]
        if len(set(counts)) > 1:
            raise InputError(
                f"{role}: expected a batch's fields to hold as many samples each, got "
                f"{', '.join(map(str, counts))} in {', '.join(map(repr, fields))}"
            )

    def __len__(self) -> int:
        return len(self.fields["sample"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: _row(value, index) for name, value in self.fields.items()}


def as_examples(
    data: Any,
    role: str,
    sample_dims: Callable[[], int] | None = None,
    names: Sequence[str | None] | None = None,
) -> Examples:
    """Return the examples of a batch; whatever is no batch is returned as it is.

    A batch is a tuple ``(samples,)``, a mapping of stacked fields, or what a loader over a
    ``TensorDataset`` yields: a list whose tensors have one dimension more than a sample.

    Args:
        data: A batch, or a dataset, a list of examples, a tensor, a loader.
        role: What the examples are, for messages.
        sample_dims: Says how many dimensions one sample has; without it no list is a batch.
        names: What the tensors of a batch are called, as ``names_in`` the training set says; those
            of a loader's batches too.

    Raises:
        InputError: If the batch holds several tensors, which have no names.
    """
    if names is not None and isinstance(data, DataLoader) and _yields(data, len(names)):
        tuples: Any = data.dataset
        return DataLoader(named(tuples, names), batch_sampler=data.batch_sampler)
    is_batch = isinstance(data, tuple) or _is_listed_batch(data, sample_dims)
    if names is not None and is_batch and len(data) == len(names):
        pairs = zip(names, data, strict=True)
        data = {name: value for name, value in pairs if name is not None}
    if isinstance(data, (tuple, Mapping)) or _is_listed_batch(data, sample_dims):
        return Rows(as_fields(data, role), role)
    return data


def as_examples_like(train: Examples, inputs: Any) -> Examples:
    """Return the examples of a batch of samples that are as those of a training set."""

    def sample_dims() -> int:
        return next(ExampleSource(train, "train").blocks(1)).samples.dim() - 1

    return as_examples(inputs, "inputs", sample_dims, names_in(train))


def names_in(data: Examples) -> Sequence[str | None] | None:
    """Return the names that ``retrac_plugin.named`` gave a data set, or a loader's data set."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    return dataset.names if isinstance(dataset, Named) else None


def _yields(loader: DataLoader[Any], count: int) -> bool:
    """Whether a loader makes batches, as torch does, of tuples of so many."""
    first = loader.dataset[0] if loader.batch_sampler is not None else None
    return isinstance(first, tuple) and len(first) == count and loader.collate_fn is default_collate


def _is_listed_batch(data: Any, sample_dims: Callable[[], int] | None) -> bool:
    if sample_dims is None or not isinstance(data, list) or not data:
        return False
    return isinstance(data[0], Tensor) and data[0].dim() == sample_dims() + 1


def _row(value: Any, index: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _row(part, index) for name, part in value.items()}
    return value[index]
