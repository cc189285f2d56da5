"""``retrac attribute``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.options import (
    EXISTING,
    computing,
    prepared,
    query_draws,
    read,
    reading,
    run_and_train,
)

if TYPE_CHECKING:
    from retrac_plugin.scores import Scores

METHODS = ("diffusion-tracin", "diffusion-retrac")


@click.command()
@run_and_train
@reading
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
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=METHODS,
    show_default=True,
    help="A method that `retrac list` names; may be repeated.",
)
@click.option(
    "-k",
    "--top",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Proponents and opponents to print for each picture.",
)
@query_draws
@computing
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-scores"),
    show_default=True,
    help="Folder for METHOD.safetensors.",
)
def attribute(
    run: Path,
    train: Path | None,
    cache: Path,
    loss: str,
    weights: str,
    base: str | None,
    arguments: tuple[str, ...],
    optimizer: str,
    queries: Path,
    prompt: str | None,
    methods: tuple[str, ...],
    top: int,
    timesteps: int,
    noise_draws: int,
    seed: int,
    batch_size: int,
    device: str,
    out: Path,
) -> None:
    """Say which training images made some pictures what they are.

    RUN is the folder of a training run: unet/, scheduler/ and checkpoint-STEP/ folders as diffusers
    writes them. Where training was recorded, its timesteps and noise are replayed; else they are
    drawn anew, as training would. Images of a latent model, and captions, are encoded as training
    did, once.
    """
    from retrac_plugin import Strided, plugins
    from retrac_plugin.errors import InputError

    classes = [plugins.get_attributor(name) for name in methods]
    found = read(run, loss, arguments, weights=weights, base=base, optimizer=optimizer)
    click.echo(found.description)
    examples = prepared(found.train_examples(train, cache=cache, device=device))
    pictures = found.query_examples(queries, prompt, cache=cache, device=device)
    if top > len(examples):
        raise InputError(f"--top {top} is larger than the training set ({len(examples)})")
    draws = Strided(timesteps, noise_draws=noise_draws, seed=seed)
    attributors = [
        attributor_class(
            found.model,
            found.checkpoints,
            train_draws=found.train_draws,
            query_draws=draws,
            batch_size=batch_size,
            device=device,
            progress=True,
        )
        for attributor_class in classes
    ]
    for name, scores in zip(methods, _attribute(attributors, examples, pictures), strict=True):
        path = out / f"{name}.safetensors"
        scores.save(path)
        click.echo(f"\n{name}: scores [query, train] in {path}")
        _print_top(scores, top, pictures.names, examples.names)


def _attribute(attributors: list[Any], examples: Any, pictures: Any) -> Iterable[Scores]:
    """Yield the scores of each method; ours share their gradients."""
    from retrac_plugin.attributors import DiffusionAttributor, attribute_together

    if all(isinstance(attributor, DiffusionAttributor) for attributor in attributors):
        return attribute_together(attributors, examples, pictures)
    return (attributor.attribute(examples, pictures) for attributor in attributors)


def _print_top(scores: Scores, k: int, pictures: list[str], examples: list[str]) -> None:
    for kind, top in (("proponents", scores.proponents(k)), ("opponents", scores.opponents(k))):
        for picture, indices, values in zip(
            pictures, top.indices.tolist(), top.values.tolist(), strict=True
        ):
            named = (f"{examples[i]} ({v:+.3g})" for i, v in zip(indices, values, strict=True))
            click.echo(f"  {picture}: {kind} {', '.join(named)}")
