"""Counts and bytes; times are measured, never asserted."""

from dataclasses import replace

import pytest
import torch

from retrac_plugin import (
    DiffusionReTrac,
    DiffusionTracIn,
    Strided,
    Uniform,
    attribute_repeatedly,
)
from retrac_plugin.attribution.budget import SCRATCH
from retrac_plugin.attribution.estimate import HEADER_BYTES, Estimate, estimate
from retrac_plugin.attribution.timing import Probe
from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.errors import InputError
from tests.small import small_case

CASE = small_case(train=7, queries=3, checkpoints=2)
WIDTH = sum(parameter.numel() for parameter in CASE.network.parameters())


def attributors(*classes, **more):
    options = {"train_draws": Uniform(1), "query_draws": Strided(2), **more}
    return [each(CASE.model, CASE.checkpoints, **options) for each in classes]


def test_bytes_are_counted():
    cost = estimate(attributors(DiffusionTracIn, DiffusionReTrac), CASE.train, num_queries=5)
    assert cost.query_bytes == 2 * 5 * WIDTH * 8
    assert cost.scores == 2 * ((5 * 7 + 2 * 7) * 4 + HEADER_BYTES)
    assert (cost.encoding, cost.cache, cost.device_memory) == (0.0, 0, 0)


def test_memory_grows_with_the_queries_by_their_gradients(monkeypatch):
    monkeypatch.setattr(Probe, "__init__", constant_probe)
    few, many = (estimate(attributors(DiffusionReTrac), CASE.train, n) for n in (1, 1001))
    scores = 3 * 1000 * 7 * 4
    assert many.memory - few.memory == 1000 * WIDTH * 8 + scores


def test_time_grows_with_checkpoints_queries_samples_and_repeats(monkeypatch):
    monkeypatch.setattr(Probe, "__init__", constant_probe)
    cost = estimate(attributors(DiffusionReTrac), CASE.train, num_queries=5, repeats=3)
    assert cost.loading == 3 * 2 * 0.5
    assert cost.queries == 3 * 2 * 5 * 0.25
    assert cost.training == 3 * 2 * 7 * 0.125
    assert cost.seconds == cost.loading + cost.queries + cost.training


def test_less_memory_takes_more_passes():
    whole = estimate(attributors(DiffusionReTrac), CASE.train, num_queries=1000)
    limit = SCRATCH + 100 * WIDTH * 8
    cut = estimate(attributors(DiffusionReTrac, max_memory=limit), CASE.train, num_queries=1000)
    assert whole.blocks == 1 and whole.query_bytes == 1000 * WIDTH * 8
    assert cut.blocks > 10
    assert cut.query_bytes < limit - SCRATCH
    assert cut.query_bytes == -(-1000 // cut.blocks) * WIDTH * 8


@pytest.mark.parametrize("repeats", [1, 2])
def test_the_files_of_scores_are_as_large_as_estimated(tmp_path, repeats):
    (attributor,) = attributors(DiffusionReTrac)
    cost = estimate([attributor], CASE.train, len(CASE.queries), repeats)
    (scores,) = attribute_repeatedly([attributor], CASE.train, CASE.queries, repeats)
    replace(scores, **{n: floats(getattr(scores, n)) for n in TENSORS}).save(tmp_path / "scores")
    assert cost.scores / 2 < (tmp_path / "scores").stat().st_size < cost.scores * 2


TENSORS = ("values", "gradient_norms", "standard_errors", "rank_errors")


def floats(tensor):
    """The case is of float64, which no run on disk is."""
    return None if tensor is None else tensor.float()


def constant_probe(probe, attributor, train, plan, methods):
    probe.loading, probe.per_query, probe.per_sample = 0.5, 0.25, 0.125
    probe.num_train, probe.device = len(train), attributor.device
    probe.memory, probe.device_memory = 10**9, 0
    probe.query_bytes = methods * plan.queries_at_once * WIDTH * 8


class HalfEncoded(FileExamples):
    """Ten examples, of which two are encoded whenever one is asked for."""

    def __init__(self):
        self.names, self.done = [str(i) for i in range(10)], 4

    def __getitem__(self, index):
        if index < 10:
            self.done = min(10, self.done + 2) if self.done < 6 else self.done
        return {"sample": torch.zeros(1, 4, 4, dtype=torch.float64)}

    @property
    def missing(self):
        return 10 - self.done

    @property
    def bytes_each(self):
        return 100


def test_what_is_to_be_encoded_is_counted():
    cost = estimate(attributors(DiffusionReTrac), HalfEncoded(), num_queries=1)
    assert cost.cache == 600
    assert cost.encoding > 0


def test_the_probe_measures_every_part():
    cost = estimate(attributors(DiffusionReTrac), CASE.train, num_queries=2)
    assert isinstance(cost, Estimate)
    assert min(cost.loading, cost.queries, cost.training) > 0
    assert cost.memory > 10**7


def test_another_method_is_refused():
    with pytest.raises(InputError, match="got object and 1"):
        estimate([object()], CASE.train, 1)
    with pytest.raises(InputError, match="at least one query, got 1 and 0"):
        estimate(attributors(DiffusionReTrac), CASE.train, 0)
