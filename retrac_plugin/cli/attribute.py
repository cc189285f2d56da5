"""``retrac attribute``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.breaking import breakdown, broken_down, file_of, write_breakdowns
from retrac_plugin.cli.computing import max_memory, query_store
from retrac_plugin.cli.drawing import repeats
from retrac_plugin.cli.examples import example
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import check_method, methods
from retrac_plugin.cli.output import check_output
from retrac_plugin.cli.paging import page, try_page
from retrac_plugin.cli.resuming import resuming
from retrac_plugin.cli.scoring import from_store, scored
from retrac_plugin.cli.showing import named, of_columns, page_of
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.top_lists import answer_of, top_lists, write_tops
from retrac_plugin.cli.training import EXISTING, prepared
from retrac_plugin.cli.voice import answer, as_json, quiet

if TYPE_CHECKING:
    from retrac_plugin.attribution.scores import Scores


@click.command(
    epilog=example(
        "retrac attribute runs/photos --train photos --queries drawn.png --out scores",
        'retrac attribute runs/sd --queries cat.png --prompt "a cat" --breakdown',
    )
)
@click.option(
    "--queries",
    type=EXISTING,
    required=True,
    help="The pictures to explain: an image, a folder, or a file of the kinds --train takes.",
)
@click.option(
    "--prompt",
    help="What the pictures were generated from, if the model is told captions. A folder of "
    "pictures may have a metadata.jsonl with a caption each instead.",
)
@methods
@click.option(
    "-k",
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Proponents and opponents to print for each picture; of a smaller training set, all.",
)
@repeats
@click.option(
    "--store",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `retrac featurize` filled for the same methods and options: the pictures' "
    "gradients alone are computed then.",
)
@click.option(
    "--exact",
    type=click.IntRange(1),
    help="With --store, for diffusion-tracin and diffusion-retrac: compute the exact scores of so "
    "many images at either end of each picture's list, and say how many of the ten highest may be "
    "missing.",
)
@click.option(
    "--index",
    is_flag=True,
    help="With --store, for diffusion-tracin and diffusion-retrac: find the extreme images by an "
    "approximate index (extra `index`), which the first such call makes and the store keeps.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-scores"),
    show_default=True,
    help="Folder for METHOD.safetensors, METHOD.csv with the lists that are printed, and the page, "
    "index.html.",
)
@breakdown
@page
@quiet
@as_json
@job(max_memory, query_store)
def attribute(
    queries: Path,
    prompt: str | None,
    methods: tuple[str, ...],
    top: int,
    repeats: int | None,
    store: Path | None,
    exact: int | None,
    index: bool,
    out: Path,
    breakdown: bool,
    page: bool,
    job: Job,
) -> None:
    """Say which training images influenced a picture most.

    RUN is the folder of a training run: unet/, scheduler/ and checkpoint-STEP/ folders as diffusers
    writes them. Where training was recorded, its timesteps and noise are replayed; else they are
    drawn anew, as training would. Images of a latent model, and captions, are encoded as training
    did, once.
    """
    from retrac_plugin.attribution.checking import check_scores

    source = from_store(store, exact, index, top, job.computing.max_memory)
    _check(methods, out, breakdown)
    found = job.read_run()
    tell(found.description)
    examples = job.train_examples(found)
    pictures = job.query_examples(found, queries, prompt)
    top = min(top, len(examples))
    attributors = job.chosen(found, methods, len(examples))
    data = {"train": prepared(examples), "queries": pictures}
    attributors, done = resuming(attributors, found, data, None if source else out / "work")
    every = scored(attributors, data["train"], pictures, found, repeats, source)
    kept = {}
    for name, returned in every:
        examples = of_columns(returned, data["train"])
        checked = check_scores(returned, name, len(pictures), len(examples))
        kept[name] = named(checked, job, (name, attributors[name]), examples, pictures, prompt)
        _write(kept[name], top, out / f"{name}.safetensors")
    split = {}
    if breakdown:
        break_by = None if source is None else source.break_by(kept)
        split = broken_down(attributors, kept, data["train"], pictures, top, break_by)
        write_breakdowns(split, out)
    findings, written = found.description.splitlines(), None
    if page:
        every_score = list(kept.values())
        written = try_page(
            lambda: page_of(every_score, [*split.values()], examples, pictures, top, findings),
            out / "index.html",
        )
    done()
    answer(lambda: answer_of(kept, top, out, findings, written))


def _check(methods: tuple[str, ...], out: Path, breakdown: bool) -> None:
    """Tell before the work of what would fail at its end."""
    for name in methods:
        check_method(name)
        check_output(out / f"{name}.safetensors")
        check_output(out / f"{name}.csv")
        if breakdown:
            check_output(file_of(name, out))


def _write(scores: Scores, top: int, file: Path) -> None:
    scores.save(file)
    write_tops(scores, top, file.with_suffix(".csv"))
    tell(f"\n{file.stem}: scores [query, train] in {file}{_errors(scores)}")
    for line in top_lists(scores, top):
        tell(f"  {line}")


def _errors(scores: Scores) -> str:
    if scores.standard_errors is None:
        return ""
    return (
        f", means over {scores.about['repeats']} draws of what was not recorded, with the standard "
        "errors of scores and of ranks"
    )
