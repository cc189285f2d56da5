"""What is known about the data, against which scores are measured. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from retrac_plugin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_OF_QUERIES = (
    "query_labels",
    "query_is_minority",
    "query_train_index",
    "subset_losses",
    "left_out_losses",
    "continued_changes",
)
"""Fields whose last dimension is the query."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Known facts about the training set and the queries; every one may be missing.

    Attributes:
        train_labels: Class of each training sample, ``[train]``, integers.
        query_labels: Class of each query, ``[query]``, integers.
        train_is_minority: True for training samples of a planted minority, ``[train]``.
        query_is_minority: True for queries of that minority, ``[query]``.
        gradient_norms: Norm of each training gradient, ``[checkpoint, train]``.
        self_influence: Influence of each training sample on itself, ``[train]``.
        query_train_index: Which training sample each query is, ``[query]``, integers.
        subsets: Subsets of the training set that models were retrained on, ``[subset, train]``.
        subset_losses: The retrained models' losses of the queries, ``[seed, subset, query]``; NaN
            where a subset was not retrained with a seed.
        left_out: Training samples that models were retrained without, one each, ``[sample]``.
        left_out_losses: Those models' losses of the queries, ``[seed, sample, query]``.
        continued: Training samples that the recorded training was continued without, one each,
            from a late checkpoint on, ``[sample]``.
        continued_changes: How much the queries' losses rose by that, ``[sample, query]``.
        untrained: Scores ``[query, train]`` by the same method, from the same model with random
            weights in all its checkpoints.
    """

    train_labels: Tensor | None = None
    query_labels: Tensor | None = None
    train_is_minority: Tensor | None = None
    query_is_minority: Tensor | None = None
    gradient_norms: Tensor | None = None
    self_influence: Tensor | None = None
    query_train_index: Tensor | None = None
    subsets: Tensor | None = None
    subset_losses: Tensor | None = None
    left_out: Tensor | None = None
    left_out_losses: Tensor | None = None
    continued: Tensor | None = None
    continued_changes: Tensor | None = None
    untrained: Tensor | None = None

    def of_queries(self, positions: Tensor) -> Evidence:
        """Return what is known of some of the queries, in the order of their positions."""
        chosen = {
            name: value[..., positions]
            for name in _OF_QUERIES
            if (value := getattr(self, name)) is not None
        }
        if self.untrained is not None:
            chosen["untrained"] = self.untrained[positions]
        return replace(self, **chosen)

    def required(self, field: str, why: str, shape: tuple[int | None, ...]) -> Tensor:
        """Return one field, on the CPU.

        Args:
            field: Its name.
            why: What it is for, for the message if it is missing.
            shape: The shape it must have; None stands for any length.

        Raises:
            InputError: If the field is missing or has another shape.
        """
        value: Tensor | None = getattr(self, field)
        if value is None:
            raise InputError(
                f"the evidence lacks {field}, which is needed {why}: Evidence({field}=...)"
            )
        got = tuple(value.shape)
        if not _fits(got, shape):
            expected = ", ".join("any" if length is None else str(length) for length in shape)
            raise InputError(f"evidence {field}: expected shape [{expected}], got {list(got)}")
        return value.detach().cpu()


def _fits(got: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    if len(got) != len(shape):
        return False
    return all(length in (None, size) for size, length in zip(got, shape, strict=True))
