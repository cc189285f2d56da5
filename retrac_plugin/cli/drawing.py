"""Options that say which timesteps and noise are drawn, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from retrac_plugin.cli.packing import packed

if TYPE_CHECKING:
    from retrac_plugin.draws import Draws
    from retrac_plugin.runs.run import Run

OWN_NOISE, SHARED_NOISE = 4, 1
"""Noise draws at a timestep, where each sample has its own noise, and where all share it."""

REPEATS = 4
"""How often what was not recorded is drawn, unless told otherwise."""


@dataclass(frozen=True)
class QueryDraws:
    """The query side's timesteps and noise: the options of ``query_draws``."""

    timesteps: int
    noise_draws: int | None
    seed: int

    def rule(self, alike: bool = False) -> Draws:
        """Return them as a method takes them.

        Args:
            alike: Whether it takes both sides at the same draws.
        """
        from retrac_plugin import Shared, Strided

        kind = Shared if alike else Strided
        return kind(self.timesteps, noise_draws=self._each(alike), seed=self.seed)

    def about(self, alike: bool = False) -> dict[str, int]:
        """Return them for a file of scores."""
        each = self._each(alike)
        return {"timesteps": self.timesteps, "noise_draws": each, "seed": self.seed}

    def _each(self, alike: bool) -> int:
        return self.noise_draws or (SHARED_NOISE if alike else OWN_NOISE)


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
        help=f"Noise draws averaged at each of them. Default: {OWN_NOISE}, or {SHARED_NOISE} for "
        "methods that take both sides at the same noise.",
    ),
    click.option("--seed", default=0, show_default=True, help="Seed of that noise."),
)
"""``--timesteps T --noise-draws S --seed N``."""

repeats = click.option(
    "--repeats",
    type=click.IntRange(1),
    help="How often to draw what training did not record; scores are means, with standard errors. "
    f"Default: {REPEATS}, or 1 where training is replayed and for methods that share their noise.",
)


def repeats_of(run: Run, repeats: int | None) -> int:
    """Return how often to draw, by default once where nothing of training is drawn."""
    if repeats is not None:
        return repeats
    return REPEATS if run.is_drawn else 1
