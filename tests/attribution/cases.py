"""The two methods with the draws of the tests, and a sample whose gradient is known."""

import torch

import retrac_plugin as retrac
from tests import textbook

METHODS = {
    retrac.DiffusionTracIn: textbook.unchanged,
    retrac.DiffusionReTrac: textbook.direction,
}
EXACT = {"rtol": 1e-10, "atol": 1e-14}


def attributor(method, case, **options):
    options = {
        "train_draws": retrac.Uniform(1, seed=1),
        "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
        **options,
    }
    return method(options.pop("model", case.model), case.checkpoints, **options)


def rescaled_model(case, factor):
    """The same model with the loss at timestep 7, and so its gradient, multiplied."""

    def weight(timesteps):
        return torch.where(timesteps == 7, factor, 1.0).double()

    return retrac.wrap(case.network, case.schedule, weight=weight)


def draws_with_one_sample_at_timestep_7(case):
    timesteps = torch.full((len(case.checkpoints), len(case.train)), 50)
    timesteps[:, 3] = 7
    noise = torch.randn(*timesteps.shape, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return retrac.Given(timesteps, noise)
