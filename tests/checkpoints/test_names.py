"""What was wrapped around a network is no part of the names of its tensors."""

import pytest
import torch

from retrac_plugin.checkpoints.names import by_names_of

PLAIN = ["enter.weight", "blocks.0.weight", "blocks.1.weight"]


@pytest.mark.parametrize(
    "saved",
    [
        PLAIN,
        [f"_orig_mod.{name}" for name in PLAIN],
        [f"module.{name}" for name in PLAIN],
        [f"module._orig_mod.{name}" for name in PLAIN],
        ["enter.weight", "blocks.0._orig_mod.weight", "blocks.1._checkpoint_wrapped_module.weight"],
    ],
)
def test_wrappers_are_dropped(saved):
    values = [torch.tensor(float(i)) for i in range(3)]
    found = by_names_of(PLAIN, dict(zip(saved, values, strict=True)))
    assert found == dict(zip(PLAIN, values, strict=True))


def test_wrappers_are_put_in():
    own = ["blocks.0._orig_mod.weight"]
    assert by_names_of(own, {"blocks.0.weight": 1}) == {"blocks.0._orig_mod.weight": 1}


def test_a_part_that_is_named_as_a_wrapper_keeps_its_name():
    own = ["module.weight", "weight"]
    assert by_names_of(own, {"module.weight": 1, "weight": 2}) == {"module.weight": 1, "weight": 2}
    assert by_names_of(own, {"_orig_mod.weight": 1}) == {"_orig_mod.weight": 1}


def test_nothing_is_overwritten():
    state = {"_orig_mod.weight": 1, "weight": 2}
    assert by_names_of(["weight"], state) == {"weight": 2, "_orig_mod.weight": 1}
