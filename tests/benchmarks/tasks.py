"""A small task: real gradients, a planted truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import diffusers  # noqa: F401  # its adapter wraps the task's network once it is there
import torch

import retrac_plugin as retrac
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.metrics import Evidence
from tests.small import small_case

TRAIN, HELD_BACK, REPORTED, SUBSETS = 12, 3, 5, 8
TRAIN_DRAWS = retrac.Uniform(1, seed=1)
QUERY_DRAWS = retrac.Strided(2, noise_draws=2, seed=2)


def truth(seed=0, queries=HELD_BACK + REPORTED):
    generator = torch.Generator().manual_seed(seed)
    return Evidence(
        train_labels=torch.randint(3, (TRAIN,), generator=generator),
        query_labels=torch.randint(3, (queries,), generator=generator),
        train_is_minority=torch.arange(TRAIN) < 2,
        subsets=torch.rand(SUBSETS, TRAIN, generator=generator) < 0.5,
        subset_losses=torch.rand(2, SUBSETS, queries, generator=generator),
    )


def small_task(evidence=None, held_back=HELD_BACK):
    case = small_case(train=TRAIN, queries=HELD_BACK + REPORTED)
    queries = torch.stack(case.queries)
    return Task(
        name="small",
        model=case.model,
        checkpoints=case.checkpoints,
        train=torch.stack(case.train),
        train_draws=TRAIN_DRAWS,
        query_draws=QUERY_DRAWS,
        queries=(
            Queries("planted", queries, evidence or truth(), held_back),
            Queries("plain", queries[:4], Evidence()),
        ),
        about={"made of": "nothing"},
    )


@dataclass(frozen=True)
class SmallSource:
    """A ``TaskSource``."""

    def prepare(self, directory: Path) -> Task:
        return small_task()

    def regenerate(self, directory: Path) -> Path:
        return directory / "truth"
