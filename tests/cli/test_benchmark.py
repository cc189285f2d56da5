"""Which methods ``retrac benchmark`` takes."""

import pytest

from retrac_plugin import plugins
from retrac_plugin.cli.benchmark import methods_of


@pytest.mark.parametrize(
    ("given", "expected"), [("trak,random", ["trak", "random"]), ("gas,", ["gas"])]
)
def test_those_that_are_named(given, expected):
    assert methods_of(given) == expected


def test_a_frameworks_own_only_on_request():
    ours, every = methods_of(None), methods_of("all")
    brought = plugins.attributors()
    assert {"diffusion-retrac", "trak", "random"} < set(ours)
    assert {brought[name][1] for name in ours} == {"core"}
    assert set(every) == set(brought)
    assert {"captum-tracin", "dattri-trak"} < set(every) - set(ours)
