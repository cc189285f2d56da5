"""The norm of a training gradient against its timestep: where timestep-induced bias comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import visit_norms
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Recorded, Strided
from retrac_plugin.gradients.engine import Features
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.model.diffusion import NoisyBatch
from retrac_plugin.report.contents import NormRecord
from retrac_plugin.report.figures.norms import norm_by_timestep
from retrac_plugin.report.figures.style import INK

MOST_TIMESTEPS = 100


def norms_by_timestep(task: Task, outcomes: Sequence[Outcome]) -> Any | None:
    """Return one image's norm at all timesteps, and every image's at that of its last visit.

    Both at the last checkpoint; a dashed line marks the one image's own visit. None where training
    was not recorded.
    """
    norms, draws, step = visit_norms(outcomes), task.train_draws, task.checkpoints[-1].step
    if norms is None or not isinstance(draws, Recorded) or step is None or not norms[-1].any():
        return None
    visits = draws.trace.last_visits(list(range(norms.shape[1])), step)
    visited = draws.trace.timesteps[visits]
    one = NormRecord(*(each.cpu() for each in norms_over_time(task, position=0)))
    every = NormRecord(visited.cpu(), norms[-1].cpu())
    titles = "one training image, one noise", "all training images, at their last visit"
    figure = norm_by_timestep(one, every, titles=titles)
    figure.axes[0].axvline(visited[0].item(), color=INK, linestyle="--", linewidth=1)
    return figure


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
