"""Differences of two methods' LDS, with intervals that a statement can stand on.

Both methods answer the same queries about the same retrained models, so their difference is
resampled in pairs: queries and subsets are drawn with replacement, each time the same for both.
Queries alone would leave out that other subsets could have been drawn.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from retrac_plugin.benchmarks.interval import LEVEL
from retrac_plugin.benchmarks.outcome import Outcome, has_truth
from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.files import write_atomically
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.lds import retrained, subset_sums

RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """How far one method's LDS is above another's.

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
    scored = [outcome for outcome in outcomes if outcome.scores]
    kinds = [kind for kind in task.queries if has_truth(kind)]
    return [found for kind in kinds for found in _of_kind(kind, scored, seed)]


def _of_kind(kind: Queries, outcomes: Sequence[Outcome], seed: int) -> Iterator[Difference]:
    reported = torch.arange(kind.held_back, len(kind.examples))
    evidence = kind.evidence.of_queries(reported)
    values = [outcome.scores[kind.name].values[reported] for outcome in outcomes]
    sums = torch.stack([subset_sums(each, evidence) for each in values])
    goodness = -retrained(evidence, *values[0].shape).losses.nanmean(0).T
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
    for _ in tqdm(range(RESAMPLES), desc=f"resampling, {name}", disable=None, leave=False):
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


def write_differences(differences: Sequence[Difference], path: Path) -> None:
    """Write one line a pair."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Difference)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, differences))
    write_atomically(path, lambda file: file.write_text(text.getvalue()))
