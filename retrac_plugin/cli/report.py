"""``retrac report``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.paging import write_own
from retrac_plugin.cli.training import EXISTING
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.attribution.breakdown_files import Breakdown
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.attribution.self_influence_files import SelfInfluence
    from retrac_plugin.report import Report


@click.command(
    epilog=example("retrac report scores/*.safetensors --train photos --queries drawn.png")
)
@click.argument("files", metavar="SCORES...", type=EXISTING, nargs=-1, required=True)
@click.option(
    "--train",
    type=EXISTING,
    required=True,
    help="The training set that was attributed: its folder of images, or its file.",
)
@click.option(
    "--queries",
    type=EXISTING,
    help="The pictures that were explained: an image, a folder, or a file.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page. Default: index.html beside the first file of scores.",
)
@quiet
@as_json
def report(files: tuple[Path, ...], train: Path, queries: Path | None, out: Path | None) -> None:
    """Make a page from scores on disk, to look at in a browser.

    SCORES are files that `retrac attribute` and `retrac self-influence` wrote, of one training set.
    Those of `--breakdown` belong to the scores of their method.
    The page shows pictures as they lie in their files, uncropped, and needs no other file.
    """
    from retrac_plugin.report.page import render

    scores, splits, selves = _read(files)
    if not scores and not selves:
        raise click.UsageError("expected a file of scores, or of self-influence")
    if scores and queries is None:
        raise click.UsageError("scores need --queries, the pictures that were explained")
    if len(selves) > 1:
        raise click.UsageError("expected one file of self-influence at most")
    made = _of_scores(scores, splits, selves, train, queries) if scores and queries else None
    page = render(made or _of_selves(selves[0], train))
    path = out or files[0].parent / "index.html"
    write_own(page, path)
    answer(lambda: {"page": path})


def _read(files: Sequence[Path]) -> tuple[list[Scores], list[Breakdown], list[SelfInfluence]]:
    from retrac_plugin.attribution.breakdown_files import Breakdown, holds_breakdown
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.attribution.self_influence_files import SelfInfluence, holds_self_influence

    splits = [path for path in files if holds_breakdown(path)]
    selves = [path for path in files if holds_self_influence(path)]
    scores = [path for path in files if path not in {*splits, *selves}]
    return (
        [Scores.load(path) for path in scores],
        [Breakdown.load(path) for path in splits],
        [SelfInfluence.load(path) for path in selves],
    )


def _of_scores(
    scores: list[Scores],
    splits: list[Breakdown],
    selves: list[SelfInfluence],
    train: Path,
    queries: Path,
) -> Report:
    from retrac_plugin.errors import InputError
    from retrac_plugin.report.of_scores import curated, report_of
    from retrac_plugin.report.sources import pictures_at

    first = scores[0]
    pictures, images = first.values.shape
    shown = pictures_at(train, first.train_names, images)
    if any(one.train_names != first.train_names or len(one.values) != images for one in selves):
        raise InputError("the files are of different training sets: make a page of each")
    groups = [
        group
        for one in selves
        for group in curated(one.values, shown, one.train_names, str(one.about.get("method", "")))
    ]
    asked = pictures_at(queries, first.query_names, pictures)
    return report_of(scores, shown, asked, groups=groups, breakdowns=splits)


def _of_selves(one: SelfInfluence, train: Path) -> Report:
    from retrac_plugin.report.of_scores import report_of_selves
    from retrac_plugin.report.sources import pictures_at

    pictures = pictures_at(train, one.train_names, len(one.values))
    return report_of_selves(
        one.values, pictures, one.train_names, about=one.about, captions=one.train_prompts
    )
