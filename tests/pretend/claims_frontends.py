"""Captum's and dattri's classes on the pretend device: the CPU's scores."""

import pytest
import torch
from torch.utils.data import DataLoader

from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor, DiffusionTracInAttributor
from tests.frameworks.captum_cases import CORES, make
from tests.frameworks.dattri_tools import DRAWS, QUERY_DRAWS, task_of
from tests.pretend.device import install
from tests.small import small_case

DEVICE = install()
EXACT = {"rtol": 1e-9, "atol": 1e-13}


def assert_as_on_the_cpu(found, expected):
    assert found.device == DEVICE
    torch.testing.assert_close(found.cpu(), expected, **EXACT)


CALLS = {
    "influence": lambda ours, of: ours.influence(of.queries),
    "aggregate": lambda ours, of: ours.influence(of.queries, aggregate=True),
    "k most": lambda ours, of: ours.influence(of.queries, k=2).influence_scores,
    "self-influence": lambda ours, of: ours.self_influence(),
    "by checkpoints": lambda ours, of: ours.self_influence(outer_loop_by_checkpoints=True),
    "embeddings": lambda ours, of: ours.compute_intermediate_quantities(of.queries, test=True),
}


@pytest.mark.parametrize("kind", CORES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_captum(kind, call):
    expected, found = (
        call(make(kind, case, device=device), case)
        for device, case in (("cpu", small_case(classes=4)), (DEVICE, small_case(classes=4)))
    )
    assert_as_on_the_cpu(found, expected)


def test_captum_where_the_network_lies():
    case, there = small_case(), small_case()
    there.network.to(DEVICE)
    expected, found = (make(next(iter(CORES)), c).influence(c.queries) for c in (case, there))
    assert_as_on_the_cpu(found, expected)


@pytest.mark.parametrize("kind", [DiffusionTracInAttributor, DiffusionReTracAttributor])
@pytest.mark.parametrize("cached", [False, True])
def test_dattri(kind, cached):
    results = []
    for device in ("cpu", DEVICE):
        case = small_case()
        attributor = kind(task_of(case), device=device, **DRAWS)
        train, queries = (DataLoader(x, batch_size=3) for x in (case.train, case.queries))
        if cached:
            attributor.cache(train)
        results.append(attributor.attribute(train, queries))
        results.append(attributor.self_attribute(train, query_draws=QUERY_DRAWS))
    assert_as_on_the_cpu(results[2], results[0])
    assert_as_on_the_cpu(results[3], results[1])
