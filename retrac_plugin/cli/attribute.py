"""``retrac attribute``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.computing import max_memory, query_store
from retrac_plugin.cli.drawing import repeats, repeats_of
from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.methods import methods
from retrac_plugin.cli.output import check_output
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.top_lists import top_lists
from retrac_plugin.cli.training import EXISTING, prepared

if TYPE_CHECKING:
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.data.image_files import FileExamples


@click.command()
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
    help="Proponents and opponents to print for each picture.",
)
@repeats
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-scores"),
    show_default=True,
    help="Folder for METHOD.safetensors.",
)
@job(max_memory, query_store)
def attribute(
    queries: Path,
    prompt: str | None,
    methods: tuple[str, ...],
    top: int,
    repeats: int | None,
    out: Path,
    job: Job,
) -> None:
    """Say which training images made some pictures what they are.

    RUN is the folder of a training run: unet/, scheduler/ and checkpoint-STEP/ folders as diffusers
    writes them. Where training was recorded, its timesteps and noise are replayed; else they are
    drawn anew, as training would. Images of a latent model, and captions, are encoded as training
    did, once.
    """
    from retrac_plugin import plugins
    from retrac_plugin.attribution.checking import check_scores
    from retrac_plugin.errors import InputError

    methods = tuple(dict.fromkeys(methods))
    files = {name: out / f"{name}.safetensors" for name in methods}
    for name, file in files.items():  # what fails at the end is told of before the work
        plugins.get_attributor(name)
        check_output(file)
    found = job.read_run()
    tell(found.description)
    examples = job.train_examples(found)
    pictures = job.query_examples(found, queries, prompt)
    if top > len(examples):
        raise InputError(f"--top {top} is larger than the training set ({len(examples)})")
    attributors = job.attributors(found, methods)
    every = _attribute(attributors, prepared(examples), pictures, repeats_of(found, repeats))
    for (name, file), returned in zip(files.items(), every, strict=True):
        checked = check_scores(returned, name, len(pictures), len(examples))
        scores = _named(checked, job, examples, pictures, prompt)
        scores.save(file)
        tell(f"\n{name}: scores [query, train] in {file}{_errors(scores)}")
        for line in top_lists(scores, top):
            tell(f"  {line}")


def _named(
    scores: Scores, job: Job, examples: FileExamples, pictures: FileExamples, prompt: str | None
) -> Scores:
    """Return scores that say of what they are."""
    about = {"run": str(job.training.run.resolve()), **job.draws.about()}
    return replace(
        scores,
        about={**scores.about, **about},
        train_names=tuple(examples.names),
        query_names=tuple(pictures.names),
        prompts=tuple(pictures.prompts) if prompt is None else (prompt,) * len(pictures),
    )


def _attribute(
    attributors: list[Any], examples: Any, pictures: Any, repeats: int
) -> Iterable[Scores]:
    """Yield the scores of each method; ours share their gradients, and are repeated."""
    from retrac_plugin.attribution.attributors import DiffusionAttributor
    from retrac_plugin.attribution.repeats import attribute_repeatedly

    if all(isinstance(attributor, DiffusionAttributor) for attributor in attributors):
        return attribute_repeatedly(attributors, examples, pictures, repeats)
    return (attributor.attribute(examples, pictures) for attributor in attributors)


def _errors(scores: Scores) -> str:
    if scores.standard_errors is None:
        return ""
    return (
        f", means over {scores.about['repeats']} draws of what was not recorded, with the standard "
        "errors of scores and of ranks"
    )
