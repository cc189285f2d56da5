"""What is known about the data, against which scores are measured. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrac_plugin.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Evidence:
    """Known facts about the training set and the queries; every one may be missing.

    Attributes:
        train_labels: Class of each training sample, ``[train]``, integers.
        query_labels: Class of each query, ``[query]``, integers.
        train_is_minority: True for training samples of a planted minority, ``[train]``.
        query_is_minority: True for queries of that minority, ``[query]``.
        gradient_norms: Norm of each training gradient, ``[checkpoint, train]``.
        query_train_index: Which training sample each query is, ``[query]``, integers.
    """

    train_labels: Tensor | None = None
    query_labels: Tensor | None = None
    train_is_minority: Tensor | None = None
    query_is_minority: Tensor | None = None
    gradient_norms: Tensor | None = None
    query_train_index: Tensor | None = None

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
