"""Conditions within conditions, such as SDXL's ``added_cond_kwargs``, as frameworks can take them.

They pass a sample as a tuple of tensors. So the tensors of nested mappings lie side by side there,
in the order of their paths, and are nested again where the denoiser is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.errors import InputError

Keys = tuple[str, ...]
"""The keys that lead to a tensor, from the outermost."""


def paths_of(fields: Mapping[str, Any], names: Iterable[str], where: str) -> tuple[Keys, ...]:
    """Return the paths to all tensors in some fields: fields as named, what is in them by key.

    Args:
        fields: An example.
        names: Which of its fields.
        where: What the example is, for the message.

    Raises:
        InputError: If a mapping in them is empty.
    """
    return tuple(path for name in names for path in _paths(fields[name], (name,), where))


def at_path(fields: Mapping[str, Any], path: Keys) -> Tensor:
    """Return the tensor that a path leads to."""
    value: Any = fields
    for key in path:
        value = value[key]
    return torch.as_tensor(value)


def nested(paths: Sequence[Keys], tensors: Iterable[Tensor]) -> dict[str, Any]:
    """Return tensors as the mapping that their paths lead through."""
    fields: dict[str, Any] = {}
    for path, tensor in zip(paths, tensors, strict=True):
        inner = fields
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = tensor
    return fields


def _paths(value: Any, path: Keys, where: str) -> Iterator[Keys]:
    if not isinstance(value, Mapping):
        yield path
        return
    if not value:
        raise InputError(f"{where}: {'.'.join(path)} is an empty mapping: leave it out")
    for key in sorted(value):
        yield from _paths(value[key], (*path, key), where)
