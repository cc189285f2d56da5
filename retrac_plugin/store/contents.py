"""What identifies a row: the content of its sample, so that a training set may change around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from retrac_plugin.data.encoded import digest, tensor_digest
from retrac_plugin.data.examples import Block, ExampleSource
from retrac_plugin.draws import Draws, Shared, Strided, Uniform
from retrac_plugin.store.key_list import KEY_BYTES, KeyList

BLOCK = 256
"""Examples that are read at a time."""

_BY_CONTENT = (Shared, Strided, Uniform)
"""Rules that draw by what a sample is; others may draw by where it lies."""


def row_keys(source: ExampleSource, draws: Draws) -> KeyList:
    """Return a key of each sample, by all that is its own in a row.

    That is its sample and its conditions, and its place in the training set where that decides its
    draws, as it does of those that were recorded.

    Args:
        source: The samples; all are read, once.
        draws: Their timesteps and noise.
    """
    by_place = type(draws) not in _BY_CONTENT
    return KeyList.of(
        bytes.fromhex(digest(content, str(sample_id) if by_place else ""))[:KEY_BYTES]
        for block in source.blocks(BLOCK)
        for sample_id, content in zip(block.ids, _contents(block), strict=True)
    )


def _contents(block: Block) -> Iterator[str]:
    for place, key in enumerate(block.keys):
        own = f"encoded {key}" if block.encoded else _of(block.samples[place])
        yield digest(own, _of({n: _at(v, place) for n, v in sorted(block.conditions.items())}))


def _at(value: Any, place: int) -> Any:
    if isinstance(value, dict):
        return {name: _at(part, place) for name, part in sorted(value.items())}
    return value[place]


def _of(value: Any) -> str:
    if isinstance(value, dict):
        return digest(*(part for name, own in value.items() for part in (name, _of(own))))
    return tensor_digest(torch.as_tensor(value))
