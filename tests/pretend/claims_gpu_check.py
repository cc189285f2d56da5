"""The check for the day a GPU can be had, on a device that tells what it holds."""

from retrac_adapters.measuring.gpu_check import parts
from retrac_adapters.measuring.gpu_check.clock import Clock
from retrac_adapters.measuring.gpu_check.golden import check_golden
from retrac_adapters.measuring.gpu_check.setting import SCALES
from tests.pretend.device import install

DEVICE = install()


def test_the_golden_case():
    found = list(check_golden(DEVICE, Clock(3600)))
    assert len(found) == 3
    assert not any(fact.failed for fact in found)


def test_memory_is_within_the_law_and_nothing_is_left():
    outcome = parts.run("memory", SCALES["tiny"], DEVICE, patience=1000)
    assert not outcome.failed
    assert outcome.note == ""
    found = {(*fact.row, fact.column): fact for fact in outcome.facts}
    for checkpoints in ("1 checkpoint", "3 checkpoints"):
        assert found[f"peak at {checkpoints}", "measured, MiB"].value > 0
    assert found["left by 2 calls", "measured, MiB"].value < 0.01
