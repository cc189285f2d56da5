"""Examples stacked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


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
    tensors = [_as_tensor(v, i, what) for v, i in zip(values, ids, strict=True)]
    for tensor, sample_id in zip(tensors, ids, strict=True):
        if tensor.shape != tensors[0].shape:
            raise InputError(
                f"{what}: example {sample_id} has the shape {tuple(tensor.shape)}, "
                f"expected {tuple(tensors[0].shape)} as in example {ids[0]}"
            )
    return torch.stack(tensors)


def _as_tensor(value: Any, sample_id: int, what: str) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what}: example {sample_id} holds a {type(value).__name__}, expected a tensor or a "
            "number. Encode captions, and leave out fields that are not the denoiser's arguments"
        ) from error


def sliced(fields: Any, start: int, stop: int) -> Any:
    """Return some samples of stacked fields."""
    if isinstance(fields, Mapping):
        return {name: sliced(value, start, stop) for name, value in fields.items()}
    return torch.as_tensor(fields)[start:stop]
