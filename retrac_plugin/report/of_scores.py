"""The report of scores that someone computed, and of their training images' self-influence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.scores import Scores
from retrac_plugin.errors import InputError
from retrac_plugin.report.contents import Group, Method, Pictures, Report
from retrac_plugin.report.curating import near_duplicates, outliers
from retrac_plugin.report.generality import generally_influential

DEPTHS = (50, 36, 24, 12)
"""How many proponents and opponents a page may list, the most first."""

MOST_LISTED = 12_000
"""Training images on a page: with more, its lists are cut, or it could not be opened."""

OUTLIERS = 120
"""Training images of the highest self-influence on a page."""

TITLE = "Which training images made these pictures?"


def report_of(
    scores: Sequence[Scores],
    train: Pictures,
    queries: Pictures,
    *,
    top: int = 1,
    findings: Sequence[str] = (),
    groups: Sequence[Group] = (),
    breakdowns: Sequence[Breakdown] = (),
) -> Report:
    """Return the report of one or more methods' scores of the same pictures.

    Args:
        scores: One per method.
        train: The training images.
        queries: The pictures to explain.
        top: Proponents and opponents to list at least.
        findings: What was recorded and what was not, a line each.
        groups: Further training images to look through.
        breakdowns: How some of the scores split over checkpoints and timesteps, of any method.

    Raises:
        InputError: If the scores are of different pictures, or do not fit the pictures given, or a
            breakdown is of other scores.
    """
    first = scores[0]
    for other in scores[1:]:
        if (other.train_names, other.query_names) != (first.train_names, first.query_names):
            raise InputError("the scores are of different pictures: make a page of each")
    names = [str(one.about.get("method", f"method {n}")) for n, one in enumerate(scores, start=1)]
    broken = {str(each.about.get("method")): each for each in breakdowns}
    if not broken.keys() <= set(names):
        raise InputError(
            f"breakdowns of {', '.join(broken.keys() - set(names))}: there are no scores of that"
        )
    methods = [
        Method(name, one, breakdown=broken.get(name))
        for name, one in zip(names, scores, strict=True)
    ]
    general = generally_influential(methods)
    return Report(
        title=TITLE,
        lead=_lead(methods, first.num_train, len(queries)),
        train_images=train,
        query_images=queries,
        methods=methods,
        k=_depth(methods, top, len(train)),
        groups=[*groups, *([] if general is None else [general])],
        train_names=first.train_names,
        query_names=first.query_names,
        train_captions=first.train_prompts,
        query_captions=first.prompts,
        configuration=configuration({m.name: m.scores.about for m in methods}),
        findings=findings,
    )


def report_of_selves(
    values: Tensor,
    train: Pictures,
    names: Sequence[str],
    *,
    about: Mapping[str, Any],
    captions: Sequence[str] = (),
    findings: Sequence[str] = (),
) -> Report:
    """Return the curator's report: outliers, and near-duplicates among them.

    Args:
        values: Self-influence ``[train]``.
        train: The training images.
        names: Their names.
        about: How the values were made.
        captions: Of the training images, or empty.
        findings: What was recorded and what was not, a line each.
    """
    return Report(
        title="Which training images stand out?",
        lead=f"{len(train):,} training images by {about.get('method', 'their self-influence')}. "
        "Tick those to leave out, and download the list.",
        train_images=train,
        query_images=[],
        methods=[],
        k=1,
        groups=curated(values, train, names, str(about.get("method", ""))),
        train_names=names,
        train_captions=captions,
        configuration=configuration({"": about}),
        findings=findings,
    )


def curated(values: Tensor, train: Pictures, names: Sequence[str], method: str = "") -> list[Group]:
    """Return the images with the highest self-influence, and the near-duplicates among them."""
    highest = outliers(values, OUTLIERS, method)
    names = names or [f"#{index}" for index in range(len(train))]
    alike = near_duplicates(train, [index for index, _ in highest.members], names)
    return [highest] if alike is None else [highest, alike]


def configuration(abouts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return how scores were made, as texts: what methods have in common is said once."""
    keys = dict.fromkeys(key for about in abouts.values() for key in about if key != "method")
    return {key.replace("_", " "): _said(key, abouts) for key in keys}


def _said(key: str, abouts: Mapping[str, Mapping[str, Any]]) -> str:
    texts = {name: _text(about[key]) for name, about in abouts.items() if key in about}
    if len(set(texts.values())) == 1 and len(texts) == len(abouts):
        return next(iter(texts.values()))
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _lead(methods: Sequence[Method], train: int, queries: int) -> str:
    pictures = f"{queries:,} picture{'s' if queries != 1 else ''}"
    return f"{pictures} and {train:,} training images, by {', '.join(m.name for m in methods)}."


def _depth(methods: Sequence[Method], top: int, train: int) -> int:
    """Return how long lists are: as long as the images in them are not too many for a page."""
    depth = next((d for d in DEPTHS if _listed(methods, min(d, train)) <= MOST_LISTED), DEPTHS[-1])
    return min(max(depth, top), train)


def _listed(methods: Sequence[Method], depth: int) -> int:
    found: set[int] = set()
    for method in methods:
        for top in (method.scores.proponents(depth), method.scores.opponents(depth)):
            found.update(top.indices.flatten().tolist())
    return len(found)
