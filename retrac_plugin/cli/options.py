"""Options that say how scores are computed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.packing import packed

if TYPE_CHECKING:
    from retrac_plugin.draws import Strided


@dataclass(frozen=True)
class QueryDraws:
    """The query side's timesteps and noise: the options of ``query_draws``."""

    timesteps: int
    noise_draws: int
    seed: int

    def rule(self) -> Strided:
        """Return them as the methods take them."""
        from retrac_plugin import Strided

        return Strided(self.timesteps, noise_draws=self.noise_draws, seed=self.seed)


query_draws = packed(
    "draws",
    QueryDraws,
    click.option(
        "--timesteps",
        type=click.IntRange(1),
        default=10,
        show_default=True,
        help="Evenly spaced timesteps at which a picture's own gradient is taken.",
    ),
    click.option(
        "--noise-draws",
        type=click.IntRange(1),
        default=4,
        show_default=True,
        help="Noise draws averaged at each of them.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of that noise."),
)
"""``--timesteps T --noise-draws S --seed N``."""


@dataclass(frozen=True)
class Computing:
    """Where, and in what portions: the options of ``computing``."""

    batch_size: int
    device: str


computing = packed(
    "computing",
    Computing,
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Samples per network pass; changes the cost, never a score.",
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps, ..."),
)
"""``--batch-size N --device NAME``."""


@dataclass(frozen=True)
class Fitting:
    """What is to fit where: the options of ``fitting``."""

    max_memory: str | None
    query_store: Path | None


fitting = packed(
    "fitting",
    Fitting,
    click.option(
        "--max-memory",
        help="What to take at most beside network and data, such as 8GB: batches are cut and "
        "pictures taken in blocks, each of which costs a pass over the training set.",
    ),
    click.option(
        "--query-store",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder for the pictures' gradients where they do not fit in memory. CPU only.",
    ),
)
"""``--max-memory SIZE --query-store FOLDER``."""


def given(*options: Computing | Fitting) -> dict[str, Any]:
    """Return the options that were given, by name: not every method knows them all."""
    values = {name: value for part in options for name, value in asdict(part).items()}
    return {name: value for name, value in values.items() if value is not None}
