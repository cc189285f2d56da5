"""Joins the parts of a trace, whichever processes and launches left them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.kept_rows import KeptRows
from retrac_plugin.trace.parts import CHANGING, COLUMNS, UNKNOWN, Looks, Part


def check_together(parts: Sequence[Part], directory: str | Path) -> None:
    """Refuse parts of different runs.

    Raises:
        TraceError: If their seeds, training sets, or what was kept differ.
    """
    runs = {
        (p.origin.seed, p.origin.num_samples, p.origin.noise, p.names, *sorted(p.kept))
        for p in parts
    }
    if len(runs) > 1:
        raise TraceError(
            f"the traces in {str(directory)!r} are of different runs (other seeds, training sets "
            "or `--keep`): keep one run"
        )


def join_columns(parts: Sequence[Part]) -> tuple[dict[str, Tensor], Tensor]:
    """Return the columns in the order of their steps, and that order.

    Raises:
        TraceError: If there is no visit.
    """
    columns = {name: torch.cat([part.columns[name] for part in parts]) for name in COLUMNS}
    order = columns["steps"].argsort(stable=True)
    if not len(order):
        raise TraceError(f"{str(parts[0].path)!r} holds no visit: the training did not take a step")
    return {name: column[order] for name, column in columns.items()}, order


def join_rows(parts: Sequence[Part], order: Tensor) -> dict[str, KeptRows]:
    """Return where the noise, and the samples, of each visit were kept, in ``order``."""
    kept = {}
    for what in parts[0].kept:
        counts = [len(part.kept[what]) for part in parts]
        before = torch.tensor([0, *counts]).cumsum(0).tolist()
        shifted = [
            torch.where(part.columns["files"] < 0, -1, part.columns["files"] + offset)
            for part, offset in zip(parts, before, strict=False)
        ]
        files = [file for part in parts for file in part.kept[what]]
        rows = torch.cat([part.columns["rows"] for part in parts])[order]
        kept[what] = KeptRows(what, files, torch.cat(shifted)[order], rows)
    return kept


def join_keys(looks: Sequence[Looks], num_samples: int) -> Tensor:
    """Return each sample's key; unknown after a single look.

    Where one sample differs from look to look, training augments its samples, and those that look
    the same do so by chance.
    """
    ids, keys, weights = (
        torch.cat([getattr(look, name) for look in looks]) for name in ("ids", "keys", "weights")
    )
    zeros = torch.zeros(num_samples, dtype=torch.int64)
    lowest = zeros.scatter_reduce(0, ids, keys, "amin", include_self=False)
    highest = zeros.scatter_reduce(0, ids, keys, "amax", include_self=False)
    if CHANGING in keys or not torch.equal(lowest, highest):
        return torch.full_like(zeros, CHANGING)
    return torch.where(zeros.index_add(0, ids, weights) >= 2, lowest, UNKNOWN)


def join_likenesses(looks: Sequence[Looks]) -> Tensor | None:
    """Return each sample's likeness as it was first recorded; None unless all parts have them."""
    found = [look.likenesses for look in looks if look.likenesses is not None]
    if not found or len(found) < len(looks):
        return None
    joined = found[0]
    for later in found[1:]:
        joined = torch.where(joined.isnan(), later, joined)
    return joined
