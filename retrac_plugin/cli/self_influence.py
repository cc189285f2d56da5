"""``retrac self-influence``."""

from __future__ import annotations

from pathlib import Path

import click

from retrac_plugin.cli.options import Computing, QueryDraws, computing, given, query_draws
from retrac_plugin.cli.reading import Reading, Trained, prepared, reading, trained


@click.command()
@trained
@reading
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
@query_draws
@computing
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("retrac-self-influence.safetensors"),
    show_default=True,
    help="File for all of them, tensor self_influence [train].",
)
def self_influence(
    trained: Trained,
    reading: Reading,
    method: str,
    top: int,
    draws: QueryDraws,
    computing: Computing,
    out: Path,
) -> None:
    """Rank the training images by their influence on themselves.

    High self-influence marks outliers, mislabelled and memorised images. RUN is the folder of a
    training run, as for `retrac attribute`. Each image is its own query, at --timesteps.
    """
    from safetensors.torch import save_file

    from retrac_plugin import plugins
    from retrac_plugin.files import write_atomically

    attributor_class = plugins.get_attributor(method)
    found = reading.of(trained.run, trained.loss)
    click.echo(found.description)
    examples = prepared(trained.examples(found, computing.device))
    attributor = attributor_class(
        found.model,
        found.checkpoints,
        train_draws=found.train_draws,
        progress=True,
        **given(computing),
    )
    values = attributor.self_influence(examples, query_draws=draws.rule())
    write_atomically(out, lambda path: save_file({"self_influence": values.cpu()}, path))
    click.echo(f"\n{method}: self-influence [train] in {out}")
    for index in values.argsort(descending=True)[:top].tolist():
        click.echo(f"  {examples.names[index]}  {values[index]:+.4g}")
