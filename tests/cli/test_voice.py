"""What commands say: an example in each help, one JSON object, or nothing where asked."""

import json
import re
import shlex

import click
import pytest
import torch
from click.testing import CliRunner

from retrac_plugin import Scores, plugins
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.self_influence_files import SelfInfluence
from retrac_plugin.cli import main
from retrac_plugin.cli.voice import answer, as_json
from tests.run_folders import record, write_images, write_run

TRAIN, QUERIES = 5, 2
FEW = ("--timesteps", 2, "--noise-draws", 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voice")
    images = torch.rand(TRAIN, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run = write_run(folder / "run")
    record(run, images)
    train = write_images(folder / "train.safetensors", images)
    queries = write_images(folder / "queries.safetensors", images[:QUERIES] * 0.9)
    return {"run": run, "train": train, "queries": queries}


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def attribute(files, out, *more):
    places = ("--train", files["train"], "--queries", files["queries"], "--out", out)
    return call("attribute", files["run"], *places, *FEW, "-k", 2, *more)


def answered(result):
    """The one JSON object on stdout."""
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", plugins.commands())
def test_every_command_can_be_quiet_and_answer_in_json(name):
    options = {option for each in plugins.get_command(name).params for option in each.opts}
    assert {"--quiet", "--json"} <= options


@pytest.mark.parametrize("name", plugins.commands())
def test_the_help_of_each_command_ends_in_examples_that_it_understands(name):
    text = call(name, "--help").output
    _, found, examples = text.rpartition("Example")
    assert found, text
    lines = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
    assert lines
    for line in lines:
        program, command, *arguments = shlex.split(line)
        assert (program, command) == ("retrac", name)
        known = plugins.get_command(name)
        context = click.Context(known, **known.context_settings)
        known.make_parser(context).parse_args(arguments)  # or there is no such option


def test_the_help_lists_the_exit_codes():
    text = call("--help").output
    listed = text[text.index("Exit codes") :]
    assert [line.split()[0] for line in listed.splitlines()[1:] if line] == ["0", "1", "2", "130"]


def test_attribute_answers_with_the_strongest_of_each_picture(files, tmp_path):
    result = attribute(files, tmp_path, "--json")
    found = answered(result)
    scores = Scores.load(tmp_path / "diffusion-retrac.safetensors")
    of_method = found["methods"]["diffusion-retrac"]
    assert of_method["scores"] == str(tmp_path / "diffusion-retrac.safetensors")
    assert found["page"] == str(tmp_path / "index.html")
    for query, listed in enumerate(of_method["queries"]):
        assert listed["query"] == str(query)
        values = scores.values[query].tolist()
        highest = scores.proponents(2).indices[query].tolist()
        expected = [
            {"index": i, "name": str(i), "score": pytest.approx(values[i])}
            for i in highest
            if values[i] > 0
        ]
        assert listed["proponents"] == expected
        assert all(one["score"] < 0 for one in listed["opponents"])
    assert "recorded, and replayed" in result.stderr
    assert any("recorded, and replayed" in line for line in found["findings"])


def test_repeated_draws_are_answered_with_their_errors(files, tmp_path):
    run = write_run(tmp_path / "unrecorded")
    found = answered(attribute({**files, "run": run}, tmp_path / "out", "--json", "--repeats", 2))
    scores = Scores.load(tmp_path / "out" / "diffusion-tracin.safetensors")
    for query, listed in enumerate(found["methods"]["diffusion-tracin"]["queries"]):
        for one in [*listed["proponents"], *listed["opponents"]]:
            expected = scores.standard_errors[query, one["index"]].item()
            assert one["standard_error"] == pytest.approx(expected)


def test_self_influence_answers_with_the_highest(files, tmp_path):
    out = tmp_path / "self.safetensors"
    given = ("--train", files["train"], "--out", out, *FEW, "-k", 2, "--json")
    found = answered(call("self-influence", files["run"], *given))
    values = SelfInfluence.load(out).values
    best = values.argsort(descending=True)[:2].tolist()
    assert found["highest"] == [
        {"index": i, "name": str(i), "value": pytest.approx(values[i].item())} for i in best
    ]
    assert found["self_influence"] == str(out)
    assert found["page"] == str(tmp_path / "self.html")


def test_estimate_answers_with_seconds_and_bytes(files):
    found = answered(call("estimate", files["run"], "--train", files["train"], "--json"))
    parts = ("starting", "encoding", "loading", "queries", "training")
    assert found["seconds"] == pytest.approx(sum(found[part] for part in parts))
    assert found["training_images"] == TRAIN
    assert found["memory"] > 0


def test_methods_on_features_are_estimated_too(files):
    given = ("estimate", files["run"], "--train", files["train"], "--timesteps", 2, "--json")
    features = answered(call(*given, "--method", "retrac-kernel", "--method", "trak-layers"))
    both = answered(call(*given, "--method", "retrac-kernel", "--method", "diffusion-retrac"))
    assert min(features["loading"], features["queries"], features["training"]) > 0
    assert features["memory"] > 10**7
    assert both["scores"] > features["scores"] / 2
    refused = call(*given, "--method", "pixel-kernel")
    assert refused.exit_code == 1
    assert "no estimate of pixel-kernel" in refused.output


def test_doctor_answers_with_its_findings_and_keeps_its_exit_code(files, tmp_path):
    found = answered(call("doctor", files["run"], "--train", files["train"], "--json"))
    assert found["usable"] is True
    assert {"found", "not recorded"} >= {each["kind"] for each in found["findings"]}
    run = write_run(tmp_path / "damaged")
    weights = next(run.rglob("checkpoint-*/unet/*.safetensors"))
    weights.write_bytes(b"")
    refused = call("doctor", run, "--json")
    assert refused.exit_code == 1
    told = json.loads(refused.stdout)
    assert told["usable"] is False
    assert told["findings"][-1]["kind"] == "cannot be attributed"


def test_list_answers_with_all_that_is_installed():
    found = answered(call("list", "--json"))
    assert [one["name"] for one in found["methods"]] == list(plugins.attributors())
    assert [one["name"] for one in found["metrics"]] == list(plugins.metrics())
    assert [one["name"] for one in found["tasks"]] == list(plugins.tasks())
    assert "core" in found["plugins"]


def test_benchmark_answers_with_its_rows(files, tmp_path):
    given = ("--train", files["train"], "--queries", files["queries"], "--methods", "random")
    only = ("--metrics", "specificity@10", "--out", tmp_path, "--json", "--no-page")
    found = answered(call("benchmark", files["run"], *given, *only))
    assert {row["metric"] for row in found["rows"]} == {"specificity@10"}
    assert str(tmp_path / "rows.json") in found["files"]
    assert found["page"] is None


def test_an_error_is_on_stderr_alone(files, tmp_path):
    result = attribute(files, tmp_path, "--json", "--timesteps", 1001)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "more timesteps than the schedule has" in result.stderr


def test_quiet_says_nothing_and_does_all(files, tmp_path):
    result = attribute(files, tmp_path, "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert Scores.load(tmp_path / "diffusion-retrac.safetensors").values.shape == (QUERIES, TRAIN)
    assert (tmp_path / "index.html").is_file()
    failed = attribute(files, tmp_path, "--quiet", "--timesteps", 1001)
    assert "more timesteps than the schedule has" in failed.stderr


def test_quiet_with_json_is_the_answer_alone(files, tmp_path):
    result = attribute(files, tmp_path, "--quiet", "--json")
    assert result.stderr == ""
    assert set(answered(result)) == {"findings", "methods", "page"}


def test_numbers_that_json_has_not_are_null():
    @click.command()
    @as_json
    def odd():
        answer(lambda: {"a": [float("nan"), float("inf"), 1.5], 2: {"b": None}})

    assert (
        CliRunner().invoke(odd, ["--json"]).output == '{"a": [null, null, 1.5], "2": {"b": null}}\n'
    )
    assert CliRunner().invoke(odd, []).output == ""


def test_breakdown_splits_the_strongest_of_our_methods_and_leaves_the_others(files, tmp_path):
    methods = [w for name in ("diffusion-retrac", "random") for w in ("--method", name)]
    result = attribute(files, tmp_path, "--breakdown", *methods)
    assert result.exit_code == 0, result.output
    assert "random has no breakdown" in result.output
    scores = Scores.load(tmp_path / "diffusion-retrac.safetensors")
    found = Breakdown.load(tmp_path / "diffusion-retrac-breakdown.safetensors")
    listed = {
        (query, i)
        for top in (scores.proponents(2), scores.opponents(2))
        for query, row in enumerate(top.indices.tolist())
        for i in row
    }
    assert set(found.places) == listed
    told = scores.values[found.pairs[:, 0], found.pairs[:, 1]]
    torch.testing.assert_close(found.values.sum((1, 2)), told, rtol=1e-3, atol=1e-6)
    assert not (tmp_path / "random-breakdown.safetensors").exists()
    again = call(
        *("report", *tmp_path.glob("*.safetensors"), "--train", files["train"]),
        *("--queries", files["queries"], "--out", tmp_path / "again.html", "--json"),
    )
    assert again.exit_code == 0, again.output
    pages = [(tmp_path / name).read_text() for name in ("index.html", "again.html")]
    data = [json.loads(re.search(r'id="data">(.*?)</script>', page)[1]) for page in pages]
    for page in data:
        assert sum(len(of["terms"]) for answer in page["answers"] for of in answer) == len(listed)
    assert json.loads(again.stdout) == {"page": str(tmp_path / "again.html")}


def test_a_breakdown_of_repeated_draws_sums_to_their_mean(files, tmp_path):
    run = write_run(tmp_path / "unrecorded")
    result = attribute({**files, "run": run}, tmp_path, "--breakdown", "--repeats", 2)
    assert result.exit_code == 0, result.output
    scores = Scores.load(tmp_path / "diffusion-tracin.safetensors")
    found = Breakdown.load(tmp_path / "diffusion-tracin-breakdown.safetensors")
    told = scores.values[found.pairs[:, 0], found.pairs[:, 1]]
    torch.testing.assert_close(found.values.sum((1, 2)), told, rtol=1e-3, atol=1e-6)
