"""Training gradients that are kept, whole or projected, so that each is computed once.

``<g_i / ||g_i||, h>`` becomes ``<P g_i, P h> / ||g_i||``: the projection takes part in the inner
product alone, while norms are those of the whole gradients, taken before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retrac_plugin.attribution.attributors import DiffusionAttributor, scores_by_itself
from retrac_plugin.attribution.features import train_gradients
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri.projection import Projection


@dataclass(frozen=True)
class TrainFeatures:
    """What is kept of a training set.

    Attributes:
        features: For each checkpoint ``[train, feature]``.
        norms: For each checkpoint the norms of the whole gradients, ``[train]``.
        found: Row and content key of each sample, by its id.
        draws: The draws at which they were taken.
    """

    features: list[Tensor]
    norms: list[Tensor]
    found: dict[int, tuple[int, int]]
    draws: Draws

    def rows(self, train: Examples, draws: Draws) -> list[int]:
        """Return the row of each sample of ``train``.

        Raises:
            InputError: If one is not among those kept, or was kept at other draws.
        """
        if draws != self.draws:
            raise InputError("the training set was cached with other draws: call cache again")
        rows = []
        for block in ExampleSource(train, "train").blocks(size=256):
            for sample_id, key in zip(block.ids, block.keys, strict=True):
                row, kept = self.found.get(sample_id, (-1, None))
                if key != kept:
                    what = "is not among" if kept is None else "differs from that of the same id in"
                    raise InputError(
                        f"train sample {sample_id} {what} the {len(self.found)} samples that were "
                        "cached. Call cache with the full training set"
                    )
                rows.append(row)
        return rows


def keep(
    core: DiffusionAttributor, examples: Examples, project: Projection | None, limit: int
) -> TrainFeatures:
    """Compute every training gradient of ``core`` once, and keep it.

    Args:
        core: Whose checkpoints and train draws.
        examples: The training set.
        project: The projection, or None to keep whole gradients.
        limit: Most bytes that whole gradients may take.

    Raises:
        InputError: If they take more, or the method has another way to make scores.
    """
    if scores_by_itself(core):
        raise InputError(
            f"{type(core).__name__} overrides how scores are made, which kept gradients cannot "
            "follow: call attribute without cache and without a projection"
        )
    source = ExampleSource(examples, "train")
    features: list[Tensor] = []
    norms: list[Tensor] = []
    with core.bar(len(source)) as bar:
        for at in core.setting.passes(bar.update):
            if project is None:
                count = len(source) * len(core.checkpoints)
                _check_size(count, at.engine.width, at.dtype.itemsize, limit)
            parts = [
                (gradients if project is None else project(gradients, at.position), lengths)
                for gradients, lengths in train_gradients(at, source, core.train_draws)
            ]
            features.append(torch.cat([part for part, _ in parts]))
            norms.append(torch.cat([lengths for _, lengths in parts]))
            del at  # or this checkpoint's weights stay while the next one loads
    keys = [key for block in source.blocks(size=256) for key in block.keys]
    found = {i: (row, key) for row, (i, key) in enumerate(zip(source.ids, keys, strict=True))}
    return TrainFeatures(features, norms, found, core.train_draws)


def _check_size(count: int, width: int, item_size: int, limit: int) -> None:
    size = count * width * item_size
    if size > limit:
        raise InputError(
            f"{count} gradients of {width} numbers take {size:,} bytes, more than "
            f"cache_bytes={limit:,}. Project them: projector_kwargs={{'proj_dim': 4096}}, or "
            "call attribute without cache, which keeps none"
        )


def score(
    core: DiffusionAttributor,
    kept: TrainFeatures,
    train: Examples,
    queries: Examples,
    project: Projection | None,
) -> Tensor:
    """Return the scores ``[query, train]`` of kept training gradients."""
    rows = kept.rows(train, core.train_draws)
    source = ExampleSource(queries, "queries")
    rescale = core.method.rescale

    def part(at: CheckpointPass) -> Tensor:
        gradients = query_gradients(at, source, core.query_draws, [rescale])[0]
        vectors = gradients if project is None else project(gradients, at.position)
        products = vectors @ kept.features[at.position][rows].T
        factors = at.checkpoint.step_size * rescale(kept.norms[at.position][rows])
        return (products * factors).to(torch.promote_types(products.dtype, torch.float32))

    with core.bar(len(source)) as bar:
        # Not in a loop, whose variable would hold a checkpoint while the next one loads.
        parts = list(map(part, core.setting.passes(bar.update)))
    return torch.stack(parts).sum(0)


def self_score(core: DiffusionAttributor, kept: TrainFeatures, train: Examples) -> Tensor:
    """Return ``sum_k eta_k ||r(g_i^k)||^2``, ``[train]``, from the norms alone."""
    rows = kept.rows(train, core.train_draws)
    lengths = [norms[rows] * core.method.rescale(norms[rows]) for norms in kept.norms]
    squares = [c.step_size * own**2 for c, own in zip(core.checkpoints, lengths, strict=True)]
    return torch.stack(squares).sum(0)
