"""Options that say what was trained, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.packing import packed
from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.data.image_files import FileExamples
    from retrac_plugin.runs.run import Run

EXISTING = click.Path(exists=True, path_type=Path)


@dataclass(frozen=True)
class Training:
    """What was trained, and on what: the options of ``training``."""

    run: Path
    train: Path | None
    cache: Path
    loss: str

    def examples(self, found: Run, device: str | None) -> FileExamples:
        """Return the training set, encoded on ``device`` where it has to be."""
        return found.train_examples(self.train, cache=self.cache, device=device)


training = packed(
    "training",
    Training,
    click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path)),
    click.option(
        "--train",
        "--data",
        "train",
        type=EXISTING,
        help="The training set, as trained: a folder of images, with captions if it was trained "
        "with some, or an .npz, .npy or .safetensors; WebDataset shards (.tar) or a table that the "
        "datasets library saved (Arrow, .parquet; extra `datasets`). Default: the folder that the "
        "run's arguments name.",
    ),
    click.option(
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("retrac-cache"),
        show_default=True,
        help="Folder for latents and captions, which are encoded once.",
    ),
    click.option(
        "--loss",
        type=click.Choice(["mse", "l1", "huber", "smooth_l1"]),
        default="mse",
        show_default=True,
        help="The loss that the run was trained with.",
    ),
)
"""``RUN --train PATH --cache FOLDER --loss NAME``."""


def prepared(examples: FileExamples) -> FileExamples:
    """Return examples that are ready to be read, after saying what to know of them."""
    examples.prepare()
    if examples.remark:
        tell(examples.remark)
    return examples
