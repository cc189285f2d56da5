"""What a trained model shows: its losses, and pictures that it draws."""

from __future__ import annotations

from collections.abc import Mapping

from diffusers import DDPMScheduler
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.generating import sample
from retrac_adapters.tasks.retrained.procedure import Procedure
from retrac_plugin.methods.losses import mean_losses


def losses_of(state: Mapping[str, Tensor], queries: Tensor, procedure: Procedure) -> Tensor:
    """Return a trained model's losses ``[query]``.

    Args:
        state: What was trained of it.
        queries: ``[query, C, H, W]``.
        procedure: How it was trained.
    """
    network = procedure.start.network(0).eval()
    model = retrac.wrap(network, DDPMScheduler(**procedure.recipe.scheduler))
    # Step 0 for every model: noise is a function of the step too.
    checkpoint = retrac.Checkpoint(state, step=0)
    return mean_losses(model, checkpoint, queries, procedure.loss_draws, batch_size=500)


def draw(state: Mapping[str, Tensor], procedure: Procedure, pictures: int) -> Tensor:
    """Return pictures ``[picture, C, H, W]`` that a trained model draws, by the recipe's seed.

    Args:
        state: What was trained of it.
        procedure: How.
        pictures: How many.
    """
    network, recipe = procedure.start.network(0).eval(), procedure.recipe
    own = {**network.state_dict(), **state}
    network.load_state_dict(own)
    return sample(network, DDPMScheduler(**recipe.scheduler), recipe, pictures, recipe.seed, False)
