"""What is known of torch's operators, and of those that make a GPU wait."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

LOOKED_AT = frozenset(
    {"_local_scalar_dense", "equal", "nonzero", "masked_select", "bincount", "_unique2"}
)
"""Operators whose result, or its shape, is values: whoever calls them waits for the device."""

FETCHED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
"""Operators to which the CPU may give positions, which are then sent."""


@dataclass(frozen=True)
class Facts:
    """What is known of an operator; looked up once."""

    name: str
    view: bool
    writes: bool
    pointwise: bool
    draws: bool
    numbers: tuple[int, ...]
    """Positions of arguments that came as numbers where the operator wants tensors."""


@functools.cache
def facts_of(op: Any) -> Facts:
    """Return what is known of an operator."""
    schema = op._schema
    name = schema.name.removeprefix("aten::")
    returned = [result.alias_info for result in schema.returns]
    tensors = [i for i, a in enumerate(schema.arguments) if str(a.type) == "Tensor"]
    return Facts(
        name,
        any(alias is not None and not alias.is_write for alias in returned) or name == "set_",
        any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments),
        torch.Tag.pointwise in op.tags,
        any(argument.name == "generator" for argument in schema.arguments),
        () if torch._C._should_allow_numbers_as_tensors(name) else tuple(tensors),
    )
