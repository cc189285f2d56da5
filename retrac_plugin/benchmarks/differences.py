"""Differences of two methods' rank correlations, with intervals that a statement can stand on.

Both methods answer the same queries about the same retrained models, so their difference is
resampled in pairs: queries and subsets are drawn with replacement, each time the same for both.
Queries alone would leave out that other subsets could have been drawn. So it is with images that
were left out, in the place of subsets.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from retrac_plugin.benchmarks.csv_files import write_records
from retrac_plugin.benchmarks.interval import LEVEL
from retrac_plugin.benchmarks.outcome import Outcome, has_truth
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.lds import retrained, subset_sums
from retrac_plugin.metrics.leave_one_out import continued_sides
from retrac_plugin.progress import over

RESAMPLES = 1000


Sides = Callable[[Tensor, Evidence], tuple[Tensor, Tensor]]
"""``(scores [query, train], evidence) -> predicted, and what came of it``, ``[query, model]``."""


@dataclass(frozen=True)
class Difference:
    """How far one method's LDS, or another mean rank correlation, is above another's.

    Attributes:
        queries: The kind of query.
        method: The method.
        other: The one it is compared with.
        difference: Its LDS minus the other's.
        low: Lower end of the 95% interval over queries and subsets.
        high: Upper end.
    """

    queries: str
    method: str
    other: str
    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0: only then is one method above the other."""
        return self.low > 0 or self.high < 0


def lds_differences(task: Task, outcomes: Sequence[Outcome], seed: int = 0) -> list[Difference]:
    """Return the difference of every two methods, for every kind of query that has a truth.

    Args:
        task: The task.
        outcomes: The methods; those that failed are left out.
        seed: Of the resampling.
    """
    kinds = [kind for kind in task.queries if has_truth(kind)]
    return _of_kinds(kinds, outcomes, seed, _by_subsets)


def continued_differences(
    task: Task, outcomes: Sequence[Outcome], seed: int = 0
) -> list[Difference]:
    """Return the same of ``leave-one-out-continued``; images left out are resampled.

    Args:
        task: The task; kinds of query without that evidence give nothing.
        outcomes: See ``lds_differences``, like ``seed``.
        seed: Of the resampling.
    """
    kinds = [kind for kind in task.queries if kind.evidence.continued_changes is not None]
    return _of_kinds(kinds, outcomes, seed, continued_sides)


def _of_kinds(
    kinds: Sequence[Queries], outcomes: Sequence[Outcome], seed: int, sides: Sides
) -> list[Difference]:
    scored = [outcome for outcome in outcomes if outcome.scores]
    return [found for kind in kinds for found in _of_kind(kind, scored, seed, sides)]


def _by_subsets(values: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    goodness = -retrained(evidence, *values.shape).losses.nanmean(0).T
    return subset_sums(values, evidence), goodness


def _of_kind(
    kind: Queries, outcomes: Sequence[Outcome], seed: int, sides: Sides
) -> Iterator[Difference]:
    reported = torch.arange(kind.held_back, len(kind.examples))
    evidence = kind.evidence.of_queries(reported)
    both = [sides(outcome.scores[kind.name].values[reported], evidence) for outcome in outcomes]
    if not both:
        return
    sums, goodness = torch.stack([own for own, _ in both]), both[0][1]
    ours = _mean_correlations(sums, goodness)
    drawn = _resampled(sums, goodness, kind.name, seed)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    for first, second in combinations(range(len(outcomes)), 2):
        found, each = ours[first] - ours[second], drawn[:, first] - drawn[:, second]
        low, high = (found + each.quantile(tails) - each.mean()).tolist()
        names = outcomes[first].method, outcomes[second].method
        yield Difference(kind.name, *names, found.item(), low, high)


def _resampled(sums: Tensor, goodness: Tensor, name: str, seed: int) -> Tensor:
    """Return every method's LDS for each set of queries and subsets drawn, ``[set, method]``."""
    generator = torch.Generator().manual_seed(seed)
    queries, subsets = goodness.shape
    found = []
    for _ in over(range(RESAMPLES), f"resampling, {name}", "draw", leave=False):
        rows = torch.randint(queries, (queries,), generator=generator)
        columns = torch.randint(subsets, (subsets,), generator=generator)
        found.append(_mean_correlations(sums[:, rows][..., columns], goodness[rows][:, columns]))
    return torch.stack(found)


def _mean_correlations(sums: Tensor, goodness: Tensor) -> Tensor:
    """Return the mean over queries of Spearman's correlation over subsets, ``[method]``.

    Args:
        sums: ``[method, query, subset]``.
        goodness: ``[query, subset]``.
    """
    both = sums.flatten(0, 1), goodness.repeat(len(sums), 1)
    return spearman_rows(*both).view(len(sums), -1).mean(1)


@dataclass(frozen=True)
class Comparison:
    """How a method stands to all others.

    Attributes:
        method: The method.
        above: Those that it is clearly above.
        below: Those that it is clearly below.
        unclear: Those that it cannot be told apart from.
    """

    method: str
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


def comparisons(differences: Iterable[Difference]) -> list[Comparison]:
    """Return how each method stands to all others, the one that is above most of them first."""
    of: dict[str, Comparison] = {}
    for each in differences:
        pair = (each.method, each.other)
        first, second = (of.setdefault(name, Comparison(name)) for name in pair)
        if not each.is_clear:
            first.unclear.append(second.method)
            second.unclear.append(first.method)
            continue
        higher, lower = (first, second) if each.difference > 0 else (second, first)
        higher.above.append(lower.method)
        lower.below.append(higher.method)
    return sorted(of.values(), key=lambda each: len(each.above), reverse=True)


def write_differences(differences: Iterable[Difference], path: Path) -> None:
    """Write one line a pair."""
    write_records(Difference, map(asdict, differences), path)


def read_differences(path: Path) -> list[Difference]:
    """Read what ``write_differences`` wrote; nothing where there is no file.

    Raises:
        InputError: If it cannot be read.
    """
    if not path.exists():
        return []
    with reading(path, InputError, "the differences"), path.open(newline="") as file:
        return [
            Difference(
                line["queries"],
                line["method"],
                line["other"],
                *(float(line[name]) for name in ("difference", "low", "high")),
            )
            for line in csv.DictReader(file)
        ]
