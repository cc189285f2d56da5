"""A shard: the rows of a fixed number of samples in one file, written whole, checked when read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from retrac_plugin.attribution.features import Side
from retrac_plugin.attribution.tensor_files import write
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.store.key_list import KeyList
from retrac_plugin.store.row_types import Packed, RowType
from retrac_plugin.store.sums import sum_of

FORMAT = 1


class Shard(NamedTuple):
    """What one file is to hold.

    Attributes:
        path: The file.
        kind: The digest of the kind of its rows.
        first: The place in the store of its first row.
        keys: Of its samples, in order.
        row_type: How its rows are kept.
    """

    path: Path
    kind: str
    first: int
    keys: KeyList
    row_type: RowType

    def write(self, side: Side) -> None:
        """Write the shard, whole or not at all; the same rows give the same bytes.

        Raises:
            OutputError: If it cannot be written.
        """
        packed = self.row_type.pack(side.features)
        tensors = {
            "rows": packed.values,
            "norms": side.norms.to(torch.float32),
            "outputs": side.outputs.to(torch.float32),
            "keys": self.keys.tensor(),
        }
        if packed.scales is not None:
            tensors["scales"] = packed.scales
        tensors = {name: value.cpu() for name, value in tensors.items()}
        about = {"format": FORMAT, "kind": self.kind, "sums": _sums(tensors)}
        write(self.path, tensors, {"retrac": json.dumps(about, sort_keys=True)})

    def read(self) -> ShardRows:
        """Return the shard's rows, mapped into memory; every byte is looked at.

        Raises:
            InputError: If the file is missing, damaged, or not this shard.
        """
        try:
            with reading(self.path, InputError, "the shard"), safe_open(self.path, "pt") as file:
                about = json.loads((file.metadata() or {}).get("retrac", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a dict
                problem = self._problem(about, tensors)
        except InputError as error:
            raise InputError(f"{error}. {REPAIR}") from error
        if problem:
            raise InputError(f"the shard {str(self.path)!r} {problem}. {REPAIR}")
        packed = Packed(tensors["rows"], tensors.get("scales"))
        return ShardRows(packed, tensors["norms"], tensors["outputs"])

    def _problem(self, about: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
        """Return what is wrong with a file's content, or nothing."""
        if (about.get("format"), about.get("kind")) != (FORMAT, self.kind):
            return "is of another kind, or of another version"
        wanted = {"rows", "norms", "outputs", "keys", *(["scales"] if self.row_type.scaled else [])}
        lengths = {len(value) for value in tensors.values() if value.dim()}
        if set(tensors) != wanted or lengths != {len(self.keys)}:
            return f"does not hold the rows of {len(self.keys)} samples"
        if tensors["rows"].dtype != self.row_type.dtype:
            return f"holds rows of {tensors['rows'].dtype}, expected {self.row_type.dtype}"
        if about.get("sums") != _sums(tensors):
            return "is damaged: its bytes do not add up to what was written"
        same = torch.equal(tensors["keys"], self.keys.tensor())
        return "" if same else "is of other samples"


class ShardRows(NamedTuple):
    """The content of a shard."""

    packed: Packed
    norms: Tensor
    """``[sample]``."""
    outputs: Tensor
    """``[sample]``."""

    def side(self, which: slice | Tensor) -> Side:
        """Return some of the rows, in float32."""
        values, scales = self.packed
        packed = Packed(values[which], None if scales is None else scales[which])
        return Side(packed.rows(), self.norms[which], self.outputs[which])


REPAIR = "`retrac featurize --repair` computes it again, and nothing else"


def _sums(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    return {n: sum_of(tensors[n].flatten().view(torch.uint8).numpy()) for n in sorted(tensors)}
