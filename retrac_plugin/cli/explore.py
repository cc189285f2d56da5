"""``retrac explore``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from retrac_plugin.cli.breaking import broken_down
from retrac_plugin.cli.examples import example
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import methods
from retrac_plugin.cli.showing import named, page_of
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.training import prepared
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.attribution.breakdown_files import Breakdown
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.explore.asking import Draw
    from retrac_plugin.runs.run import Run
    from retrac_plugin.store.store import Store


@click.command(
    epilog=example("retrac explore runs/photos --train photos --method best --store store")
)
@click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder that `retrac featurize` filled for the same methods and options.",
)
@methods
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="This machine's own address: others are refused, with the reason.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Default: the first free one from 7860."
)
@click.option(
    "--breakdown",
    is_flag=True,
    help="Also split scores over checkpoints and the picture's timesteps, of diffusion-tracin and "
    "diffusion-retrac: the page then ranks by each. The picture passes the network once more.",
)
@quiet
@as_json
@job()
def explore(
    store: Path,
    methods: tuple[str, ...],
    host: str,
    port: int | None,
    breakdown: bool,
    job: Job,
) -> None:
    """Drop a picture into a page in the browser, or draw one, and see what made it.

    The page of `retrac attribute`, alive: the training set's features come from a store, so an
    answer takes seconds. Where the run has a pipeline, it draws pictures by their seed, or of a
    prompt. The page is served to this machine alone, and no picture is kept.
    """
    from retrac_plugin.explore.app import check_host, serving
    from retrac_plugin.explore.asking import Explorer
    from retrac_plugin.store.attributing import features_of_all
    from retrac_plugin.store.store import Store

    check_host(host)
    kept = Store.open(store)
    found = job.read_run()
    examples = prepared(job.train_examples(found))
    attributors = job.chosen(found, methods, len(examples))
    features_of_all(attributors)  # or one is refused, before anything is served

    def read(path: Path, prompt: str | None, cache: Path) -> FileExamples:
        return found.query_examples(path, prompt, cache=cache, device=job.computing.device)

    run = job.training.run.resolve().name
    lead = f"{len(examples):,} training images of {run}, by {', '.join(attributors)}."
    told = bool(examples.prompts) or getattr(found.drawer, "takes_prompts", False)
    pages = _Pages(job, kept, attributors, examples, found.description.splitlines(), breakdown)
    explorer = Explorer(read, pages.page, told, _drawing(found, job.computing.device))
    with serving(explorer, lead, host, port) as app:
        tell(f"{lead} Open {app.local_url} (Ctrl-C stops it)")
        answer(lambda: {"url": app.local_url, "methods": list(attributors)})
        app.block_thread()


class _Pages(NamedTuple):
    """What makes the page of a picture from a store."""

    job: Job
    store: Store
    attributors: Mapping[str, Any]
    examples: FileExamples
    findings: list[str]
    breakdown: bool

    def page(self, pictures: FileExamples) -> str:
        """Return the page of some pictures, HTML."""
        from retrac_plugin.store.attributing import attribute_from

        every = attribute_from(self.store, self.attributors, self.examples, pictures)
        scores = {
            name: named(one, self.job, (name, self.attributors[name]), self.examples, pictures)
            for name, one in every
        }
        split = self._split(scores, pictures) if self.breakdown else []
        return page_of([*scores.values()], split, self.examples, pictures, 1, self.findings)

    def _split(self, scores: Mapping[str, Scores], pictures: FileExamples) -> list[Breakdown]:
        """Return how the scores of all listed images split: from a store that costs no more."""
        from retrac_plugin.report.of_scores import DEPTHS
        from retrac_plugin.store.breaking import broken_from

        split, data = partial(broken_from, self.store), (self.examples, pictures)
        return [*broken_down(self.attributors, scores, *data, DEPTHS[0], split).values()]


def _drawing(run: Run, device: str | None) -> Draw | str:
    """Return what draws as the run does, or why nothing does."""
    if isinstance(run.drawer, str):
        return run.drawer
    return partial(run.drawer.draw, device=run.device(device))
