"""The command line, called as a user calls it."""

import csv
import re
from collections import Counter

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from retrac_plugin import Scores, plugins
from retrac_plugin.cli import main
from tests.run_folders import record, write_images, write_run


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    run = write_run(folder / "run")
    record(run, images)
    train = write_images(folder / "train.safetensors", images)
    queries = write_images(folder / "queries.safetensors", images[:2] * 0.9)
    return {"run": run, "train": train, "queries": queries}


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def attribute(files, *more, out):
    return call(
        *("attribute", files["run"], "--train", files["train"], "--queries", files["queries"]),
        *("--timesteps", 2, "--noise-draws", 1, "-k", 3, "--out", out, *more),
    )


@pytest.mark.parametrize("command", [*plugins.commands(), None])
def test_help(command):
    result = call(*(c for c in (command, "--help") if c))
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_version():
    assert call("--version").output.startswith("retrac, version 0.")


def test_list_names_methods_metrics_and_plugins():
    output = call("list").output
    for name in ("diffusion-retrac", "diffusion-tracin", "specificity@10", "core", "diffusers"):
        assert name in output


def test_attribute_writes_and_prints_the_scores(files, tmp_path):
    result = attribute(files, out=tmp_path)
    assert result.exit_code == 0, result.output
    assert "recorded, and replayed" in result.output
    for method in ("diffusion-tracin", "diffusion-retrac"):
        scores = Scores.load(tmp_path / f"{method}.safetensors")
        assert scores.values.shape == (2, 5)
        first = scores.proponents(3).indices[0, 0].item()
        value = scores.proponents(3).values[0, 0].item()
        assert f"0: proponents {first} ({value:+.3g})" in result.output


def test_batch_size_changes_no_score(files, tmp_path):
    for size in (1, 64):
        attribute(files, "--batch-size", size, out=tmp_path / str(size))
    one, many = (
        Scores.load(tmp_path / size / "diffusion-retrac.safetensors").values for size in ("1", "64")
    )
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-6)


def test_memory_changes_no_score(files, tmp_path):
    assert attribute(files, out=tmp_path / "a").exit_code == 0
    store = tmp_path / "store"
    store.mkdir()
    options = ("--max-memory", "200MB", "--query-store", store)
    found = attribute(files, *options, out=tmp_path / "b")
    assert found.exit_code == 0, found.output
    for method in ("diffusion-tracin", "diffusion-retrac"):
        one, other = (Scores.load(tmp_path / d / f"{method}.safetensors") for d in "ab")
        torch.testing.assert_close(one.values, other.values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("memory", "message"), [("1MB", "--max-memory: 1,000,000 bytes are too few"), ("much", "'4GB'")]
)
def test_memory_that_is_too_little_or_no_size_is_refused(files, tmp_path, memory, message):
    found = attribute(files, "--max-memory", memory, out=tmp_path)
    assert found.exit_code == 1
    assert message in found.output


def test_self_influence(files, tmp_path):
    out = tmp_path / "self.safetensors"
    result = call(
        *("self-influence", files["run"], "--train", files["train"], "--timesteps", 2),
        *("--noise-draws", 1, "-k", 2, "--out", out),
    )
    assert result.exit_code == 0, result.output
    values = load_file(out)["self_influence"]
    assert values.shape == (5,)
    assert f"  {values.argmax().item()}  {values.max().item():+.4g}" in result.output


def test_images_are_ranked_by_their_own_losses(files, tmp_path):
    """By a method whose values ask for no draws of a query, and the page says what they are."""
    out = tmp_path / "self.safetensors"
    result = call(
        *("self-influence", files["run"], "--train", files["train"], "--timesteps", 2),
        *("--method", "training-loss", "--out", out),
    )
    assert result.exit_code == 0, result.output
    assert (load_file(out)["self_influence"] > 0).all()
    assert "training images with the highest loss:" in out.with_suffix(".html").read_text()


def test_a_method_without_self_influence_is_refused_by_name(files, tmp_path):
    result = call(
        *("self-influence", files["run"], "--train", files["train"], "--timesteps", 2),
        *("--method", "trak", "--out", tmp_path / "self.safetensors"),
    )
    assert result.exit_code == 1
    assert "--method trak: " in result.output
    assert "diffusion-tracin or training-loss" in result.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "tracing"], "unknown attributor 'tracing': installed are "),
        (["--timesteps", 1001], "more timesteps than the schedule has (1000)"),
    ],
)
def test_our_errors_are_one_line_and_no_traceback(files, tmp_path, more, message):
    result = attribute(files, *more, out=tmp_path)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_of_a_training_set_smaller_than_asked_all_are_listed(files, tmp_path):
    result = attribute(files, "-k", 6, out=tmp_path)
    assert result.exit_code == 0, result.output
    with (tmp_path / "diffusion-tracin.csv").open() as file:
        rows = list(csv.DictReader(file))
    queries = len(load_file(files["queries"])["sample"])
    assert Counter(row["query"] for row in rows) == {str(i): 10 for i in range(queries)}


def test_a_changed_training_set_is_refused(files, tmp_path):
    images = load_file(files["train"])["sample"]
    other = write_images(tmp_path / "other.safetensors", images.flip(0))
    result = attribute({**files, "train": other}, out=tmp_path / "scores")
    assert result.exit_code == 1
    assert "is not the one that training saw" in result.output


def test_an_unrecorded_run_is_drawn_several_times_and_says_how_sure_it_is(files, tmp_path):
    plain = write_run(tmp_path / "run")
    result = attribute({**files, "run": plain}, "--method", "diffusion-retrac", out=tmp_path)
    assert result.exit_code == 0, result.output
    assert "means over 4 draws of what was not recorded" in result.output
    scores = Scores.load(tmp_path / "diffusion-retrac.safetensors")
    assert scores.about["repeats"] == 4
    best = scores.proponents(1).indices[0, 0]
    value, error = scores.values[0, best], scores.standard_errors[0, best]
    rank = scores.rank_errors[0, best]
    assert f"{best} ({value:+.3g} ± {error:.1g}, rank ± {rank:.1f})" in result.output


def test_estimate_counts_what_attribute_will_do(files):
    result = call(
        *("estimate", files["run"], "--data", files["train"], "--queries", 3),
        *("--timesteps", 2, "--noise-draws", 1),
    )
    assert result.exit_code == 0, result.output
    assert "5 training images, 3 queries, 3 checkpoints, drawn 1 times" in result.output
    lines = [line.split()[0] for line in result.output.splitlines()]
    assert lines[-3:] == ["time", "memory", "disk"]
    assert "disk    1.1" in result.output


def test_estimate_counts_the_files_that_attribute_writes(tmp_path):
    """Names of files, which outweigh the scores of few queries, are a part of them."""
    run, folder = write_run(tmp_path / "run"), tmp_path / "pictures"
    folder.mkdir()
    for i in range(40):
        name = folder / f"{'a picture with a long name ' * 3}{i:02}.png"
        Image.fromarray(np.full((8, 8), i, dtype=np.uint8)).save(name)
    given = ("--train", folder, "--timesteps", 2, "--noise-draws", 1, "--repeats", 1)
    told = call("estimate", run, "--queries", 40, *given)
    out = tmp_path / "out"
    done = call("attribute", run, "--queries", folder, *given, "--out", out)
    assert done.exit_code == 0, done.output
    written = sum(file.stat().st_size for file in out.glob("*.safetensors"))
    estimated = float(re.search(r"disk +([\d.]+) kB for scores", told.output)[1]) * 1000
    assert written == pytest.approx(estimated, rel=0.05)


def test_a_training_set_that_the_run_does_not_name_is_asked_for(files, tmp_path):
    result = call("attribute", files["run"], "--queries", files["queries"], "--out", tmp_path)
    assert result.exit_code == 1
    assert "the run does not say where its training set is: pass it" in result.output


def test_an_option_of_which_a_method_knows_nothing_is_refused_by_name(tmp_path):
    run = write_run(tmp_path / "run")
    images = write_images(tmp_path / "images.safetensors", torch.zeros(2, 1, 8, 8))
    arguments = [
        "attribute",
        run,
        "--train",
        images,
        "--queries",
        images,
        "--out",
        tmp_path / "o",
        "-k",
        1,
    ]
    options = ("--max-memory", "1GB", "--method", "retrac-kernel")
    done = CliRunner().invoke(main, [*map(str, arguments), *options])
    assert done.exit_code == 1
    assert "--max-memory: expected with diffusion-tracin" in done.output
    assert "retrac-kernel takes none" in done.output
