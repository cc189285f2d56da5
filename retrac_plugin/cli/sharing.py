"""Options that say which of several processes this is."""

from __future__ import annotations

from dataclasses import dataclass

import click

from retrac_plugin.cli.packing import packed


@dataclass(frozen=True)
class Share:
    """Which of how many processes: the options of ``share``."""

    rank: int
    world_size: int


share = packed(
    "share",
    Share,
    click.option(
        "--rank",
        type=click.IntRange(0),
        envvar=["RANK", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID"],
        default=0,
        show_default=True,
        help="Which of several processes this is, from 0. torchrun and Slurm say it in the "
        "environment.",
    ),
    click.option(
        "--world-size",
        type=click.IntRange(1),
        envvar=["WORLD_SIZE", "SLURM_ARRAY_TASK_COUNT", "SLURM_NTASKS"],
        default=1,
        show_default=True,
        help="How many processes there are; each takes its share, and none waits for another.",
    ),
)
"""``--rank N --world-size N``."""
