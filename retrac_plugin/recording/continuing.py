"""Whether a recording may go on in a folder that holds a trace already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.trace.merging import join_keys
from retrac_plugin.trace.part_files import read_part
from retrac_plugin.trace.parts import UNKNOWN, Origin, Part
from retrac_plugin.trace.places import find_parts


def recorded_parts(run: Path) -> list[Part]:
    """Return the parts of a trace that a folder holds, those without a visit left out.

    Raises:
        TraceError: If one cannot be read.
    """
    parts = [read_part(path) for path in find_parts(run)]
    return [part for part in parts if len(part.columns["ids"])]


def check_goes_on(
    parts: Sequence[Part],
    origin: Origin,
    keep: Sequence[str],
    names: Sequence[str],
    ids: Tensor,
    keys: Tensor,
) -> None:
    """Refuse a recording that could not be joined with what its folder holds.

    Args:
        parts: What the folder holds.
        origin: Where the new visits come from.
        keep: What is to be kept of them.
        names: File names of the samples, where they are known.
        ids: The first samples that are trained on.
        keys: Their contents, as noted.

    Raises:
        InputError: If they are of another training set, or keep something else.
    """
    for part in parts:
        found = {
            "the training set's size": (part.origin.num_samples, origin.num_samples),
            "what is kept": (sorted(part.kept), sorted(keep)),
            "how noise is known": (part.origin.noise, origin.noise),
            "the files' names": (part.names, tuple(names)),
        }
        for what, (theirs, own) in found.items():
            if theirs != own:
                raise InputError(
                    f"retrac record: the folder holds the trace {str(part.path)!r} of a training "
                    f"with another record: {what} is {own}, expected {theirs} as there. Record "
                    "with the same --keep and data, or into a folder of its own"
                )
    if parts:
        _check_same_samples(parts, ids, keys)


def _check_same_samples(parts: Sequence[Part], ids: Tensor, keys: Tensor) -> None:
    known = join_keys([part.looks for part in parts], parts[0].origin.num_samples)[ids]
    comparable = (known > UNKNOWN) & (keys > UNKNOWN)  # what changes or is rounded lies below
    other = comparable & (known != keys)
    if other.any():
        raise InputError(
            f"retrac record: sample {int(ids[other][0])} is not the one that the trace in the "
            f"folder ({str(parts[0].path)!r}) was recorded of: this is a training on other data, "
            "or on the same in another order. Record it into a folder of its own"
        )
