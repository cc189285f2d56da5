"""``retrac featurize`` and ``retrac attribute --store``, called as a user calls them."""

import csv
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from retrac_plugin import Scores
from retrac_plugin.cli import main, scoring
from retrac_plugin.report import of_scores
from tests.run_folders import write_all, write_images, write_run

TRAIN = 10
METHODS = ("--method", "diffusion-retrac", "--method", "retrac-ridge")
FEW = ("--timesteps", 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("stores"), TRAIN)


def featurize(files, store, *more, env=None):
    arguments = [files / "run", "--train", files / "train.safetensors", "--store", store]
    given = [*arguments, *FEW, *METHODS, "--shard-samples", 4, *more]
    return CliRunner().invoke(main, ["featurize", *map(str, given)], env=env)


def attribute(files, out, *more):
    arguments = [files / "run", "--train", files / "train.safetensors", "--out", out, *FEW]
    given = [*arguments, "--queries", files / "queries.safetensors", *METHODS, "-k", 3, *more]
    return CliRunner().invoke(main, ["attribute", *map(str, given)])


def test_a_store_answers_as_an_attribution_does(files, tmp_path):
    first = featurize(files, tmp_path / "store")
    assert first.exit_code == 0, first.output
    assert "9 files computed, 0 were there" in first.output
    again = featurize(files, tmp_path / "store")
    assert "0 files computed, 9 were there" in again.output
    asked = attribute(files, tmp_path / "asked", "--store", tmp_path / "store")
    assert asked.exit_code == 0, asked.output
    direct = attribute(files, tmp_path / "direct")
    assert direct.exit_code == 0, direct.output
    for name in ("diffusion-retrac", "retrac-ridge"):
        found = Scores.load(tmp_path / "asked" / f"{name}.safetensors")
        expected = Scores.load(tmp_path / "direct" / f"{name}.safetensors")
        pair = torch.stack([found.values.flatten(), expected.values.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.99
        assert found.about["store"] == str(tmp_path / "store")
        assert found.train_names == expected.train_names
        lines = (tmp_path / "asked" / f"{name}.csv").read_text().splitlines()
        listed = list(csv.DictReader(lines))
        assert len(listed) == 2 * 2 * 3
        assert int(listed[0]["train"]) == found.proponents(1).indices[0, 0]
        assert float(listed[0]["score"]) == pytest.approx(found.values[0].max().item())
    assert (tmp_path / "asked" / "index.html").is_file()


def test_exact_scores_are_those_of_an_attribution(files, tmp_path):
    featurize(files, tmp_path / "store")
    one = ("--method", "diffusion-retrac")
    refused = attribute(files, tmp_path / "out", "--store", tmp_path / "store", "--exact", 5)
    assert refused.exit_code == 1
    assert "expected diffusion-tracin or diffusion-retrac, got a RetracRidge" in refused.output
    given = [files / "run", "--train", files / "train.safetensors", "--out", tmp_path / "out"]
    given += ["--queries", files / "queries.safetensors", *one, *FEW, "-k", 3, "--exact", TRAIN]
    alone = CliRunner().invoke(main, ["attribute", *map(str, given)])
    assert alone.exit_code == 1
    assert "--exact goes with --store" in alone.output
    whole = CliRunner().invoke(
        main, ["attribute", *map(str, given), "--store", str(tmp_path / "store")]
    )
    assert whole.exit_code == 0, whole.output
    assert f"{TRAIN} images of the short lists have exact scores" in whole.output
    attribute(files, tmp_path / "direct")
    found = Scores.load(tmp_path / "out" / "diffusion-retrac.safetensors").values
    expected = Scores.load(tmp_path / "direct" / "diffusion-retrac.safetensors").values
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "names", [("RANK", "WORLD_SIZE"), ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")]
)
def test_processes_are_told_apart_by_what_started_them(files, tmp_path, names):
    for rank in range(2):
        environment = dict(zip(names, (str(rank), "2"), strict=True))
        done = featurize(files, tmp_path / "store", env=environment)
        assert done.exit_code == 0, done.output
    assert "are left to other processes" not in done.output
    assert "0 files computed, 9 were there" in featurize(files, tmp_path / "store").output


def test_options_that_differ_from_the_stores_are_refused_by_name(files, tmp_path):
    featurize(files, tmp_path / "store")
    other = featurize(files, tmp_path / "store", "--rows", "int8")
    assert other.exit_code == 1
    assert "made with rows float16" in other.output
    asked = attribute(files, tmp_path / "out", "--store", tmp_path / "store", "--seed", 1)
    assert asked.exit_code == 1
    assert "differ in draws: Shared(count=2, --noise-draws 1, --seed 0)" in asked.output
    assert not list((tmp_path / "out").glob("retrac-ridge*"))


def test_more_training_images_are_computed_alone(files, tmp_path):
    store = tmp_path / "store"
    arguments = ["featurize", files / "run", "--store", store, *FEW, "--method", "retrac-ridge"]
    few = write_images(
        tmp_path / "few.safetensors",
        torch.linspace(-1, 1, 6 * 64).view(6, 1, 8, 8),
    )
    more = write_images(
        tmp_path / "more.safetensors",
        torch.cat([torch.linspace(-1, 1, 6 * 64).view(6, 1, 8, 8), torch.zeros(1, 1, 8, 8)]),
    )
    for train, told in ((few, "1 files computed, 0"), (more, "1 files computed, 1")):
        run = write_run(tmp_path / train.stem, steps=(90,))
        arguments[1] = run
        done = CliRunner().invoke(main, [*map(str, arguments), "--train", str(train)])
        assert done.exit_code == 0, done.output
        assert told in done.output


def test_a_closed_pipe_loses_no_scores(files, tmp_path):
    featurize(files, tmp_path / "store")
    command = [sys.executable, "-m", "retrac_plugin", "attribute", files / "run", *FEW, *METHODS]
    command += ["--train", files / "train.safetensors", "--queries", files / "queries.safetensors"]
    command += ["--store", tmp_path / "store", "--out", tmp_path / "out", "--no-page", "-k", 2]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ
    ) as process:
        process.stdout.readline()
        process.stdout.close()
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 2


def test_an_estimate_of_a_store_is_about_what_it_takes(files, tmp_path):
    given = [files / "run", "--train", files / "train.safetensors", *FEW, *METHODS]
    told = CliRunner().invoke(main, ["estimate", *map(str, given), "--store"])
    assert told.exit_code == 0, told.output
    assert "a question of one picture instead of" in told.output
    featurize(files, tmp_path / "store")
    rows = sum(p.stat().st_size for p in (tmp_path / "store").glob("*/???-??????.safetensors"))
    disk = float(re.search(r"disk +([\d.]+) kB", told.output)[1]) * 1000
    assert 0.95 * rows <= disk <= rows


def test_a_store_that_is_too_large_is_refused_before_it_is_begun(files, tmp_path):
    for option, told in (("--max-disk", "bytes of disk"), ("--max-memory", "bytes of memory")):
        refused = featurize(files, tmp_path / "store", option, "1kB")
        assert refused.exit_code == 1
        assert told in refused.output
        assert not (tmp_path / "store").exists()


def rows_of(path):
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]


def named_in(answer):
    """Return positions and names on each list of an answer in JSON."""
    methods = json.loads(answer.stdout)["methods"].values()
    queries = [query for method in methods for query in method["queries"]]
    ends = [query[end] for query in queries for end in ("proponents", "opponents")]
    return [(one["index"], one["name"]) for end in ends for one in end]


def check_report(files, lists):
    """The page is made again from the files."""
    scores = [lists / f"{name}.safetensors" for name in ("diffusion-retrac", "retrac-ridge")]
    given = [*scores, "--train", files / "train.safetensors", "--out", lists / "again.html"]
    given += ["--queries", files / "queries.safetensors"]
    reported = CliRunner().invoke(main, ["report", *map(str, given)])
    assert reported.exit_code == 0, reported.output
    again = (lists / "again.html").read_text(encoding="utf-8")
    assert f"2 pictures and {TRAIN} training images" in again


def test_where_a_matrix_would_not_fit_its_lists_are_written_alone(files, tmp_path, monkeypatch):
    featurize(files, tmp_path / "store")
    of_all = attribute(files, tmp_path / "all", "--store", tmp_path / "store", "--json")
    monkeypatch.setattr(scoring, "MATRIX_BYTES", 100)
    monkeypatch.setattr(of_scores, "DEPTHS", (3,))
    given = (files, tmp_path / "lists", "--store", tmp_path / "store")
    told = attribute(*given).output
    assert f"{TRAIN} scores for each of 2 pictures are not kept" in told
    listed = attribute(*given, "--json")
    assert named_in(listed) == named_in(of_all)
    for name in ("diffusion-retrac", "retrac-ridge"):
        lines = [rows_of(tmp_path / out / f"{name}.csv") for out in ("all", "lists")]
        assert [row[:-1] for row in lines[0]] == [row[:-1] for row in lines[1]]
        values = torch.tensor([[float(row[-1]) for row in rows] for rows in lines])
        torch.testing.assert_close(values[0], values[1])
        whole = Scores.load(tmp_path / "all" / f"{name}.safetensors")
        found = Scores.load(tmp_path / "lists" / f"{name}.safetensors")
        columns = found.train_positions
        assert 6 <= len(columns) < TRAIN == found.num_train
        torch.testing.assert_close(found.values, whole.values[:, columns])
        assert found.train_names == tuple(whole.train_names[i] for i in columns.tolist())
    page = (tmp_path / "lists" / "index.html").read_text(encoding="utf-8")
    assert f"2 pictures and {TRAIN} training images" in page
    check_report(files, tmp_path / "lists")


def test_how_much_a_matrix_may_take_is_an_option(files, tmp_path):
    featurize(files, tmp_path / "store")
    paper = [files / "run", "--train", files / "train.safetensors", "--out", tmp_path / "paper"]
    paper += ["--queries", files / "queries.safetensors", "--method", "diffusion-retrac", *FEW]
    paper += ["--store", tmp_path / "store", "--max-memory"]
    for memory, told in (("1kB", False), ("79B", True)):
        output = CliRunner().invoke(main, ["attribute", *map(str, [*paper, memory])]).output
        assert ("are not kept" in output) is told, output
    refused = CliRunner().invoke(main, ["attribute", *map(str, [*paper, "79B", "--exact", 3])])
    assert refused.exit_code == 1
    assert "--exact: the scores of 10 images for 2 pictures take 80 B" in refused.output
