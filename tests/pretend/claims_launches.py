"""What a batch costs the CPU: kernels that it launches, moments at which it waits."""

from collections import Counter

import pytest
import torch
from torch.func import functional_call

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.gradients.streamed import StreamedEngine
from tests.pretend.device import install
from tests.pretend.watch import counting, watching
from tests.small import small_case
from tests.tiny import tiny_network

DEVICE = install()
CONSUMERS = {
    "products": lambda engine, batch: engine.products([batch], 1, vectors(10, engine)),
    "norms": lambda engine, batch: engine.products([batch], 1, vectors(0, engine)),
    "sketch": lambda engine, batch: engine.features([batch], 1, CountSketch(256)),
}
ATTRIBUTORS = {
    "products": lambda case, **options: of("diffusion-retrac", case, options).attribute(
        case.train, case.queries
    ),
    "norms": lambda case, **options: of("diffusion-retrac", case, options).self_influence(
        case.train
    ),
    "sketch": lambda case, **options: of("gradient-dot", case, options).attribute(
        case.train, case.queries
    ),
}


def vectors(queries, engine):
    return torch.zeros(queries, engine.width, device=DEVICE)


def of(name, case, options):
    attributor = plugins.get_attributor(name)
    options |= {"query_draws": retrac.Strided(1), "progress": False}
    return attributor(case.model, case.checkpoints, device=DEVICE, **options)


@pytest.fixture(scope="module")
def network():
    return torch.nn.Module.to(tiny_network().float(), DEVICE)


@pytest.mark.parametrize("rows", [4, 16])
@pytest.mark.parametrize("stream", CONSUMERS.values(), ids=CONSUMERS)
def test_a_batch_launches_at_most_four_times_a_plain_pass_and_never_waits(network, stream, rows):
    """At either size: more samples, neither more kernels nor waits."""
    batch = torch.rand(rows, 1, 8, 8).to(DEVICE), torch.arange(rows).to(DEVICE)

    def losses(parameters, batch):
        return functional_call(network, dict(parameters), batch).sample.square().flatten(1).mean(1)

    leaves = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
    with counting() as plain:
        torch.autograd.grad(losses(leaves, batch).mean(), list(leaves.values()))
    engine = StreamedEngine(losses, {name: leaf.detach() for name, leaf in leaves.items()})
    list(stream(engine, batch))  # which is checked
    with counting() as ours, watching() as waits:
        list(stream(engine, batch))
    assert plain.count < ours.count <= 4 * plain.count
    signs = "/projections/count_sketch.py"  # made on the CPU, and sent once a call
    assert [place for _, place in waits if not place.startswith(f"/gradients{signs}")] == []


@pytest.mark.parametrize("batch_size", [4, 8])
@pytest.mark.parametrize("attribute", ATTRIBUTORS.values(), ids=ATTRIBUTORS)
def test_a_training_batch_lets_the_device_run(attribute, batch_size):
    """Samples, timesteps, noise and level are sent: four copies a batch, of whatever size.

    Nothing is fetched or looked at before the last batch.
    """
    seen = []
    for train in (8, 24):
        case = small_case(train=train, queries=1, checkpoints=1)
        with watching() as waits:
            attribute(case, batch_size=batch_size)
        seen.append(waits)
    more = Counter(kind for kind, _ in (seen[1] - seen[0]).elements())
    assert more == {"sent": 4 * 16 // batch_size}
