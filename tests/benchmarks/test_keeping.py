"""Kept scores are found only where everything that decides them is the same."""

import dataclasses
from dataclasses import replace
from importlib import metadata

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import AttributorEntry, plugins
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.benchmarks.keeping import OF_NO_SCORE
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.metrics import Evidence
from retrac_plugin.resuming.code_files import code_of_module, code_of_plugin
from tests.benchmarks.tasks import small_task


def silent(line):
    pass


def scored(task, folder, method="diffusion-retrac", **options):
    """Return the scores, and whether they were computed rather than found."""
    told = []
    (outcome,) = score_methods(task, [method], told.append, folder, **options)
    return torch.cat([outcome.scores[kind.name].values for kind in task.queries]), bool(told)


def with_model(task, **changes):
    return replace(task, model=replace(task.model, **changes))


def with_checkpoint(task, **changes):
    first, *others = task.checkpoints
    return replace(task, checkpoints=[replace(first, **changes), *others])


def plain_loss(prediction, target):
    return (prediction - target).abs()


def moved(state):
    return {name: value + 0.1 for name, value in state.items()}


CHANGES = {
    "the loss": lambda t: with_model(t, element_loss=plain_loss),
    "the weight": lambda t: with_model(t, weight=lambda steps: 1.0 + steps),
    "the attributed parameters": lambda t: replace(t, model=t.model.attributing("leave.*")),
    "the schedule": lambda t: with_model(
        t, schedule=retrac.VariancePreserving(torch.linspace(0.9, 0.01, 100))
    ),
    "how the network is called": lambda t: with_model(
        t, predict=lambda call, x, steps, conditions: 2 * call(x, steps, **conditions)
    ),
    "the timestep distribution": lambda t: with_model(
        t, timestep_distribution=retrac.distributions.logit_normal(1.0)
    ),
    "the noise offset": lambda t: with_model(t, noise_offset=0.5),
    "a checkpoint's weights": lambda t: with_checkpoint(
        t, parameters=moved(t.checkpoints[0].parameters)
    ),
    "a checkpoint's step size": lambda t: with_checkpoint(t, step_size=3.0),
    "the weights of the queries' gradients": lambda t: with_checkpoint(
        t, query_parameters=moved(t.checkpoints[0].parameters)
    ),
    "a preconditioner": lambda t: with_checkpoint(
        t,
        preconditioner=lambda: {
            name: torch.full_like(p, 1.0 + place)
            for place, (name, p) in enumerate(t.checkpoints[0].parameters.items())
        },
    ),
    "the draws of the training set": lambda t: replace(t, train_draws=retrac.Uniform(1, seed=9)),
    "the draws of the queries": lambda t: replace(t, query_draws=retrac.Strided(3, seed=2)),
    "a query": lambda t: replace(t, queries=(t.queries[1],)),
    "a training sample": lambda t: replace(t, train=t.train + 0.01),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    task = small_task()
    values, computed = scored(task, folder)
    assert computed
    return folder, task, values


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_computed_anew_when_what_changed_is(kept, change):
    folder, task, old = kept
    other = change(task)
    values, computed = scored(other, folder)
    assert computed
    expected, _ = scored(other, None)
    torch.testing.assert_close(values, expected, rtol=0, atol=0)
    assert values.shape != old.shape or not torch.equal(values, old)


def test_found_when_nothing_changed(kept):
    folder, _, old = kept
    values, computed = scored(small_task(), folder)
    assert not computed
    assert torch.equal(values, old)


def test_found_when_only_what_decides_no_score_changed(kept):
    folder, task, _ = kept
    other = replace(task, name="other", about={"a": 1}, without=lambda removed: [])
    assert not scored(other, folder)[1]


def test_every_field_of_a_task_but_three_is_taken_in():
    """A field that is added is taken in; whoever wants it otherwise says so here too."""
    assert set(OF_NO_SCORE) == {"name", "about", "without"}
    assert set(OF_NO_SCORE) < {field.name for field in dataclasses.fields(Task)}


def test_fresh_leaves_what_was_kept(kept):
    folder, task, old = kept
    values, computed = scored(task, folder, fresh=True)
    assert computed
    assert torch.equal(values, old)


def conditional_task(shift):
    case = small_task()
    train = [
        {
            "sample": sample,
            "more": {"embedding": torch.zeros(2000).index_fill(0, torch.tensor(1000), shift)},
        }
        for sample in case.train
    ]

    def predict(call, noisy, timesteps, conditions):
        return (
            call(noisy, timesteps)
            * (1 + conditions["more"]["embedding"].sum(1))[:, None, None, None]
        )

    model = replace(case.model, predict=predict)
    return replace(case, model=model, train=train, queries=(Queries("q", train[:2], Evidence()),))


def test_conditions_within_conditions_are_read_to_the_last_number(tmp_path):
    for shift in (0.0, 1.0):
        task = conditional_task(shift)
        values, computed = scored(task, tmp_path, "diffusion-tracin")
        assert computed
        assert torch.equal(values, scored(task, None, "diffusion-tracin")[0])


class Holding:
    def __init__(self, model, checkpoints, **options):
        self.file = (line for line in ["open"])

    def attribute(self, train, queries):
        return retrac.Scores(torch.zeros(len(queries), len(train)))


def test_what_cannot_be_told_apart_is_not_kept_and_said(tmp_path, monkeypatch):
    entries = {
        **plugins.attributors(),
        "holding": (AttributorEntry("holding", "", lambda: Holding), "t"),
    }
    monkeypatch.setattr(plugins, "attributors", lambda: entries)
    told = []
    for _ in range(2):
        score_methods(small_task(), ["holding"], told.append, tmp_path)
    refusal = "the scores of holding are not kept: a builtins.generator cannot be told from others"
    assert told == [refusal, "scoring holding"] * 2
    assert not list(tmp_path.iterdir())


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A third party's distribution of two packages, in a folder of its own."""
    for package in ("kept_rings", "kept_helpers"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "kept_rings" / "plugin.py").write_text("")
    (tmp_path / "kept_helpers" / "table.json").write_text("[1]")
    about = tmp_path / "kept_rings-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kept-rings\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[retrac_plugin]\nkept-rings = kept_rings.plugin\n")
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    (about / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "file", ["kept_rings/__init__.py", "kept_helpers/__init__.py", "kept_helpers/table.json"]
)
def test_any_file_of_a_plugins_distribution_counts(installed, file):
    before = code_of_plugin("kept-rings")
    assert code_of_plugin("kept-rings") == before != code_of_plugin("core")
    (installed / file).write_text("2")
    assert code_of_plugin("kept-rings") != before


def test_a_package_that_no_distribution_brings_is_read(tmp_path, monkeypatch):
    package = tmp_path / "loose_package" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "code.py").write_text("a = 1")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_of_module("loose_package")
    (package / "code.py").write_text("a = 2")
    assert code_of_module("loose_package") != before


def test_an_installed_package_is_its_version_and_those_it_requires():
    assert f"torch {metadata.version('torch')}" in code_of_module("torch.nn").split("; ")
    assert any(part.startswith("sympy ") for part in code_of_module("torch").split("; "))
