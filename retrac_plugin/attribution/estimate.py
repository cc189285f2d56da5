"""What an attribution will take, from a few real batches of it: time, memory and disk.

Each side costs as many network passes as it has draws, at every checkpoint, and the training side
also products with every query. Both are timed on a few batches, after a warm-up, and counted up;
the queries' gradients, which decide on memory, are counted alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.timing import Probe
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.errors import InputError

SCORE_BYTES = 4
"""Of one score on disk."""

HEADER_BYTES = 400
"""Of a file of scores, about."""


@dataclass(frozen=True)
class Estimate:
    """What an attribution will take.

    Attributes:
        encoding: Seconds to encode images and captions that are not yet.
        loading: Seconds to load all checkpoints.
        queries: Seconds for the gradients of the queries.
        training: Seconds for those of the training set, and their products with the queries.
        memory: Bytes of the whole process at its peak, on the CPU.
        device_memory: Bytes on another device than the CPU at the peak, 0 without one.
        query_bytes: Bytes of the gradients of a block of queries, part of either unless in a file.
        blocks: In how many blocks queries are taken, each with a pass over the training set.
        scores: Bytes of the files of scores.
        cache: Bytes that encoding adds to the cache.
    """

    encoding: float
    loading: float
    queries: float
    training: float
    memory: int
    device_memory: int
    query_bytes: int
    blocks: int
    scores: int
    cache: int

    @property
    def seconds(self) -> float:
        """All of them together."""
        return self.encoding + self.loading + self.queries + self.training


def estimate(
    attributors: Sequence[DiffusionAttributor], train: Examples, num_queries: int, repeats: int = 1
) -> Estimate:
    """Estimate ``attribute_together(attributors, train, queries)``.

    Args:
        attributors: The methods, which share model, checkpoints and draws.
        train: The training set; its first samples are timed, also in the place of queries.
        num_queries: How many queries there will be.
        repeats: How often all is done, with other draws.

    Raises:
        InputError: If a method is not one of Diffusion-TracIn and Diffusion-ReTrac.
    """
    others = [type(a).__name__ for a in attributors if not isinstance(a, DiffusionAttributor)]
    if others or not attributors or num_queries < 1:
        raise InputError(
            f"estimate: expected DiffusionTracIn or DiffusionReTrac and at least one query, got "
            f"{', '.join(others) or len(attributors)} and {num_queries}"
        )
    encoding, cache = encoding_of(train)
    first, source = attributors[0], ExampleSource(train, "train")
    plan = first.job.plan(source, num_queries, len(attributors))
    probe = Probe(first, train, plan, len(attributors))
    num_checkpoints, num_train = len(first.checkpoints), len(source)
    times, blocks = repeats * num_checkpoints, -(-num_queries // plan.queries_at_once)
    of_errors = 2 if repeats > 1 else 0  # of scores and of ranks
    values = (1 + of_errors) * num_queries * num_train + num_checkpoints * num_train
    held = IN_MEMORY * len(attributors) * num_queries * num_train * SCORE_BYTES
    held += 0 if first.job.query_store else probe.query_bytes
    elsewhere = probe.device.type != "cpu"
    return Estimate(
        encoding=encoding,
        loading=times * probe.loading,
        queries=times * num_queries * probe.per_query,
        training=times * blocks * num_train * probe.per_sample,
        memory=probe.memory + (0 if elsewhere else held),
        device_memory=probe.device_memory + held if elsewhere else 0,
        query_bytes=probe.query_bytes,
        blocks=blocks,
        scores=len(attributors)
        * (values * SCORE_BYTES + HEADER_BYTES + bytes_of_names(train, num_queries)),
        cache=cache,
    )


IN_MEMORY = 3
"""Scores are there as products, as their transpose, and summed."""


def bytes_of_names(train: Examples, num_queries: int) -> int:
    """Return the bytes of the images' names and prompts in a file of scores.

    The queries' are not known yet, and are taken to be as long as the training set's.
    """
    if not isinstance(train, FileExamples):
        return 0
    names, prompts = (
        len(json.dumps(json.dumps(list(texts)))) for texts in (train.names, train.prompts)
    )
    return names + (names + prompts) * num_queries // max(1, len(train))


def encoding_of(train: Examples) -> tuple[float, int]:
    """Return the seconds and the bytes that encoding what is not yet encoded will take."""
    missing = train.missing if isinstance(train, FileExamples) else 0
    if not missing:
        return 0.0, 0
    start = time.perf_counter()
    train[0]  # and some more, which share its file
    seconds = time.perf_counter() - start
    done = missing - train.missing
    return seconds * missing / max(1, done), missing * train.bytes_each
