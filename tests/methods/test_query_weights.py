"""Methods on features take the queries at weights of their own, where a checkpoint has some."""

from dataclasses import replace

import pytest
import torch

from retrac_plugin import plugins
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Pair, add_features
from tests.small import small_case

CASE = small_case(train=5, queries=2)
RAW, AVERAGED = (checkpoint.load() for checkpoint in CASE.checkpoints)
METHODS = ["gradient-dot", "trak", "d-trak", "das", "retrac-paired", "retrac-kernel"]
REFUSED = ["unlearning", "captum-tracin", "dattri-tracin"]


def at_weights(name, parameters, query_parameters=None):
    checkpoint = replace(
        CASE.checkpoints[0], parameters=parameters, query_parameters=query_parameters
    )
    return plugins.get_attributor(name)(CASE.model, [checkpoint], progress=False)


def bank_of(attributor):
    bank = {}
    sources = ExampleSource(CASE.train, "train"), ExampleSource(CASE.queries, "queries")
    add_features(bank, attributor.setting.computing, attributor.needs(), *sources)
    return bank


@pytest.mark.parametrize("name", [*METHODS, "journey-trak", "activation-kernel"])
def test_each_side_is_taken_at_its_own_weights(name):
    mixed = at_weights(name, RAW, AVERAGED)
    ours, theirs = bank_of(at_weights(name, RAW)), bank_of(at_weights(name, AVERAGED))
    bank = {
        feature: Pair(own.train, own.train_cost, other.queries, other.query_cost)
        for (feature, own), other in zip(ours.items(), theirs.values(), strict=True)
    }
    expected = mixed.score(bank)
    found = mixed.attribute(CASE.train, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    other = at_weights(name, RAW).attribute(CASE.train, CASE.queries).values
    assert (found - other).abs().max() > 1e-3 * other.abs().max()


@pytest.mark.parametrize("name", REFUSED)
def test_a_method_that_takes_both_sides_at_one_point_says_so(name):
    with pytest.raises(InputError, match="has other weights for the queries"):
        at_weights(name, RAW, AVERAGED)
    at_weights(name, RAW)
