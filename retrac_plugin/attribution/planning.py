"""Cuts an attributor's job to what its ``max_memory`` allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from retrac_plugin.attribution.budget import PER_SAVED, SCRATCH, Needs, Plan
from retrac_plugin.data.examples import ExampleSource

if TYPE_CHECKING:
    from retrac_plugin.attribution.attributors import DiffusionAttributor

_NO_BAR = SimpleNamespace(update=lambda samples: None)


def plan_for(
    attributor: DiffusionAttributor,
    train: ExampleSource,
    queries: int,
    matrices: int,
    weights: int = 1,
) -> Plan:
    """Return how to cut a job.

    Args:
        attributor: Whose ``max_memory`` counts; without one, nothing is cut.
        train: The training set.
        queries: How many there are.
        matrices: Gradients to be held for each query.
        weights: Checkpoints to be held together.

    Raises:
        InputError: If not even one query fits.
    """
    if attributor.max_memory is None:
        return Plan(attributor.batch_size, queries)
    needs = needs_of(attributor, train, matrices, weights)
    return needs.plan(attributor.max_memory, attributor.batch_size, queries)


def needs_of(
    attributor: DiffusionAttributor, train: ExampleSource, matrices: int, weights: int = 1
) -> Needs:
    """Return what a job takes; loads the first checkpoint and runs one sample through it.

    Args:
        attributor: The method with its model, checkpoints and draws.
        train: The training set.
        matrices: Gradients to be held for each query.
        weights: Checkpoints to be held together.
    """
    if any(c.query_parameters is not None for c in attributor.checkpoints):
        weights += 1  # the queries' own, beside the training set's
    at = next(attributor.passes(_NO_BAR))
    row = at.engine.width * at.dtype.itemsize
    preconditioned = any(c.preconditioner is not None for c in attributor.checkpoints)
    timesteps, noise = attributor.train_draws.per_sample()
    return Needs(
        fixed=SCRATCH + weights * row * (2 if preconditioned else 1),
        row=row,
        matrices=0 if attributor.query_store else matrices,
        sample=int(PER_SAVED * at.sample_bytes(train, attributor.train_draws)),
        smallest_batch=max(timesteps * noise, attributor.query_draws.per_sample()[1]),
    )
