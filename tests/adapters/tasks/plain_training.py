"""Training as a plain loop over one model, to hold stacked trainings against."""

import torch
from diffusers import DDPMScheduler


def train_plainly(network, images, members, recipe, seed, epochs=1, without=()):
    """Train what requires gradients on some of the images, in the order and noise of a seed.

    Images left out are missing from the batches, which are otherwise as they were. Returns the
    number of steps.
    """
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=recipe.learning_rate)
    scheduler = DDPMScheduler(**recipe.scheduler)
    generator, step = torch.Generator().manual_seed(seed), 0
    for _ in range(epochs):
        order = members[torch.randperm(len(members), generator=generator)]
        for ids in order.split(recipe.batch_size):
            timesteps = torch.randint(1000, ids.shape, generator=generator)
            noise = torch.randn(images[ids].shape, generator=generator)
            kept = ~torch.isin(ids, torch.tensor(without, dtype=torch.int64))
            noised = scheduler.add_noise(images[ids], noise, timesteps)[kept]
            optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(step)
            optimizer.zero_grad()
            (network(noised, timesteps[kept]).sample - noise[kept]).square().mean().backward()
            optimizer.step()
            step += 1
    return step
