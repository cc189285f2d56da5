"""How many operations a batch starts where every one costs a launch, as on a GPU.

Counted on tensors without numbers: what a device is asked to do does not depend on them.
"""

from collections import Counter

import pytest
import torch
from diffusers import UNet2DModel
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from retrac_plugin.gradients.consumers.norms import Norms
from retrac_plugin.gradients.consumers.products import ProductsAndNorms
from retrac_plugin.gradients.losses import as_losses
from retrac_plugin.gradients.projections.count_sketch import PreparedSketch
from retrac_plugin.gradients.streamer import Streamer

ROWS = 32
META = torch.device("meta")
NO_KERNEL = {
    *("alias", "as_strided", "detach", "expand", "permute", "select", "slice", "split", "squeeze"),
    *("t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view", "_reshape_alias"),
    *("empty", "empty_like", "empty_strided", "new_empty", "promote_types", "result_type"),
}


class Launches(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[func._schema.name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))

    @property
    def count(self):
        return sum(times for name, times in self.seen.items() if name not in NO_KERNEL)


@pytest.fixture(scope="module")
def case():
    """A denoiser of 16 million parameters, a batch, and its losses."""
    network = UNet2DModel(
        sample_size=32,
        layers_per_block=1,
        block_out_channels=(128, 256, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    network = network.eval().to(META)
    batch = {
        "sample": torch.empty(ROWS, 3, 32, 32, device=META),
        "timestep": torch.zeros(ROWS, dtype=torch.int64, device=META),
    }

    def losses(parameters, batch):
        predicted = functional_call(network, dict(parameters), kwargs=batch).sample
        return predicted.square().flatten(1).mean(1)

    return {name: value.detach() for name, value in network.named_parameters()}, losses, batch


@pytest.fixture(scope="module")
def plain(case):
    """What a training step's forward and backward pass starts."""
    parameters, losses, batch = case
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    with Launches() as launches:
        torch.autograd.grad(losses(leaves, batch).mean(), list(leaves.values()))
    return launches.count


def products(streamer):
    return ProductsAndNorms(torch.empty(10, streamer.layout.width, device=META), ROWS)


def norms(streamer):
    return Norms(ROWS, streamer.like)


def sketch(streamer):
    signs = torch.empty(streamer.layout.width, dtype=torch.int8, device=META)
    return PreparedSketch(signs, 4096, streamer.like).consumer(ROWS)


@pytest.mark.parametrize("make", [products, norms, sketch])
def test_at_most_four_times_those_of_a_plain_pass(case, plain, make):
    parameters, losses, batch = case
    streamer = Streamer(*as_losses(losses, parameters))
    consumer = make(streamer)
    with Launches() as launches:
        streamer.stream(batch, 1, consumer, slice(0, ROWS))
        consumer.norms()
    assert launches.seen["baddbmm_"] > 50  # the layers came by
    assert launches.count <= 4 * plain
