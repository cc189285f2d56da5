"""Batches as some frameworks pass them, seen as the examples that they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from retrac_plugin.data.examples import Examples, as_fields
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


def as_examples(data: Any, role: str, sample_dims: Callable[[], int] | None = None) -> Examples:
    """Return the examples of a batch; whatever is no batch is returned as it is.

    A batch is a tuple ``(samples,)``, a mapping of stacked fields, or what a loader over a
    ``TensorDataset`` yields: a list whose tensors have one dimension more than a sample.

    Args:
        data: A batch, or a dataset, a list of examples, a tensor, a loader.
        role: What the examples are, for messages.
        sample_dims: Says how many dimensions one sample has; without it no list is a batch.

    Raises:
        InputError: If the batch holds several tensors, which have no names.
    """
    if isinstance(data, (tuple, Mapping)) or _is_listed_batch(data, sample_dims):
        return Rows(as_fields(data, role), role)
    return data


def _is_listed_batch(data: Any, sample_dims: Callable[[], int] | None) -> bool:
    if sample_dims is None or not isinstance(data, list) or not data:
        return False
    return isinstance(data[0], Tensor) and data[0].dim() == sample_dims() + 1


def _row(value: Any, index: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _row(part, index) for name, part in value.items()}
    return value[index]
