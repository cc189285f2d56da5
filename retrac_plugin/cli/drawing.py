"""Options that say which timesteps and noise are drawn, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.packing import packed

if TYPE_CHECKING:
    from retrac_plugin.draws import Strided
    from retrac_plugin.runs.run import Run

REPEATS = 4
"""How often what was not recorded is drawn, unless told otherwise."""


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

    def about(self) -> dict[str, int]:
        """Return them for a file of scores."""
        return {"timesteps": self.timesteps, "noise_draws": self.noise_draws, "seed": self.seed}


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

repeats = click.option(
    "--repeats",
    type=click.IntRange(1),
    help="How often to draw what training did not record; scores are means, with standard errors. "
    f"Default: {REPEATS}, or 1 where training is replayed.",
)


def repeats_of(run: Run, repeats: int | None) -> int:
    """Return how often to draw, by default once where nothing of training is drawn."""
    if repeats is not None:
        return repeats
    return REPEATS if run.is_drawn else 1
