"""Jobs cut to fit into memory: nothing changes but the cost."""

import gc
import os
import weakref
from pathlib import Path

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.attribution import passes
from retrac_plugin.attribution.budget import Needs, Plan, as_bytes, saved_bytes
from retrac_plugin.attribution.matrix_files import _reserve, mapped_zeros
from retrac_plugin.attribution.streaming import score_blocks
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from tests.small import small_case

METHODS = [retrac.DiffusionTracIn, retrac.DiffusionReTrac]
DRAWS = {"train_draws": retrac.Uniform(2), "query_draws": retrac.Strided(3, noise_draws=2)}


class Totals:
    """Writes down how many samples each progress bar was made for."""

    def __init__(self):
        self.seen = []

    def __call__(self, total):
        self.seen.append(total)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, samples):
        self.seen[-1] -= samples


def attributor(method, case, **options):
    return method(case.model, case.checkpoints, **DRAWS, **options)


def memory_for(case, batch, queries, matrices=1, weights=1):
    """Return what exactly such a plan takes."""
    source = ExampleSource(case.train, "train")
    needs = attributor(METHODS[0], case).job.needs(source, matrices, weights)
    return needs.bytes(Plan(batch, queries))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at_once", [1, 2, 3, 5])
def test_blocks_of_queries_change_no_score(method, at_once):
    case = small_case(queries=5)
    expected = attributor(method, case).attribute(case.train, case.queries)
    memory, totals = memory_for(case, 2, at_once), Totals()
    cut = attributor(method, case, max_memory=memory, batch_size=2, progress=totals)
    scores = cut.attribute(case.train, case.queries)
    torch.testing.assert_close(scores.values, expected.values)
    torch.testing.assert_close(scores.gradient_norms, expected.gradient_norms)
    assert totals.seen == [0], "the bar was told of as many samples as it then saw"


def test_each_block_of_queries_costs_one_pass_over_the_training_set():
    case = small_case(queries=5)
    source = ExampleSource(case.train, "train")
    needs = attributor(METHODS[0], case).job.needs(source, 1)
    plan = needs.plan(memory_for(case, 2, 2), 2, 5)
    assert plan.queries_at_once == 2
    assert plan.samples(train=7, queries=5) == 5 + 3 * 7


def test_queries_in_a_file_change_no_score_and_leave_nothing_behind(tmp_path):
    case = small_case(queries=5)
    memory = memory_for(case, 2, 1)
    for method in METHODS:
        expected = attributor(method, case).attribute(case.train, case.queries)
        stored = attributor(method, case, max_memory=memory, query_store=tmp_path)
        scores = stored.attribute(case.train, case.queries)
        torch.testing.assert_close(scores.values, expected.values)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_no_folder_is_refused(tmp_path):
    case = small_case()
    stored = attributor(METHODS[0], case, query_store=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"query_store: cannot keep .* an existing folder"):
        stored.attribute(case.train, case.queries)


def test_too_little_memory_is_refused_with_what_is_needed():
    case = small_case()
    needed = memory_for(case, 2, 1)
    too_little = attributor(METHODS[0], case, max_memory=needed - 1)
    with pytest.raises(InputError, match=f"batches of 2 takes {needed:,}"):
        too_little.attribute(case.train, case.queries)


def test_sums_over_queries_are_made_in_blocks_too():
    case = small_case(queries=5)
    (expected,) = score_blocks(attributor(METHODS[1], case), case.train, case.queries, True)
    memory = memory_for(case, 2, 2, matrices=2, weights=2)
    cut = attributor(METHODS[1], case, max_memory=memory, batch_size=2)
    found = torch.cat(list(score_blocks(cut, case.train, case.queries, True)), dim=1)
    torch.testing.assert_close(found, expected)
    with pytest.raises(InputError, match="5 queries at 2 checkpoints are needed together"):
        next(score_blocks(cut, case.train, case.queries))


def test_self_influence_does_not_depend_on_how_many_gradients_fit(monkeypatch):
    case = small_case()
    method = attributor(METHODS[1], case)
    expected = method.self_influence(case.train, DRAWS["query_draws"])
    monkeypatch.setattr(passes, "GRADIENT_BYTES", 1)
    torch.testing.assert_close(method.self_influence(case.train, DRAWS["query_draws"]), expected)


@pytest.mark.parametrize("sample", [0, 1000, 10**6])
@pytest.mark.parametrize("queries", [1, 7, 100, 1000])
def test_every_plan_fits_and_more_memory_never_costs_more_passes(queries, sample):
    needs = Needs(fixed=10**6, row=10**5, matrices=2, sample=sample, smallest_batch=4)
    least = needs.bytes(Plan(4, 1))
    before = None
    for factor in (1, 1.3, 2, 5, 20, 100, 1000):
        memory = int(least * factor)
        plan = needs.plan(memory, 64, queries)
        assert needs.bytes(plan) <= memory
        assert 4 <= plan.batch_size <= 64
        assert before is None or plan.samples(1, 0) <= before
        before = plan.samples(1, 0)
    assert plan == Plan(64, queries)


def test_what_a_forward_pass_keeps_is_counted_once_and_without_the_parameters():
    weight = torch.rand(3, 5)

    def losses(parameters, batch):
        return torch.tanh(batch @ parameters["weight"]).sum(1)

    # The input of the product, and the tangents; floats of 4 bytes.
    for samples in (1, 4):
        found = saved_bytes(losses, {"weight": weight}, torch.rand(samples, 3))
        assert found == 4 * samples * (3 + 5)


def test_what_is_counted_is_freed_at_once():
    made = []

    def losses(parameters, batch):
        tangents = torch.tanh(batch @ parameters["weight"])  # its gradient is made of itself
        made.append(weakref.ref(tangents))
        return tangents.sum(1)

    gc.disable()
    try:
        saved_bytes(losses, {"weight": torch.rand(3, 5)}, torch.rand(4, 3))
        assert [tensor() for tensor in made] == [None]
    finally:
        gc.enable()


def test_activations_are_counted_in_inference_mode_too():
    """Nothing is kept there, and batches would be planned as if they took no memory."""

    def losses(parameters, batch):
        return torch.tanh(batch @ parameters["weight"].T).sum(1)

    with torch.inference_mode():
        weight, batch = torch.rand(5, 3), torch.rand(4, 3)
        assert saved_bytes(losses, {"weight": weight}, batch) == 4 * 4 * (3 + 5)


@pytest.mark.parametrize(
    ("text", "number"),
    [(7, 7), ("7", 7), ("4GB", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("10k", 10**4), ("2mib", 2**21)],
)
def test_sizes_are_read(text, number):
    assert as_bytes(text) == number


@pytest.mark.parametrize("text", ["", "much", "-4GB", 0, "4 TB", "GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="expected bytes"):
        as_bytes(text)


def test_a_store_takes_its_room_before_it_is_used(tmp_path):
    """Or a disk that fills up meanwhile ends the process without a word."""
    with (tmp_path / "store").open("w+b") as file:
        _reserve(file.fileno(), 3_000_000)
        held = os.fstat(file.fileno())
        assert held.st_size == 3_000_000
        assert held.st_blocks * 512 >= 3_000_000
        assert not any(file.read(1000))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system of a known size")
def test_a_store_without_the_room_is_refused():
    room = os.statvfs("/dev/shm")
    too_many = room.f_blocks * room.f_frsize // 4 + 1
    with pytest.raises(InputError, match=r"query_store: cannot keep .* Give max_memory= instead"):
        mapped_zeros("/dev/shm", too_many, dtype=torch.float32)
