"""What the page's script is given: lists of positions and texts, from which it builds cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from retrac_plugin.report.certainty import ERRORS, certainty
from retrac_plugin.report.contents import Method, Report
from retrac_plugin.report.generality import generality
from retrac_plugin.report.neighbours import End, Neighbour, ends, legend
from retrac_plugin.report.numbers import (
    PLUS_MINUS,
    decimals_for,
    exponent,
    score_text,
    unit_text,
)
from retrac_plugin.report.terms import BYTES_EACH, shared_timesteps, terms_of
from retrac_plugin.report.thumbnails import thumbnails

QUERY_BYTES = 3_000_000
"""What the queries may weigh."""

SPLIT_BYTES = 6_500_000
"""What the terms of scores may weigh; where all would weigh more, each list has those of its first.
"""

TOLD_APART = 6
"""The first of each list have as many digits as tell them apart; more would be told of noise."""

Listed = dict[str, Any]
"""What becomes JSON."""


def listing(report: Report) -> Listed:
    """Return everything the script needs, as texts, numbers, lists and mappings."""
    found = [
        [ends(report, method, query) for method in report.methods]
        for query in range(len(report.query_images))
    ]
    named = [one.index for of in found for pair in of for end in pair for one in end.neighbours]
    grouped = [index for group in report.groups for index, _ in group.members]
    listed = sorted({*named, *grouped})
    place = {index: position for position, index in enumerate(listed)}
    depth = _split_depth(report)
    answers = [
        [
            _answer(method, query, pair, place, depth)
            for method, pair in zip(report.methods, of, strict=True)
        ]
        for query, of in enumerate(found)
    ]
    train = thumbnails(report.train_images, listed)
    return {
        "blocks": train.as_blocks,
        "images": [_image(report, index, train.sources) for index in listed],
        "queries": _queries(report),
        "opening": report.opening,
        "methods": [_method(method, place) for method in report.methods],
        "answers": answers,
        "groups": [
            {"name": g.name, "remark": g.remark, "members": [[place[i], t] for i, t in g.members]}
            for g in report.groups
        ],
        "frames": {standing.value: meaning for standing, meaning in legend(report).items()},
    }


def _split_depth(report: Report) -> int:
    """Return of how many images of each list the page has the terms."""
    broken = [method.breakdown for method in report.methods if method.breakdown is not None]
    weight = BYTES_EACH * sum(each.values.numel() for each in broken)
    return report.k if weight <= SPLIT_BYTES else max(1, report.k * SPLIT_BYTES // weight)


def _image(report: Report, index: int, sources: Mapping[int, str]) -> Listed:
    return {
        "index": index,
        "name": _text(report.train_names, index, f"#{index}"),
        "label": _text(report.train_labels, index),
        "caption": _text(report.train_captions, index),
        "source": sources.get(index, ""),
    }


def _queries(report: Report) -> list[Listed]:
    pictures = thumbnails(report.query_images, range(len(report.query_images)), QUERY_BYTES)
    return [
        {
            "name": _text(report.query_names, query, f"Query {query}"),
            "label": _text(report.query_labels, query),
            "caption": _text(report.query_captions, query),
            "source": pictures.sources.get(query, ""),
        }
        for query in range(len(report.query_images))
    ]


def _text(texts: Sequence[str], index: int, default: str = "") -> str:
    return texts[index] if texts else default


def _method(method: Method, place: Mapping[int, int]) -> Listed:
    found = generality(method)
    general = {place[i]: count for i, count in found.named.items() if i in place}
    broken = method.breakdown
    return {
        "name": method.name,
        "places": found.places,
        "general": general,
        "checkpoints": [] if broken is None else broken.checkpoint_names,
        "timesteps": shared_timesteps(broken),
    }


def _answer(
    method: Method, query: int, pair: tuple[End, End], place: Mapping[int, int], depth: int
) -> Listed:
    scores = [one.score for end in pair for one in end.neighbours]
    first = [one.score for end in pair for one in end.neighbours[:TOLD_APART]]
    power = exponent(scores)
    # Where a standard error stands beside each score, it says which of its digits count.
    decimals = decimals_for(first if method.scores.standard_errors is None else [], power)
    entry = partial(_entry, place=place, power=power, decimals=decimals)
    return {
        "unit": unit_text(power),
        "certainty": _certainty(method, query),
        "terms": {
            place[one.index]: terms
            for end in pair
            for one in end.neighbours[:depth]
            if (terms := terms_of(method.breakdown, query, one.index, power)) is not None
        },
        "ends": [
            {"name": end.name, "remark": end.remark, "entries": list(map(entry, end.neighbours))}
            for end in pair
        ],
    }


def _entry(one: Neighbour, place: Mapping[int, int], power: int, decimals: int) -> list[Any]:
    """Return position among the images, score, rank and standing."""
    error = "" if one.rank_error is None else f" {PLUS_MINUS} {one.rank_error:.1f}"
    score = score_text(one.score, power, one.error, decimals)
    return [place[one.index], score, f"{one.rank:,}{error}", one.standing.value]


def _certainty(method: Method, query: int) -> str:
    found = certainty(method.scores, query)
    if found is None:
        return ""
    told = f"{found.beyond:,} of {found.of:,} beyond {ERRORS} standard errors"
    if found.by_chance is None:
        return told
    return f"{told} of {found.draws} draws; about {found.by_chance:,.0f} would be by chance"
