"""Scores of every method on a task, and what they cost."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.attribution.peak_memory import PeakMemory
from retrac_plugin.benchmarks.outcome import all_queries
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.hookspecs import AttributorEntry
from retrac_plugin.metrics.lds import lds
from retrac_plugin.model.diffusion import DiffusionModel
from tests.benchmarks.tasks import HELD_BACK, QUERY_DRAWS, TRAIN, TRAIN_DRAWS, small_task, truth

EXACT = {"rtol": 1e-9, "atol": 1e-12}
METHODS = ["diffusion-tracin", "diffusion-retrac", "gradient-dot", "trak", "random"]


def silent(text):
    pass


@pytest.fixture(scope="module")
def task():
    return small_task()


@pytest.fixture(scope="module")
def outcomes(task):
    return {outcome.method: outcome for outcome in score_methods(task, METHODS, silent)}


def alone(task, method, **options):
    attributor = plugins.get_attributor(method)(
        task.model,
        task.checkpoints,
        train_draws=TRAIN_DRAWS,
        query_draws=QUERY_DRAWS,
        **options,
    )
    return attributor.attribute(task.train, all_queries(task)).values


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_the_method_alone(task, outcomes, method):
    expected = alone(task, method, **outcomes[method].options)
    found = [outcomes[method].scores[kind.name].values for kind in task.queries]
    torch.testing.assert_close(torch.cat(found), expected, **EXACT)


def test_methods_that_take_both_sides_alike_have_draws_of_their_own(task):
    other = retrac.Strided(3, seed=5)
    split = replace(task, shared_draws=other)
    found = {o.method: o for o in score_methods(split, ["diffusion-retrac", "gas"], silent)}
    values = {
        m: torch.cat([o.scores[k.name].values for k in task.queries]) for m, o in found.items()
    }
    torch.testing.assert_close(values["diffusion-retrac"], alone(task, "diffusion-retrac"), **EXACT)
    expected = plugins.get_attributor("gas")(task.model, task.checkpoints, query_draws=other)
    torch.testing.assert_close(
        values["gas"], expected.attribute(task.train, all_queries(task)).values, **EXACT
    )


def test_outcomes_come_in_the_order_of_the_methods(task, outcomes):
    assert list(outcomes) == METHODS


def test_passes_are_the_samples_led_through_the_network(task, monkeypatch):
    samples = []
    diffuse = DiffusionModel.diffuse

    def counting(self, *args):
        batch = diffuse(self, *args)
        samples.append(batch.noisy.shape[0])
        return batch

    monkeypatch.setattr(DiffusionModel, "diffuse", counting)
    for method in ("diffusion-tracin", "gradient-dot", "tracincp"):
        samples.clear()
        (outcome,) = score_methods(task, [method], silent)
        assert outcome.passes == sum(samples) > 0


def test_damping_is_the_best_of_the_queries_held_back(task, outcomes):
    known = truth().of_queries(torch.arange(HELD_BACK))
    qualities = {
        damping: lds(alone(task, "trak", damping=damping)[:HELD_BACK], known)
        for damping in plugins.get_attributor("trak").tunable["damping"]
    }
    assert qualities[outcomes["trak"].options["damping"]] == max(qualities.values())


def test_damping_does_not_depend_on_the_truth_of_reported_queries(outcomes):
    changed = truth()
    changed.subset_losses[..., HELD_BACK:] = 1 - changed.subset_losses[..., HELD_BACK:]
    (other,) = score_methods(small_task(changed), ["trak"], silent)
    assert other.options == outcomes["trak"].options


def test_without_queries_held_back_defaults_are_taken():
    (outcome,) = score_methods(small_task(held_back=0), ["trak"], silent)
    assert outcome.options == {}


def test_choosing_is_part_of_the_cost(outcomes):
    assert outcomes["trak"].seconds > outcomes["gradient-dot"].seconds


class Refusing:
    def __init__(self, model, checkpoints, **options):
        if options["batch_size"] != 64:
            raise TypeError("no")

    def attribute(self, train, queries):
        raise ValueError(f"cannot score\n{len(train)} samples")


@pytest.fixture
def with_refusing(monkeypatch):
    own = plugins.attributors()
    entries = {
        **own,
        "refusing": (AttributorEntry("refusing", "", lambda: Refusing), "test"),
        "absent": (AttributorEntry("absent", "", lambda: Refusing, needs=("no_such",)), "test"),
    }
    monkeypatch.setattr(plugins, "attributors", lambda: entries)


def test_a_method_that_fails_gives_its_reason_and_stops_no_other(task, with_refusing):
    found = score_methods(task, ["refusing", "absent", "random"], silent)
    assert [outcome.method for outcome in found] == ["refusing", "absent", "random"]
    assert found[0].reason == f"ValueError: cannot score {TRAIN} samples"
    assert found[1].reason == "MissingDependencyError: absent needs no_such, not installed"
    assert found[2].scores and not found[2].reason


def test_one_that_fails_among_those_that_share_stops_no_other(task, monkeypatch):
    from retrac_plugin.methods.first_order import GradientDot

    def broken(self, bank):
        raise RuntimeError("broken")

    monkeypatch.setattr(GradientDot, "score", broken)
    found = score_methods(task, ["gradient-dot", "tracincp"], silent)
    assert found[0].reason == "RuntimeError: broken"
    assert found[1].scores


def test_peak_memory_sees_what_a_block_allocates():
    with PeakMemory(torch.device("cpu")) as before:
        pass
    if before.bytes is None:
        pytest.skip("this system does not tell")
    with PeakMemory(torch.device("cpu")) as peak:
        held = torch.ones(2**26)  # 256 MiB
        time.sleep(0.2)
    assert peak.bytes - before.bytes > 200 * 2**20
    assert held.sum() == 2**26


def test_self_influence_is_the_methods_own_and_kept(task, tmp_path):
    methods = ["diffusion-retrac", "random"]
    found, none = score_methods(task, methods, silent, tmp_path, self_influence=True)
    expected = plugins.get_attributor("diffusion-retrac")(
        task.model, task.checkpoints, train_draws=TRAIN_DRAWS, query_draws=QUERY_DRAWS
    ).self_influence(task.train)
    torch.testing.assert_close(found.self_influence, expected)
    assert none.self_influence is None
    told = []
    score_methods(task, methods, told.append, tmp_path, self_influence=True)
    assert told == []


KILLED = """
import os, sys
from pathlib import Path

from retrac_plugin.benchmarks import keeping
from retrac_plugin.benchmarks.scoring import score_methods
from tests.benchmarks.tasks import small_task

keep = keeping.Keeper.keep


def keep_and_die(self, candidate, *args, **kwargs):
    keep(self, candidate, *args, **kwargs)
    if candidate.method == sys.argv[2]:
        os._exit(9)


keeping.Keeper.keep = keep_and_die
score_methods(small_task(), sys.argv[3].split(","), lambda text: None, Path(sys.argv[1]))
"""


def test_a_killed_benchmark_goes_on_where_it_stopped(task, tmp_path, monkeypatch):
    methods = ["diffusion-retrac", "gradient-dot", "tracincp"]
    code = [sys.executable, "-c", KILLED, str(tmp_path), "gradient-dot", ",".join(methods)]
    assert subprocess.run(code, check=False).returncode == 9
    kept = {path.name.split("-scores-")[0] for path in tmp_path.glob("*.safetensors")}
    assert kept == {"diffusion-retrac", "gradient-dot"}

    told = []
    found = score_methods(task, methods, told.append, tmp_path)
    assert "going on where a call that was stopped was" in told[0]
    assert told[1:] == ["scoring tracincp"]
    for outcome in found:
        values = torch.cat([outcome.scores[kind.name].values for kind in task.queries])
        torch.testing.assert_close(values, alone(task, outcome.method), **EXACT)
        assert outcome.seconds > 0
        assert outcome.passes > 0


def test_scores_of_other_data_are_not_taken_for_these(task, tmp_path):
    score_methods(task, ["pixel-similarity"], silent, tmp_path)
    others = [
        replace(task, train=task.train + 0.01),
        replace(task, query_draws=retrac.Strided(3)),
        replace(task, checkpoints=task.checkpoints[:1]),
    ]
    for number, other in enumerate(others):
        score_methods(other, ["pixel-similarity"], silent, tmp_path)
        assert len(list(tmp_path.iterdir())) == number + 2
    score_methods(task, ["pixel-similarity"], silent, tmp_path)
    assert len(list(tmp_path.iterdir())) == len(others) + 1
