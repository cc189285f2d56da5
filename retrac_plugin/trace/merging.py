"""Joins the parts of a trace, whichever processes and launches left them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.kept_rows import KeptRows
from retrac_plugin.trace.parts import CHANGING, COLUMNS, ROUNDED, UNKNOWN, Looks, Part


def check_together(parts: Sequence[Part]) -> None:
    """Refuse parts of different runs.

    Raises:
        TraceError: If their seeds, training sets, or what was kept differ.
    """
    first = _run_of(parts[0])
    for part in parts[1:]:
        differing = [what for what, value in _run_of(part).items() if value != first[what]]
        if differing:
            what = differing[0]
            raise TraceError(
                f"{str(parts[0].path)!r} and {str(part.path)!r} are traces of different runs: "
                f"{what} is {_run_of(part)[what]} in the second, expected {first[what]} as in the "
                "first. Move the one away that does not belong to this run"
            )


def without_copies(parts: Sequence[Part]) -> list[Part]:
    """Return the parts once each: a copy of a checkpoint has one of its trace too.

    Raises:
        TraceError: If two that should be copies hold different visits.
    """
    found: dict[tuple[float, ...], Part] = {}
    for part in parts:
        origin = part.origin
        known = found.setdefault((origin.started, origin.start, origin.process, origin.step), part)
        same = all(torch.equal(known.columns[name], part.columns[name]) for name in COLUMNS)
        if not same:
            raise TraceError(
                f"{str(known.path)!r} and {str(part.path)!r} are of the same stretch of one "
                "training, but hold different visits: one is a copy from another moment. Move "
                "away the one that is not this run's"
            )
    return list(found.values())


def _run_of(part: Part) -> dict[str, object]:
    origin, kept = part.origin, ", ".join(sorted(part.kept)) or "nothing"
    return {
        "the number of samples": origin.num_samples,
        "the seed": origin.seed,
        "the noise": origin.noise,
        "what is kept": kept,
        "the names of files": part.names,
    }


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
    same = torch.where(lowest < CHANGING, ROUNDED, lowest)
    return torch.where(zeros.index_add(0, ids, weights) >= 2, same, UNKNOWN)


def join_likenesses(looks: Sequence[Looks]) -> Tensor | None:
    """Return each sample's likeness as it was first recorded; None unless all parts have them."""
    found = [look.likenesses for look in looks if look.likenesses is not None]
    if not found or len(found) < len(looks):
        return None
    joined = found[0]
    for later in found[1:]:
        joined = torch.where(joined.isnan(), later, joined)
    return joined
