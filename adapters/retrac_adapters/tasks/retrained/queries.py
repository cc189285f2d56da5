"""The queries of a task whose ground truth is retraining, and what is known of them."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_adapters.tasks.retrained.images import SELECTION, Images
from retrac_adapters.tasks.retrained.truth import Truth
from retrac_plugin.benchmarks import Queries
from retrac_plugin.metrics import Evidence


def all_queries(images: Images, generated: Tensor) -> Tensor:
    """Return the queries ``[query, C, H, W]`` whose losses a ground truth holds, in its order."""
    return torch.cat([images.held_out, generated, images.train[images.traced]])


def parts_of(images: Images, generated: Tensor) -> dict[str, slice]:
    """Return where each kind of query lies among ``all_queries``."""
    held_out, drawn = len(images.held_out), len(images.held_out) + len(generated)
    return {
        "validation": slice(0, held_out),
        "generated": slice(held_out, drawn),
        "training": slice(drawn, None),
    }


def queries_of(images: Images, known: Truth) -> tuple[Queries, ...]:
    """Return the queries by kind; those reported on once more where groups were left out."""
    parts = parts_of(images, known.generated)
    traced = images.train_labels[images.traced]
    validation = _evidence(images, known, parts["validation"], images.held_out_labels)
    drawn = _evidence(images, known, parts["generated"], _guess(known.generated, images))
    training = _evidence(images, known, parts["training"], traced, images.traced)
    kinds = (
        Queries("validation", images.held_out, validation, held_back=SELECTION),
        Queries("generated", known.generated, drawn, held_back=SELECTION),
        Queries("training", images.train[images.traced], training),
    )
    if known.rest is None or known.rest_losses is None:
        return kinds
    losses = known.rest_losses
    return kinds + tuple(
        _of_groups(kind, known.rest, losses[..., parts[kind.name]]) for kind in kinds
    )


def _of_groups(kind: Queries, rest: Tensor, losses: Tensor) -> Queries:
    """Return the queries that are reported on, with what leaving out groups did in place of halves.

    What is left is a subset as a half is one, so LDS is the rank correlation over groups.
    """
    known = Evidence(subsets=rest, subset_losses=losses[..., kind.held_back :])
    return Queries(f"{kind.name}-groups", kind.examples[kind.held_back :], known)


def _guess(pictures: Tensor, images: Images) -> Tensor:
    """Return what a classifier of the training images takes pictures for."""
    from sklearn.svm import SVC

    classifier = SVC().fit(images.train.flatten(1).numpy(), images.train_labels.numpy())
    return torch.from_numpy(classifier.predict(pictures.flatten(1).numpy()))


def _evidence(
    images: Images,
    known: Truth,
    part: slice,
    labels: Tensor,
    traced: Tensor | None = None,
) -> Evidence:
    left_out, changes = known.left_out_losses, known.continued_changes
    return Evidence(
        train_labels=images.train_labels,
        query_labels=labels,
        train_is_minority=images.in_minority(images.train_labels),
        query_is_minority=images.in_minority(labels),
        query_train_index=traced,
        subsets=known.subsets,
        subset_losses=known.losses[..., part],
        left_out=known.left_out,
        left_out_losses=None if left_out is None else left_out[..., part],
        continued=known.continued,
        continued_changes=None if changes is None else changes[:, part],
    )
