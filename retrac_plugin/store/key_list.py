"""Keys of samples side by side in memory: many of them, of which few are ever looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

import torch
from torch import Tensor

KEY_BYTES = 16
"""Of a key: two of 10^9 samples are alike by chance once in 10^21."""


class KeyList(Sequence[bytes]):
    """Keys of ``KEY_BYTES`` each.

    Args:
        data: All of them in a row.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    @classmethod
    def of(cls, keys: Iterable[bytes]) -> KeyList:
        """Return some keys side by side."""
        return cls(b"".join(keys))

    @classmethod
    def from_tensor(cls, keys: Tensor) -> KeyList:
        """Return keys ``[key, byte]`` from what ``tensor`` made of them.

        Raises:
            ValueError: If it is something else.
        """
        if keys.dtype != torch.uint8 or keys.dim() != 2 or keys.shape[1] != KEY_BYTES:
            raise ValueError(f"expected keys [key, {KEY_BYTES}], got {list(keys.shape)}")
        return cls(keys.contiguous().numpy().tobytes())

    def tensor(self) -> Tensor:
        """Return them as bytes ``[key, byte]``."""
        return torch.frombuffer(bytearray(self.data), dtype=torch.uint8).view(-1, KEY_BYTES)

    def __len__(self) -> int:
        return len(self.data) // KEY_BYTES

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> KeyList: ...

    def __getitem__(self, index: int | slice) -> bytes | KeyList:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return KeyList.of(self[place] for place in range(start, stop, step))
            return KeyList(self.data[start * KEY_BYTES : stop * KEY_BYTES])
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.data[index * KEY_BYTES : (index + 1) * KEY_BYTES]
