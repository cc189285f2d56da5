"""Captum's ``layers`` with a diffusion model: what is attributed."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests.frameworks.captum_cases import EXACT, make
from tests.small import small_case


def test_choose_what_is_attributed():
    case = small_case()
    ours = make(DiffusionReTracCP, case, layers=["enter", "time"])
    model = case.model.attributing("enter.*", "time.*")
    expected = make(DiffusionReTracCP, case, model=model).influence(case.queries)
    torch.testing.assert_close(ours.influence(case.queries), expected, **EXACT)


def test_named_twice_count_once():
    case = small_case()
    once, twice = (
        make(DiffusionTracInCP, case, layers=layers).influence(case.queries)
        for layers in (["enter"], ["enter", "enter"])
    )
    assert torch.equal(once, twice)


def test_change_nothing_in_the_network():
    case = small_case()
    case.network.enter.requires_grad_(False)
    make(DiffusionTracInCP, case, layers=["leave"]).influence(case.queries)
    needed = {n: p.requires_grad for n, p in case.network.named_parameters()}
    assert needed == {n: not n.startswith("enter") for n in needed}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["middle"], "SmallDenoiser has no module 'middle'. Expected .* such as enter, time"),
        ([""], "has no module ''"),
        ([], "expected a list of module names"),
        (("enter",), "expected a list of module names"),
    ],
)
def test_unknown_ones_are_refused(layers, message):
    with pytest.raises(InputError, match=message):
        make(DiffusionTracInCP, small_case(), layers=layers)


def test_with_frozen_parameters_alone_are_refused():
    case = small_case()
    case.network.enter.requires_grad_(False)
    with pytest.raises(InputError, match="no parameter to attribute"):
        make(DiffusionTracInCP, case, layers=["enter"])
