"""The table of metrics, from registered metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean

import torch

from retrac_plugin.hookspecs import MetricEntry
from retrac_plugin.metrics import Evidence
from retrac_plugin.report.contents import Method, MetricRow

CHANCE_DRAWS = 20
"""Random score matrices over which the chance level is averaged."""


def measured(
    entries: Iterable[MetricEntry], methods: Sequence[Method], evidence: Evidence, seed: int = 0
) -> tuple[MetricRow, ...]:
    """Measure every method by every metric.

    Args:
        entries: The metrics, such as some of ``retrac_plugin.metrics.ENTRIES``.
        methods: The methods, with scores ``[query, train]`` on the same data.
        evidence: What the metrics need to know.
        seed: Of the random scores that show the chance level.

    Returns:
        One row per metric, in order, with the mean of random scores as its chance level.

    Raises:
        InputError: If a metric lacks evidence or does not fit the data.
    """
    return tuple(_row(entry, methods, evidence, seed) for entry in entries)


def _row(entry: MetricEntry, methods: Sequence[Method], evidence: Evidence, seed: int) -> MetricRow:
    metric = entry.load()
    noise = _noise(methods[0].scores.values.shape, seed)
    return MetricRow(
        name=entry.name,
        values=tuple(metric(method.scores.values, evidence) for method in methods),
        higher_is_better=entry.higher_is_better,
        chance=fmean(metric(values, evidence) for values in noise),
        meaning=entry.summary,
        caution=entry.caution,
    )


def _noise(shape: torch.Size, seed: int) -> Iterator[torch.Tensor]:
    """Yield random scores one matrix at a time, the same for every metric."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(CHANCE_DRAWS):
        yield torch.randn(shape, generator=generator)
