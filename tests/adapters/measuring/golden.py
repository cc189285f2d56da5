"""Makes the golden case of the check on a GPU: ``python -m tests.adapters.measuring.golden``."""

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file

from retrac_adapters.measuring.gpu_check import golden
from tests import textbook

RESCALE = {"diffusion_tracin": textbook.unchanged, "diffusion_retrac": textbook.direction}
CHECKPOINTS, TRAIN, QUERIES, DRAWS = 2, 4, 2, 2


def inputs():
    """Seeded weights, images, timesteps and noise, whose numbers are all float32's."""
    torch.manual_seed(0)
    image = (1, 8, 8)
    found = {
        f"checkpoint_{k}/{name}": value.float()
        for k in range(CHECKPOINTS)
        for name, value in golden.network().state_dict().items()
    }
    return found | {
        "step_sizes": torch.tensor([0.5, 0.25]),
        "train": torch.rand(TRAIN, *image) * 2 - 1,
        "queries": torch.rand(QUERIES, *image) * 2 - 1,
        "train_timesteps": torch.randint(1000, (CHECKPOINTS, TRAIN)),
        "train_noise": torch.randn(CHECKPOINTS, TRAIN, *image),
        "query_timesteps": torch.tensor([250, 750]),
        "query_noise": torch.randn(CHECKPOINTS, QUERIES, 2, DRAWS, *image),
    }


def results(tensors):
    """What plain loops over single samples make of them, in float64."""
    network = golden.network()
    loss_of = textbook.loss_function(
        lambda *args: network(*args).sample, DDPMScheduler().alphas_cumprod.double()
    )
    states = [golden.checkpoint(tensors, k) for k in range(CHECKPOINTS)]
    series = list(zip(states, tensors["step_sizes"].tolist(), strict=True))
    examples, queries = (
        [{"sample": image.double()} for image in tensors[side]] for side in ("train", "queries")
    )
    visits = [
        list(zip(examples, tensors["train_timesteps"][k], noise.double(), strict=True))
        for k, noise in enumerate(tensors["train_noise"])
    ]
    asked = [
        [
            (query, list(zip(tensors["query_timesteps"], noise.double(), strict=True)))
            for query, noise in zip(queries, noises, strict=True)
        ]
        for noises in tensors["query_noise"]
    ]
    found = {
        name: textbook.influence(loss_of, network, series, visits, asked, rescale)
        for name, rescale in RESCALE.items()
    }
    found["gradient_norms"] = torch.stack(
        [norms(loss_of, network, *k) for k in zip(states, visits, strict=True)]
    )
    return found


def norms(loss_of, network, state, visits):
    network.load_state_dict(state)
    return torch.stack([textbook.gradient(loss_of(*visit), network).norm() for visit in visits])


def stored():
    return load_file(golden.FILE)


if __name__ == "__main__":
    made = inputs()
    save_file(made | results(made), golden.FILE)
