"""What a job takes, from its first checkpoint and one sample."""

from __future__ import annotations

from retrac_plugin.attribution.budget import PER_SAVED, SCRATCH, Needs
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws


def needs_of(
    setting: Setting,
    train: ExampleSource,
    train_draws: Draws,
    query_draws: Draws,
    matrices: int,
    weights: int,
) -> Needs:
    """Return what a job takes; loads the first checkpoint and runs one sample through it.

    Args:
        setting: The model and its checkpoints.
        train: The training set.
        train_draws: Its timesteps and noise.
        query_draws: Those of the queries.
        matrices: Gradients to be held in memory for each query.
        weights: Checkpoints to be held together.
    """
    if any(c.query_parameters is not None for c in setting.checkpoints):
        weights += 1  # the queries' own, beside the training set's
    at = next(setting.passes(lambda samples: None))
    row = at.engine.width * at.dtype.itemsize
    preconditioned = any(c.preconditioner is not None for c in setting.checkpoints)
    timesteps, noise = train_draws.per_sample()
    return Needs(
        fixed=SCRATCH + weights * row * (2 if preconditioned else 1),
        row=row,
        matrices=matrices,
        sample=int(PER_SAVED * at.sample_bytes(train, train_draws)),
        smallest_batch=max(timesteps * noise, query_draws.per_sample()[1]),
    )
