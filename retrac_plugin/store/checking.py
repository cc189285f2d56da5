"""Whether a store's rows are what this machine, with these packages, would compute today."""

from __future__ import annotations

import copy
import math

from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass, nothing
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.row_norms import row_norms
from retrac_plugin.methods.features import Feature, side_of
from retrac_plugin.store.row_types import Packed
from retrac_plugin.store.rows import Rows
from retrac_plugin.store.store import Store, versions

TOLERANCE = 5e-3
"""Of a row's norm, beside what packing it costs: other kernels and TF32 stay below."""


def check_row(
    store: Store,
    rows: Rows,
    places: Tensor,
    at: CheckpointPass,
    feature: Feature,
    train: ExampleSource,
) -> None:
    """Compute the first sample's row once more, and compare it with the one that was kept.

    Args:
        store: The store.
        rows: The rows.
        places: Where the training samples' rows lie.
        at: The checkpoint.
        feature: What the rows are of.
        train: The training set.

    Raises:
        InputError: If it comes out otherwise.
    """
    kept = rows.side(places[:1]).features.flatten(1).double()
    silent = copy.copy(at)
    silent.tick = nothing  # it is one of those that a bar counts
    side = side_of(silent, feature, train.part([0]), feature.draws, "train")
    today = side.features.float().cpu()
    packed = rows.row_type.pack(today)
    again = packed.rows().flatten(1).double()
    norm = float(row_norms(again))
    difference = float(row_norms(kept - again))
    if difference > TOLERANCE * norm + _packing_error(packed):
        now = ", ".join(f"{name} {version}" for name, version in versions().items())
        then = ", ".join(f"{name} {version}" for name, version in store.versions.items())
        raise InputError(
            f"a row of {rows.kind.label} comes out otherwise today: computed again for training "
            f"sample 0, it differs by {difference:.2g} of {norm:.2g}. The store was made with "
            f"{then}; this is {now}. Make the store anew, or go back to what made it"
        )


def _packing_error(packed: Packed) -> float:
    """Return how much two packings of nearly the same row may differ: a step of each number."""
    values, scales = packed
    if scales is None:
        return 0.0
    step = scales if values.itemsize == 1 else scales / 2**10
    return float(step.double().square().sum().sqrt()) * math.sqrt(values.shape[-1])
