"""What dattri's own methods leave as it was, see of a network, and refuse."""

import dataclasses

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import GradientError, InputError, RetracError
from retrac_plugin.frameworks.dattri.methods import RECIPES, REFUSALS, method
from tests.frameworks.dattri_tools import EXACT
from tests.frameworks.method_table import DRAWS, TRAIN_DRAWS, quick, scores
from tests.small import small_case

# Behind ours, which silences what dattri's import warns of.
from dattri.algorithm import tracin, trak  # isort: skip


@pytest.mark.parametrize("name", RECIPES)
def test_dattri_has_its_own_settings_back(name):
    settings = [dict(vars(m).get("DEFAULT_PROJECTOR_KWARGS", {})) for m in (tracin, trak)]
    quick(name, small_case())
    assert settings == [vars(m).get("DEFAULT_PROJECTOR_KWARGS", {}) for m in (tracin, trak)]


def test_bars_are_shown_on_request_and_dattri_has_its_own_back(capfd):
    theirs = tracin.tqdm
    scores("dattri-tracin", small_case(), progress=True)
    assert "training set" in capfd.readouterr().err
    assert tracin.tqdm is theirs


def test_only_attributed_parameters_take_part():
    case = small_case()
    case.model = case.model.attributing("time.*", "leave.bias")
    expected = retrac.DiffusionTracIn(case.model, case.checkpoints, **DRAWS)
    torch.testing.assert_close(
        scores("dattri-tracin", case),
        expected.attribute(case.train, case.queries).values,
        **EXACT,
    )
    for name in ("dattri-logra", "dattri-ekfac"):
        none = dataclasses.replace(case)
        none.model = case.model.attributing("enter.*")
        with pytest.raises(InputError, match="sees linear layers"):
            quick(name, none)


def test_a_recursion_that_diverges_is_no_score():
    with pytest.raises(GradientError, match=r"of 21 scores are not finite .*'scaling': 1e-06"):
        scores("dattri-if-lissa", small_case(), recursion_depth=60, scaling=1e-6)


@pytest.mark.parametrize("name", ["dattri-logra", "dattri-ekfac"])
def test_a_network_without_linear_layers(name):
    class Convolution(nn.Conv2d):
        def forward(self, noisy, timesteps):
            return super().forward(noisy)

    network = Convolution(1, 1, 3, padding=1)
    case = small_case()
    model = retrac.wrap(network, case.schedule)
    checkpoints = [retrac.Checkpoint(network.state_dict())]
    attributor = method(name)(model, checkpoints, **DRAWS)
    with pytest.raises(InputError, match=r"sees linear layers .*Convolution has none"):
        attributor.attribute([x.float() for x in case.train], [x.float() for x in case.queries])


@pytest.mark.parametrize("name", REFUSALS)
def test_what_has_no_meaning_is_refused(name):
    with pytest.raises(RetracError, match=f"{name} cannot score a diffusion model: "):
        method(name)(small_case().model, small_case().checkpoints, train_draws=TRAIN_DRAWS)
