"""Scores with the names of what they are of, and their page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.job import Job, takes_alike

if TYPE_CHECKING:
    from retrac_plugin.attribution.breakdown_files import Breakdown
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.data.image_files import FileExamples


def page_of(
    scores: list[Scores],
    split: list[Breakdown],
    examples: FileExamples,
    pictures: FileExamples,
    top: int,
    findings: list[str],
) -> str:
    """Return the page of scores, HTML."""
    from retrac_plugin.report.of_scores import report_of
    from retrac_plugin.report.page import render
    from retrac_plugin.report.sources import ExamplePictures

    train, queries = ExamplePictures(examples), ExamplePictures(pictures)
    return render(
        report_of(
            scores,
            train,
            queries,
            top=top,
            findings=findings,
            breakdowns=split,
        )
    )


def of_columns(scores: Any, examples: FileExamples) -> FileExamples:
    """Return the examples that columns of scores are of: all, or those that are listed."""
    from retrac_plugin.data.listed import Listed

    positions = getattr(scores, "train_positions", None)
    return examples if positions is None else Listed(examples, positions.tolist())


def named(
    scores: Scores,
    job: Job,
    method: tuple[str, Any],
    examples: FileExamples,
    pictures: FileExamples,
    prompt: str | None = None,
) -> Scores:
    """Return scores that say of what they are, and by which method (its name, and it itself)."""
    name, attributor = method
    about = {
        "method": scores.about.get("method", name),
        "run": str(job.training.run.resolve()),
        **job.draws.about(takes_alike(attributor)),
    }
    return replace(
        scores,
        about={**scores.about, **about},
        train_names=tuple(examples.names),
        query_names=tuple(pictures.names),
        train_prompts=tuple(examples.prompts),
        prompts=tuple(pictures.prompts) if prompt is None else (prompt,) * len(pictures),
    )
