"""In which order a container yields its examples: loaders are asked, and must not draw it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from retrac_plugin.errors import InputError

_SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def ids_of(data: Any, role: str) -> list[int]:
    """Return the dataset indices of a container's examples, in the order of its columns.

    Args:
        data: A map-style dataset, a list, a tensor, or a loader over one of them.
        role: What the examples are, for messages.

    Raises:
        InputError: If it has no indices, or a loader draws their order.
    """
    if isinstance(data, DataLoader):
        return _loader_ids(data, role)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return list(range(len(data)))
    raise InputError(
        f"{role}: expected a map-style dataset (with len() and indices), a list or a DataLoader, "
        f"got a {type(data).__name__}"
    )


def _loader_ids(loader: Any, role: str) -> list[int]:
    if isinstance(loader.dataset, IterableDataset):
        raise InputError(f"{role}: expected a DataLoader over a map-style dataset, not an iterable")
    if loader.batch_sampler is None:
        raise InputError(f"{role}: expected a DataLoader that makes batches, got batch_size=None")
    listing = _listing(loader.batch_sampler)
    rising = all(a < b for a, b in pairwise(listing))
    sampler = getattr(loader.batch_sampler, "sampler", loader.batch_sampler)
    random = isinstance(sampler, _SHUFFLING) or getattr(sampler, "shuffle", False) is True
    drawn = random or listing != _listing(loader.batch_sampler)
    if drawn or not (rising or _states(sampler, listing, len(loader.dataset))):
        raise InputError(
            f"{role}: the DataLoader shuffles, so that columns would not be samples: a "
            f"{type(sampler).__name__} yields {', '.join(map(str, listing[:4]))}, ... Expected "
            "shuffle=False and no random sampler: the dataset's own order, or one that is written "
            "out, sampler=[4, 1, 3]"
        )
    return listing


def _states(sampler: Any, listing: Sequence[int], size: int) -> bool:
    """Return whether a sampler holds this very order as a list, as those of a subset do.

    A class of its own may hold the order of some samples under any name; one of all ``size`` of
    them is a shuffle.
    """
    if hasattr(sampler, "__getitem__"):
        return _begins(sampler, listing)
    if hasattr(sampler, "indices"):
        return _begins(sampler.indices, listing)
    chosen = len(listing) < size and len(set(listing)) == len(listing)
    held = [value for value in vars(sampler).values() if hasattr(value, "__getitem__")]
    return chosen and any(_begins(value, listing, size - 1) for value in held)


def _begins(held: Any, listing: Sequence[int], most: int | None = None) -> bool:
    """Return whether a list, of indices or of batches, is the listing; its end may be dropped."""
    try:
        stated = _listing(entry if _is_batch(entry) else [entry] for entry in held)
    except (TypeError, ValueError):  # it holds something else
        return False
    return stated[: len(listing)] == [*listing] and (most is None or len(stated) <= most)


def _is_batch(entry: Any) -> bool:
    return isinstance(entry, (list, tuple, range)) or getattr(entry, "ndim", 0) == 1


def _listing(batches: Any) -> list[int]:
    return [int(i) for batch in batches for i in batch]
