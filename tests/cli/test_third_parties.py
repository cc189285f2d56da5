"""`retrac attribute` and `self-influence` by third parties, which may return anything."""

import pytest
import torch
from click.testing import CliRunner

import retrac_plugin as retrac
from retrac_plugin import AttributorEntry, plugins
from retrac_plugin.cli import main
from tests.run_folders import record, write_images, write_run

IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
GOOD = torch.arange(10.0).view(2, 5)


def with_nan():
    values = GOOD.clone()
    values[1, 4] = torch.nan
    return values


RETURNED = {
    "good": (lambda: retrac.Scores(GOOD), lambda: GOOD[0]),
    "transposed": (lambda: retrac.Scores(GOOD.T), lambda: GOOD[0, :4]),
    "tensor": (lambda: GOOD, lambda: object()),
    "nan": (lambda: retrac.Scores(with_nan()), lambda: with_nan()[1]),
}

REFUSED = {
    "transposed": (
        "transposed returned scores of shape [5, 2], expected [query, train] = [2, 5]",
        "transposed returned scores of shape [1, 4], expected [query, train] = [1, 5]",
    ),
    "tensor": ("tensor returned a Tensor, expected", "a object as self-influence, expected"),
    "nan": (
        "1 of 10 scores are not finite, such as nan of training sample 4 for query 1",
        "1 of 5 scores are not finite, such as nan of training sample 4 for query 0",
    ),
}


def method_of(name):
    class Method:
        def __init__(self, model, checkpoints, **options):
            pass

        def attribute(self, train, queries):
            return RETURNED[name][0]()

        def self_influence(self, train, query_draws=None):
            return RETURNED[name][1]()

    return Method


class Plugin:
    @staticmethod
    @retrac.hookimpl
    def retrac_register_attributors():
        for name in RETURNED:
            yield AttributorEntry(name, "-", lambda name=name: method_of(name))


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    folder, manager = tmp_path_factory.mktemp("third"), plugins.plugin_manager()
    run = write_run(folder / "run")
    record(run, IMAGES)
    train = write_images(folder / "train.safetensors", IMAGES)
    queries = write_images(folder / "queries.safetensors", IMAGES[:2])
    manager.register(Plugin, "third-party")

    def call(command, name, out):
        more = ["--queries", queries, "-k", 2] if command == "attribute" else []
        line = [command, run, "--train", train, "--method", name, "--out", out, *more]
        return CliRunner().invoke(main, [str(part) for part in line])

    yield call
    manager.unregister(Plugin)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("command", ["attribute", "self-influence"])
def test_what_are_no_scores_is_refused_and_nothing_is_written(call, tmp_path, command, name):
    result = call(command, name, tmp_path / "out")
    assert result.exit_code == 1
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert REFUSED[name][command == "self-influence"] in last
    assert not (tmp_path / "out").exists()


def test_good_scores_are_written_as_they_are(call, tmp_path):
    assert call("attribute", "good", tmp_path).exit_code == 0
    scores = retrac.Scores.load(tmp_path / "good.safetensors")
    assert torch.equal(scores.values, GOOD)
    result = call("self-influence", "good", tmp_path / "self")
    assert result.exit_code == 0
    assert any(line.endswith("4  +4") for line in result.output.splitlines())
