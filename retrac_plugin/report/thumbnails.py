"""The pictures that a page shows, each once, as large as the page can bear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from retrac_plugin.report.contents import Pictures
from retrac_plugin.report.images import data_uri, is_small

SIDES = (320, 256, 192, 144, 112, 88, 64, 48)
"""Pixels of a thumbnail's longer side, the largest first."""

MOST_BYTES = 7_000_000
"""What they may weigh by default, so that a page opens at once and travels by mail."""

SAMPLED = 24
"""Thumbnails that are made at every size to see what they weigh."""


@dataclass(frozen=True)
class Thumbnails:
    """Pictures that a page can hold.

    Attributes:
        sources: A data URI by position; those that cannot be shown are left out.
        as_blocks: Whether they are so small that their pixels are to be seen.
    """

    sources: Mapping[int, str]
    as_blocks: bool


def thumbnails(
    pictures: Pictures, chosen: Iterable[int], most_bytes: int = MOST_BYTES
) -> Thumbnails:
    """Return thumbnails of some pictures, no other of which is read.

    Args:
        pictures: All of them.
        chosen: Positions of those to show.
        most_bytes: What all together may weigh, roughly; at the smallest size they may weigh more.
    """
    chosen = sorted(set(chosen))
    looked_at = [picture for i in _spread(chosen) if (picture := pictures[i]) is not None]
    side = _side_of(looked_at, len(chosen), most_bytes)
    sources = {i: data_uri(picture, side) for i in chosen if (picture := pictures[i]) is not None}
    return Thumbnails(sources, any(map(is_small, looked_at)))


def _spread(chosen: list[int]) -> list[int]:
    return chosen[:: max(1, len(chosen) // SAMPLED)][:SAMPLED]


def _side_of(sample: list[Tensor], count: int, most_bytes: int) -> int:
    """Return the largest side at which ``count`` thumbnails like those of a sample weigh little."""
    for side in SIDES:
        weight = sum(len(data_uri(picture, side)) for picture in sample)
        if weight * count <= most_bytes * len(sample):
            return side
    return SIDES[-1]
