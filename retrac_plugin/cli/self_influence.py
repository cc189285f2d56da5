"""``retrac self-influence``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.numbers import signed
from retrac_plugin.cli.output import check_output
from retrac_plugin.cli.paging import page, try_page
from retrac_plugin.cli.resuming import resuming
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.training import prepared
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from torch import Tensor

    from retrac_plugin.attribution.self_influence_files import SelfInfluence
    from retrac_plugin.data.image_files import FileExamples


@click.command(
    epilog=example(
        "retrac self-influence runs/photos --train photos --out self.safetensors",
        "retrac self-influence runs/photos --train photos --method training-loss",
    )
)
@click.option(
    "--method",
    default="diffusion-retrac",
    show_default=True,
    help="A method that `retrac list` names.",
)
@click.option(
    "-k",
    "--top",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Training images to print.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("retrac-self-influence.safetensors"),
    show_default=True,
    help="File for all of them, tensor self_influence [train]; the page is the same with .html.",
)
@page
@quiet
@as_json
@job()
def self_influence(
    method: str,
    top: int,
    out: Path,
    page: bool,
    job: Job,
) -> None:
    """Rank the training images by their influence on themselves.

    High self-influence marks outliers, mislabelled and memorised images. RUN is the folder of a
    training run, as for `retrac attribute`. Each image is its own query: one network pass for each
    of --timesteps times --noise-draws, where `retrac attribute` takes one an image. The method
    training-loss ranks by the images' own losses instead, by forward passes alone.
    """
    from retrac_plugin import plugins
    from retrac_plugin.attribution.checking import check_self_influence
    from retrac_plugin.attribution.self_influence_files import SelfInfluence

    plugins.get_attributor(method)
    check_output(out)  # what fails at the end is told of before the work
    found = job.read_run()
    tell(found.description)
    examples = job.train_examples(found)
    ready = prepared(examples)
    attributors = dict(zip([method], job.attributors(found, [method]), strict=True))
    attributors, done = resuming(attributors, found, {"train": ready}, out.with_suffix(".work"))
    attributor = attributors[method]
    returned = _asked(attributor, method)(ready, **_draws(attributor, job))
    values = check_self_influence(returned, method, len(examples)).cpu()
    about = {"method": method, "run": str(job.training.run.resolve()), **job.draws.about()}
    kept = SelfInfluence(values, tuple(examples.names), about, tuple(examples.prompts))
    kept.save(out)
    tell(f"\n{method}: self-influence [train] in {out}")
    best = values.argsort(descending=True)[:top].tolist()
    for index, text in zip(best, signed(values[best].tolist(), fewest=4), strict=True):
        tell(f"  {examples.names[index]}  {text}")
    findings, written = found.description.splitlines(), None
    if page:
        written = try_page(lambda: _page(kept, examples, findings), out.with_suffix(".html"))
    done()
    answer(
        lambda: {
            "findings": findings,
            "method": method,
            "self_influence": out,
            "highest": [
                {"index": i, "name": examples.names[i], "value": values[i].item()} for i in best
            ],
            "page": written,
        }
    )


def _asked(attributor: Any, method: str) -> Callable[..., Tensor]:
    """Return how a method is asked for self-influence.

    Raises:
        InputError: If it has none.
    """
    from retrac_plugin.errors import InputError

    found: Callable[..., Tensor] | None = getattr(attributor, "self_influence", None)
    if found is None:
        raise InputError(
            f"--method {method}: it scores no influence of an image on itself, expected one that "
            "does: diffusion-retrac, diffusion-tracin or training-loss"
        )
    return found


def _draws(attributor: Any, job: Job) -> dict[str, Any]:
    """Return the draws of an image as a query, for methods that take them apart from training's."""
    takes = inspect.signature(attributor.self_influence).parameters
    return {"query_draws": job.draws.rule()} if "query_draws" in takes else {}


def _page(kept: SelfInfluence, examples: FileExamples, findings: list[str]) -> str:
    from retrac_plugin.report.of_scores import report_of_selves
    from retrac_plugin.report.page import render
    from retrac_plugin.report.sources import ExamplePictures

    report = report_of_selves(
        kept.values,
        ExamplePictures(examples),
        kept.train_names,
        about=kept.about,
        captions=kept.train_prompts,
        findings=findings,
    )
    return render(report)
