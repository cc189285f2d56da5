"""The training images to show beside a query, and how they stand to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from retrac_plugin.attribution.scores import Scores, Top
from retrac_plugin.report.contents import Method, Report


class Standing(Enum):
    """How a training image stands to a query; the value names its frame."""

    PLAIN = "plain"
    MINORITY = "minority"
    OTHER_CLASS = "other-class"


@dataclass(frozen=True)
class Neighbour:
    """A proponent or an opponent.

    Attributes:
        index: Position in the training set, its id.
        score: Its influence on the query.
        label: Class name, or empty.
        standing: How it stands to the query.
        rank: Among all scores of the query, 1 the highest.
        error: The standard error of its score over what was drawn, or None.
        rank_error: Likewise of its rank.
    """

    index: int
    score: float
    label: str
    standing: Standing
    rank: int
    error: float | None = None
    rank_error: float | None = None


def proponents(report: Report, method: Method, query: int) -> list[Neighbour]:
    """Return the query's ``report.k`` strongest proponents, strongest first."""
    ranks = range(1, report.k + 1)
    return _neighbours(report, method, _one(method, query).proponents(report.k), ranks, query)


def opponents(report: Report, method: Method, query: int) -> list[Neighbour]:
    """Return the query's ``report.k`` strongest opponents, strongest first."""
    last = method.scores.num_train
    ranks = range(last, last - report.k, -1)
    return _neighbours(report, method, _one(method, query).opponents(report.k), ranks, query)


@dataclass(frozen=True)
class End:
    """One end of a query's scores, and what to call it.

    Attributes:
        name: A heading.
        remark: What the training images there did.
        neighbours: They, the most extreme first.
    """

    name: str
    remark: str
    neighbours: Sequence[Neighbour]


def ends(report: Report, method: Method, query: int) -> tuple[End, End]:
    """Return a query's proponents and opponents, whose scores are above and below 0.

    Where there is none, the end says so and shows the nearest instead.
    """
    highest, lowest = proponents(report, method, query), opponents(report, method, query)
    above = [one for one in highest if one.score > 0]
    below = [one for one in lowest if one.score < 0]
    first = End("Proponents", "lowered the loss of this picture most", above)
    if not above:
        first = End("Highest scores", "no proponents: none lowered the loss", highest)
    last = End("Opponents", "raised it most", below)
    if not below:
        last = End("Lowest scores", "no opponents: none raised the loss", lowest)
    return first, last


def legend(report: Report) -> dict[Standing, str]:
    """Return what the frames of this report mean, for those that can occur."""
    meanings = {}
    if report.train_is_minority is not None:
        meanings[Standing.MINORITY] = report.minority_name
    if report.train_labels and report.query_labels:
        meanings[Standing.OTHER_CLASS] = "another class than the query's"
    return meanings


def _one(method: Method, query: int) -> Scores:
    return Scores(method.scores.values[query : query + 1])


def _neighbours(
    report: Report, method: Method, top: Top, ranks: Sequence[int], query: int
) -> list[Neighbour]:
    found = zip(top.indices[0].tolist(), top.values[0].tolist(), ranks, strict=True)
    return [
        Neighbour(
            index,
            score,
            _label(report, index),
            _standing(report, query, index),
            rank,
            _error(method.scores.standard_errors, query, index),
            _error(method.scores.rank_errors, query, index),
        )
        for index, score, rank in found
    ]


def _error(errors: Tensor | None, query: int, index: int) -> float | None:
    return None if errors is None else float(errors[query, index])


def _label(report: Report, index: int) -> str:
    return report.train_labels[index] if report.train_labels else ""


def _standing(report: Report, query: int, index: int) -> Standing:
    if report.train_is_minority is not None and report.train_is_minority[index]:
        return Standing.MINORITY
    if report.train_labels and report.query_labels:
        same = report.train_labels[index] == report.query_labels[query]
        return Standing.PLAIN if same else Standing.OTHER_CLASS
    return Standing.PLAIN
