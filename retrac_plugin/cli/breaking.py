"""How scores split over checkpoints and timesteps: ``--breakdown``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.attribution.breakdown_files import Breakdown
    from retrac_plugin.attribution.scores import Scores

    Break = Callable[[Sequence[Any], Any, Any, Sequence[tuple[int, int]]], list[Breakdown]]

breakdown = click.option(
    "--breakdown",
    is_flag=True,
    help="Also split the scores of the --top proponents and opponents over checkpoints and the "
    "pictures' timesteps, for the page and METHOD-breakdown.safetensors. The pictures and the "
    "images listed pass the network once more, the rest of the training set does not.",
)


def file_of(method: str, out: Path) -> Path:
    """Return where a method's breakdown is written."""
    return out / f"{method}-breakdown.safetensors"


def broken_down(
    attributors: Mapping[str, Any],
    scores: Mapping[str, Scores],
    train: Any,
    queries: Any,
    top: int,
    break_by: Break | None = None,
) -> dict[str, Breakdown]:
    """Return, by method, how the scores of the strongest split; other methods' are left whole.

    Args:
        attributors: By the name of the method.
        scores: Theirs, of all the training set or of some of it.
        train: The training set.
        queries: The pictures.
        top: Proponents and opponents of each picture.
        break_by: ``(methods, train, queries, pairs) -> breakdowns``; None: whole gradients are
            computed, as often as was drawn.
    """
    import torch

    from retrac_plugin.attribution.attributors import DiffusionAttributor, scores_by_itself
    from retrac_plugin.attribution.breakdown import break_together
    from retrac_plugin.attribution.pairs import strongest

    own = [
        name
        for name, each in attributors.items()
        if isinstance(each, DiffusionAttributor) and not scores_by_itself(each)
    ]
    for name in attributors.keys() - set(own):
        tell(f"{name} has no breakdown: only the scores of the paper's two are such sums")
    if not own:
        return {}
    pairs = strongest([scores[name] for name in own], top)
    first = scores[own[0]]
    positions = first.train_positions
    given = pairs if positions is None else [(q, int(positions[column])) for q, column in pairs]
    exactly = partial(break_together, repeats=int(first.about.get("repeats", 1)))
    found = (break_by or exactly)([attributors[name] for name in own], train, queries, given)
    columns = torch.tensor(pairs)
    return {name: replace(each, pairs=columns) for name, each in zip(own, found, strict=True)}


def write_breakdowns(split: Mapping[str, Breakdown], out: Path) -> None:
    """Write breakdowns, by method, into a folder, and say so."""
    for name, each in split.items():
        each.save(file_of(name, out))
        tell(f"{name}: {len(each.pairs)} scores by checkpoint and timestep in {file_of(name, out)}")
