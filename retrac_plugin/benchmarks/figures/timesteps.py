"""The norm of a training gradient against its timestep: where timestep-induced bias comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.benchmarks.figures.style import INK, colour, new_figure, save
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import NORMS_FROM, visit_norms
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Recorded, Strided
from retrac_plugin.gradients.engine import Features
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.model.diffusion import NoisyBatch

MOST_TIMESTEPS = 100


def draw_timesteps(task: Task, outcomes: Sequence[Outcome], path: Path) -> Path | None:
    """Draw one image's norm at all timesteps, and every image's at the timestep of its last visit.

    Both at the last checkpoint; a dashed line marks the one image's own visit. None where training
    was not recorded.
    """
    norms, draws, step = visit_norms(outcomes), task.train_draws, task.checkpoints[-1].step
    if norms is None or not isinstance(draws, Recorded) or step is None:
        return None
    visits = draws.trace.last_visits(list(range(norms.shape[1])), step)
    visited = draws.trace.timesteps[visits]
    figure, panels = new_figure(7.4, 3.4, 2)
    panels[0].axvline(visited[0].item(), color=INK, linestyle="--", linewidth=1)
    _panel(panels[0], *norms_over_time(task, position=0), "one training image, one noise")
    _panel(panels[1], visited, norms[-1], "all training images, at their last visit")
    panels[0].set_ylabel("norm of the gradient", fontsize=9, color=INK)
    return save(figure, path)


def norms_over_time(task: Task, position: int) -> tuple[Tensor, Tensor]:
    """Return timesteps and the norms of one training image's gradients there, ``[timestep]``."""
    checkpoint, model = task.checkpoints[-1], task.model
    draws = Strided(min(MOST_TIMESTEPS, model.schedule.num_timesteps))
    device = torch.device(task.device or next(model.network.parameters()).device)
    at = CheckpointPass(
        model,
        checkpoint,
        len(task.checkpoints) - 1,
        StreamedEngine,
        device,
        task.batch_size,
        lambda samples: None,
    )
    none = torch.zeros(0, at.engine.width, dtype=at.dtype, device=device)
    timesteps: list[Tensor] = []

    def norms_alone(batches: Iterable[NoisyBatch], draws_each: int) -> Iterator[Features]:
        for batch in batches:
            timesteps.append(batch.timesteps)
            (found,) = at.engine.products([batch], draws_each, none)
            yield Features(found.losses, found.dots, found.norms)

    one = ExampleSource([task.train[position]], "train")
    led = at.lead(one.blocks(1), one, draws, "train", 1, norms_alone)
    found = [rows.made.norms for rows in led]
    return torch.cat(timesteps), torch.cat(found)


def _panel(axes: Any, timesteps: Tensor, norms: Tensor, title: str) -> None:
    axes.semilogy(
        timesteps.cpu(), norms.cpu(), ".", color=colour(NORMS_FROM), markersize=4, alpha=0.6
    )
    axes.set_title(title, fontsize=10, color=INK)
    axes.set_xlabel("timestep", fontsize=9, color=INK)
