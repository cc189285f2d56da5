"""A digest tells any two values apart that may decide different scores, or refuses them."""

import collections
import functools
import logging
import random
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, make_dataclass

import numpy as np
import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.resuming.digesting import Digester, UndigestibleError, digest_of
from tests.small import small_case
from tests.tiny import tiny_case

SCALE = 2.0


class Slotted:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale


class Listed(list):
    pass


def with_attribute(items, value):
    listed = Listed(items)
    listed.extra = value
    return listed


def closure(scale):
    return lambda timesteps: scale * timesteps


def defaulted(scale):
    return lambda timesteps, by=scale: by * timesteps


@dataclass(frozen=True)
class Record:
    a: object
    b: object = None


def hooked(hook):
    network = nn.Linear(2, 2)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    if hook is not None:
        network.register_forward_hook(hook)
    return network


def frozen(*names):
    network = hooked(None)
    for name in names:
        network.get_parameter(name).requires_grad_(False)
    return network


DIFFERENT = {
    "numbers": (1, 2),
    "types of numbers": (1, 1.0),
    "the last bit of a float": (0.1 + 0.2, 0.3),
    "texts": ("a", "b"),
    "a text and bytes": ("a", b"a"),
    "where texts are cut": (("ab", "c"), ("a", "bc")),
    "order of a list": ([1, 2], [2, 1]),
    "nesting": ([[1], 2], [[1, 2]]),
    "entries of a mapping": ({"a": {"b": 1}}, {"a": {"b": 2}}),
    "a set": ({1, 2}, {1, 3}),
    "a tensor's middle": (
        torch.zeros(10_000),
        torch.zeros(10_000).index_fill(0, torch.tensor(5_000), 1),
    ),
    "a tensor's shape": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "a tensor's type": (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    "an array": (np.zeros(3), np.array([0.0, 0.0, 1.0])),
    "fields of a record": (Record(1), Record(2)),
    "fields of another class": (make_dataclass("A", ["a"])(1), make_dataclass("B", ["a"])(1)),
    "slots": (Slotted(1), Slotted(2)),
    "fields beside a list's items": (with_attribute([1], 1), with_attribute([1], 2)),
    "a list's items beside fields": (with_attribute([1], 1), with_attribute([2], 1)),
    "closures": (closure(1.0), closure(2.0)),
    "default values": (defaulted(1.0), defaulted(2.0)),
    "functions": (lambda t: 1.0 + t, lambda t: 1.0 - t),
    "constants in functions": (lambda t: 1.0 + t, lambda t: 2.0 + t),
    "arguments of a partial": (functools.partial(max, 1), functools.partial(max, 2)),
    "objects of methods": (Record(1).__eq__, Record(2).__eq__),
    "the state of what is compiled": (random.Random(0), random.Random(1)),
    "patterns": (re.compile("a"), re.compile("b")),
    "a default factory": (collections.defaultdict(list), collections.defaultdict(set)),
    "hooks of a module": (hooked(None), hooked(lambda *_: None)),
    "what is trained": (frozen("weight"), frozen("bias")),
    "modes of a module": (hooked(None).eval(), hooked(None).train()),
    "loggers": (logging.getLogger("a"), logging.getLogger("b")),
    "generators": (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_tells_apart(pair):
    one, other = map(digest_of, pair)
    assert one != other
    assert one == digest_of(pair[0])


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), (number for number in [1]), functools.lru_cache(max), [{"a": [sys.stderr]}]],
    ids=["a lock", "a generator", "a cache", "a file, deep inside"],
)
def test_refuses_what_does_not_show_what_it_is_made_of(value):
    with pytest.raises(UndigestibleError, match="cannot be told from others"):
        digest_of(value)


def test_sees_what_a_function_refers_to_outside_any_package():
    scope = {"__name__": "of_no_file", "SCALE": 2.0}
    exec("def weight(t): return inner(t)\ndef inner(t): return SCALE * t", scope)
    before = digest_of(scope["weight"])
    assert digest_of(scope["weight"]) == before
    scope["SCALE"] = 3.0
    assert digest_of(scope["weight"]) != before


def test_sees_attributes_of_a_class_that_was_made_by_type():
    kinds = [type("Made", (Record,), {"strategy": strategy}) for strategy in ("kfac", "ekfac")]
    assert digest_of(kinds[0]) != digest_of(kinds[1])


def test_what_is_computed_from_the_fields_is_not_a_field():
    class Cached:
        def __init__(self):
            self.a = 1

        @functools.cached_property
        def twice(self):
            return 2 * self.a

    value = Cached()
    before = digest_of(value)
    assert value.twice == 2
    assert digest_of(value) == before


def test_values_that_contain_themselves_end():
    listed = [1]
    listed.append(listed)
    assert digest_of(listed) == digest_of(listed)


def test_a_branch_goes_on_by_itself():
    trunk = Digester()
    trunk.add("task")
    one, other = trunk.branch(), trunk.branch()
    one.add(1)
    other.add(2)
    assert len({trunk.hexdigest(), one.hexdigest(), other.hexdigest()}) == 3


def test_a_view_stands_for_the_values_of_its_type():
    viewed = [Digester({Record: lambda record: record.a}) for _ in range(2)]
    viewed[0].add(Record(1, "one"))
    viewed[1].add(Record(1, "other"))
    assert viewed[0].hexdigest() == viewed[1].hexdigest()


def test_is_the_same_in_another_process():
    """With other hashes: diffusers lists a configuration's defaults in the order of a set."""
    code = (
        "from retrac_plugin.resuming.digesting import digest_of\n"
        "from tests.tiny import tiny_case; from tests.small import small_case\n"
        "print(digest_of(tiny_case().model), digest_of(small_case().model))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**__import__("os").environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    expected = f"{digest_of(tiny_case().model)} {digest_of(small_case().model)}\n"
    assert found == {expected}


@pytest.mark.parametrize("draws", [retrac.Strided, retrac.Uniform])
def test_draws_by_seed(draws):
    assert digest_of(draws(2, seed=0)) != digest_of(draws(2, seed=1))


def test_a_model_by_each_of_its_fields():
    case = small_case()
    wrap = functools.partial(retrac.wrap, case.network, case.schedule)
    models = [
        wrap(),
        wrap("l1"),
        wrap(weight=retrac.weightings.min_snr(5.0)),
        wrap(weight=retrac.weightings.min_snr(4.0)),
        wrap(weight=lambda t: 1.0 + t),
        wrap(timestep_distribution=retrac.distributions.logit_normal(0.5)),
        wrap(noise_offset=0.1),
        wrap(predict=lambda call, x, t, conditions: 2 * call(x, t, **conditions)),
        wrap().attributing("leave.*"),
        retrac.wrap(case.network, retrac.VariancePreserving(torch.linspace(0.99, 0.01, 100))),
    ]
    assert len(set(map(digest_of, models))) == len(models)
