"""Whether a training set is the one that a trace was recorded of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import torch
from torch import Tensor

from retrac_plugin.errors import TraceError
from retrac_plugin.randomness import content_key
from retrac_plugin.trace.likeness import alike, likeness
from retrac_plugin.trace.parts import CHANGING, ROUNDED, UNKNOWN

_FAR = 2.0
"""A kept sample that lies so many times nearer to another image than to its own is that one's."""


def check_size(size: int, recorded: int) -> None:
    """Refuse a set of another size.

    Raises:
        TraceError: If they differ.
    """
    if size != recorded:
        raise TraceError(
            f"the training set has {size} samples, the trace {recorded}: "
            "pass the dataset that the run was trained on, whole and in the same order"
        )


def check_contents(ids: Sequence[int], keys: Sequence[int], recorded: Tensor) -> None:
    """Refuse samples whose values are not the recorded ones.

    Args:
        ids: The samples.
        keys: Their content keys.
        recorded: The trace's, ``[sample of the training set]``.

    Raises:
        TraceError: If one differs from a sample that never changed in training.
    """
    for sample_id, key, known in zip(ids, keys, recorded[list(ids)].tolist(), strict=True):
        if known not in (UNKNOWN, CHANGING, ROUNDED, key):
            raise TraceError(
                f"sample {sample_id} is not the one that training saw (its content hash "
                "differs from the trace's): the dataset was changed or put in another order"
            )


def check_encoded(
    ids: Sequence[int], samples: Tensor, recorded: Tensor, likenesses: Tensor | None
) -> None:
    """Refuse samples that a network made of other images than the recorded ones.

    The same image is encoded with other last bits on another machine, so where values differ,
    their likeness decides.

    Args:
        ids: The samples.
        samples: As they were encoded now, ``[sample, ...]``.
        recorded: Content keys of the training set.
        likenesses: Its likenesses, where they were recorded.

    Raises:
        TraceError: If one is unlike a sample that never changed in training, or that cannot be
            told.
    """
    for sample_id, sample in zip(ids, samples, strict=True):
        known = int(recorded[sample_id])
        untold = (UNKNOWN, CHANGING, *([ROUNDED] if likenesses is None else []))
        if known in untold or known == content_key(sample):
            continue
        if likenesses is None:
            raise TraceError(
                f"sample {sample_id}, as encoded here, is not to the last bit what training saw, "
                "and the trace does not tell whether that is rounding or another image. Pass the "
                "folder of encoded images (cache) that training used, record with `retrac record "
                "--keep samples`, or use train_draws=Uniform(1)"
            )
        if not alike(likeness(sample), likenesses[sample_id]):
            raise TraceError(
                f"sample {sample_id}, as encoded here, is not the one that training saw (they "
                "differ by more than rounding): the dataset was changed or put in another order, "
                "or is encoded by another network"
            )


def check_kept(ids: Sequence[int], samples: Tensor, kept: Tensor, recorded: Tensor) -> None:
    """Refuse encoded samples in another order than those that training saw and kept.

    Training may have drawn them from a posterior, once, so that they differ by more than rounding;
    but none lies far nearer to another image than to its own.

    Raises:
        TraceError: If one does, and never changed in training.
    """
    distances = torch.cdist(kept.double().flatten(1), samples.cpu().double().flatten(1))
    own = distances.diagonal()
    nearest, which = distances.min(dim=1)
    for row in (nearest * _FAR < own).nonzero().flatten().tolist():
        if int(recorded[ids[row]]) not in (UNKNOWN, CHANGING):
            raise TraceError(
                f"what training saw as sample {ids[row]} is sample {ids[int(which[row])]} of this "
                "dataset: pass the one that the run was trained on, in the same order"
            )


def check_names(names: Sequence[str], recorded: Sequence[str]) -> None:
    """Refuse files that are not the recorded ones in their order, where names were recorded.

    Raises:
        TraceError: If one of them has another name.
    """
    if not recorded or len(names) != len(recorded):  # the size is checked with the samples
        return
    for sample_id, (name, known) in enumerate(zip(names, recorded, strict=True)):
        path = PurePath(name)
        if path.suffix and path.name != PurePath(known).name:  # rows of a file have numbers
            raise TraceError(
                f"sample {sample_id} is {name!r}, but training saw {known!r} in its place: "
                "pass the folders that the run was trained on, unchanged"
            )
