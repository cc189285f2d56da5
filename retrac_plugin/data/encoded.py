"""What an encoder made of some inputs: computed once, kept in files by what it was computed from.

A file holds a few rows. It is named by a digest of the encoder and of these rows' inputs, so that
another encoder, or other inputs, never find it; and it is written whole, so that what was done
before an interruption is there afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from retrac_plugin.errors import InputError
from retrac_plugin.files import write_atomically

FORMAT = 1

ROWS = 32
"""Rows in a file: what is computed again after an interruption, and what is read at a time."""

Encode = Callable[[Sequence[int]], dict[str, Tensor]]
"""``positions -> tensors [position, ...]`` by name: encodes the inputs at some positions."""


class EncodedRows(Dataset[dict[str, Tensor]]):
    """The rows of some inputs, each computed when it is first asked for.

    Args:
        encode: Encodes a few inputs.
        encoder: A digest of the encoder, such as ``fingerprint`` returns.
        inputs: A digest of each input's content.
        folder: Where the files are kept; it may hold those of other inputs and encoders.
    """

    def __init__(self, encode: Encode, encoder: str, inputs: Sequence[str], folder: Path) -> None:
        self.encode, self.folder = encode, folder
        self._count = len(inputs)
        starts = range(0, self._count, ROWS)
        self._digests = [digest(str(FORMAT), encoder, *inputs[i : i + ROWS]) for i in starts]
        self._at_hand: tuple[int, dict[str, Tensor]] = (-1, {})

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self._count:
            raise IndexError(index)
        rows = self._rows(index // ROWS)
        return {name: values[index % ROWS] for name, values in rows.items()}

    @property
    def missing(self) -> int:
        """How many rows are not on disk yet."""
        return sum(
            len(self._positions(file))
            for file in range(len(self._digests))
            if not self._path(file).is_file()
        )

    def fill(self, tick: Callable[[int], object]) -> None:
        """Compute the rows that are not on disk; ``tick`` is called with the number done."""
        for file in range(len(self._digests)):
            if not self._path(file).is_file():
                self._compute(file)
                tick(len(self._positions(file)))

    def _rows(self, file: int) -> dict[str, Tensor]:
        if self._at_hand[0] != file:
            there = self._path(file).is_file()
            self._at_hand = (file, self._read(file) if there else self._compute(file))
        return self._at_hand[1]

    def _compute(self, file: int) -> dict[str, Tensor]:
        rows = self.encode(self._positions(file))
        tensors = {name: values.cpu().contiguous() for name, values in rows.items()}
        metadata = {"retrac": json.dumps({"format": FORMAT, "digest": self._digests[file]})}
        write_atomically(self._path(file), lambda path: save_file(tensors, path, metadata))
        return tensors

    def _read(self, file: int) -> dict[str, Tensor]:
        path, wanted = self._path(file), self._digests[file]
        try:
            with safe_open(path, framework="pt") as opened:
                header = json.loads((opened.metadata() or {}).get("retrac", "{}"))
                rows = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 not a dict
        except Exception as error:  # a damaged file may raise anything
            raise _unusable(path, str(error)) from error
        if header != {"format": FORMAT, "digest": wanted}:
            raise _unusable(path, "it was written by something else")
        count = len(self._positions(file))
        if not rows or any(not v.dim() or len(v) != count for v in rows.values()):
            raise _unusable(path, f"it does not hold {count} rows")
        return rows

    def _path(self, file: int) -> Path:
        return self.folder / f"{self._digests[file]}.safetensors"

    def _positions(self, file: int) -> range:
        return range(file * ROWS, min((file + 1) * ROWS, self._count))


def digest(*parts: str | bytes | memoryview) -> str:
    """Return a name for some content: the same parts give the same one, others another."""
    hashed = hashlib.blake2b(digest_size=20)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(len(content).to_bytes(8, "little"))  # or "ab", "c" would be "a", "bc"
        hashed.update(content)
    return hashed.hexdigest()


def raw(tensor: Tensor) -> memoryview:
    """Return a tensor's values as bytes."""
    data: memoryview = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return data


def tensor_digest(tensor: Tensor) -> str:
    """Return a digest of a tensor's type, shape and values."""
    return digest(str(tensor.dtype), str(list(tensor.shape)), raw(tensor))


def as_key(name: str) -> int:
    """Return a digest as a number of 63 bits, such as an example's ``sample_key``."""
    return int(name[:16], 16) >> 1


def fingerprint(network: nn.Module, *about: str) -> str:
    """Return a digest of a network's weights, and of whatever else decides what it computes."""
    parts: list[str | bytes] = [type(network).__name__, *about]
    for name, tensor in sorted(network.state_dict().items()):
        parts += [name, str(tensor.dtype), str(list(tensor.shape)), digest(raw(tensor))]
    return digest(*parts)


def configuration(config: Mapping[str, Any]) -> str:
    """Return a configuration as text, without what says where it came from."""
    own = {n: value for n, value in config.items() if not n.startswith("_") and n not in _ORIGINS}
    return json.dumps(own, sort_keys=True, default=str)


_ORIGINS = ("dtype", "torch_dtype", "transformers_version")


def _unusable(path: Path, reason: str) -> InputError:
    return InputError(f"cannot use the encoded rows in {str(path)!r}: {reason}. Delete the file")
