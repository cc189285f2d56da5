"""``retrac self-influence``."""

from __future__ import annotations

from pathlib import Path

import click

from retrac_plugin.cli.job import Job, job
from retrac_plugin.cli.training import prepared


@click.command()
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
    help="File for all of them, tensor self_influence [train].",
)
@job()
def self_influence(
    method: str,
    top: int,
    out: Path,
    job: Job,
) -> None:
    """Rank the training images by their influence on themselves.

    High self-influence marks outliers, mislabelled and memorised images. RUN is the folder of a
    training run, as for `retrac attribute`. Each image is its own query, at --timesteps.
    """
    from safetensors.torch import save_file

    from retrac_plugin import plugins
    from retrac_plugin.files import write_atomically

    plugins.get_attributor(method)  # an unknown one is told of before anything is computed
    found = job.read_run()
    click.echo(found.description)
    examples = prepared(job.train_examples(found))
    (attributor,) = job.attributors(found, [method])
    values = attributor.self_influence(examples, query_draws=job.draws.rule())
    write_atomically(out, lambda path: save_file({"self_influence": values.cpu()}, path))
    click.echo(f"\n{method}: self-influence [train] in {out}")
    for index in values.argsort(descending=True)[:top].tolist():
        click.echo(f"  {examples.names[index]}  {values[index]:+.4g}")
