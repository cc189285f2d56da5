"""The pages that commands write, called as a user calls them."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from retrac_plugin import Scores
from retrac_plugin.attribution.self_influence_files import SelfInfluence
from retrac_plugin.cli import main
from tests.run_folders import record, write_images, write_run

Image = pytest.importorskip("PIL.Image")

TRAIN, QUERIES = 6, 3
FEW = ("--timesteps", 2, "--noise-draws", 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(256, (TRAIN, 8, 8), generator=generator, dtype=torch.uint8)
    images = levels[:, None].float() / 127.5 - 1
    run = write_run(folder / "run")
    record(run, images)
    for side, count in (("train", TRAIN), ("queries", QUERIES)):
        write_images(folder / f"{side}.safetensors", images[:count])
        (folder / side).mkdir()
        for number, image in enumerate(levels[:count].numpy()):
            Image.fromarray(image).save(folder / side / f"{side} <{number}>.png")
    return folder


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def attribute(files, out, *more, kind=".safetensors"):
    places = {side: files / f"{side}{kind}" for side in ("train", "queries")}
    given = ("--train", places["train"], "--queries", places["queries"], "--out", out)
    return call("attribute", files / "run", *given, *FEW, "-k", 3, *more)


def self_influence(files, out, *more, train="train.safetensors"):
    given = ("--train", files / train, "--out", out)
    return call("self-influence", files / "run", *given, *FEW, "-k", 3, *more)


@pytest.fixture
def answered(once, tmp_path):
    """Scores and self-influence in the test's own folder; returns what was printed."""
    folder, outputs = once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return outputs


def told(result):
    """What is left on stderr beside the lines of progress."""
    lines = result.stderr.splitlines(keepends=True)
    return "".join(
        line for line in lines if not re.search(r": [0-9,]+ (samples?|of [0-9,]+ )", line)
    )


@pytest.fixture(scope="module")
def once(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answered")
    scored, ranked = attribute(files, folder), self_influence(files, folder / "self.safetensors")
    assert (scored.exit_code, ranked.exit_code) == (0, 0), scored.output + ranked.output
    return folder, scored.output + ranked.output


def listed(path):
    html = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', html)[1])


def test_attribute_writes_the_page_of_its_scores(once, answered, tmp_path):
    assert f"the page: {once[0] / 'index.html'}" in answered
    page = listed(tmp_path / "index.html")
    assert [method["name"] for method in page["methods"]] == [
        "Diffusion-TracIn",
        "Diffusion-ReTrac",
    ]
    for number, method in enumerate(("diffusion-tracin", "diffusion-retrac")):
        best = Scores.load(tmp_path / f"{method}.safetensors").proponents(1).indices[:, 0]
        for query in range(QUERIES):
            first = page["answers"][query][number]["ends"][0]["entries"][0][0]
            assert page["images"][first]["index"] == best[query]
    assert "recorded, and replayed" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_folder_s_file_names_stand_below_its_pictures(files, tmp_path):
    result = attribute(files, tmp_path, kind="")
    assert result.exit_code == 0, result.output
    page = listed(tmp_path / "index.html")
    assert [query["name"] for query in page["queries"]] == [
        f"queries <{number}>.png" for number in range(QUERIES)
    ]
    assert all(image["name"] == f"train <{image['index']}>.png" for image in page["images"])
    assert all(image["source"] for image in page["images"])
    same_page(files, tmp_path, "")


def test_no_page_leaves_it(files, tmp_path):
    assert attribute(files, tmp_path, "--no-page").exit_code == 0
    assert self_influence(files, tmp_path / "self.safetensors", "--no-page").exit_code == 0
    suffixes = sorted(path.suffix for path in tmp_path.iterdir())
    assert suffixes == [".csv"] * 2 + [".safetensors"] * 3


def test_a_page_is_written_over_and_a_file_that_is_none_of_ours_is_not(files, answered, tmp_path):
    page = tmp_path / "index.html"
    assert told(attribute(files, tmp_path)) == ""
    page.write_text("my own site")
    result = attribute(files, tmp_path)
    assert result.exit_code == 0
    assert "no page was written, but all else was: " in result.stderr
    assert "is no page of this program: move it" in result.stderr
    assert page.read_text() == "my own site"


def test_a_page_that_fails_is_one_line_and_loses_no_scores(files, tmp_path, monkeypatch):
    def fail(*arguments, **given):
        raise ValueError("what\nnobody expected")

    monkeypatch.setattr("retrac_plugin.report.of_scores.report_of", fail)
    monkeypatch.setattr("retrac_plugin.report.of_scores.report_of_selves", fail)
    for result in (attribute(files, tmp_path), self_influence(files, tmp_path / "s.safetensors")):
        assert result.exit_code == 0
        assert told(result) == (
            "retrac: no page was written, but all else was: what nobody expected\n"
        )
    assert Scores.load(tmp_path / "diffusion-retrac.safetensors").values.shape == (QUERIES, TRAIN)
    assert SelfInfluence.load(tmp_path / "s.safetensors").values.shape == (TRAIN,)


def test_self_influence_writes_the_curator_s_page(answered, tmp_path):
    out = tmp_path / "self.safetensors"
    page = listed(tmp_path / "self.html")
    order = load_file(out)["self_influence"].argsort(descending=True).tolist()
    (group,) = page["groups"]
    assert [page["images"][place]["index"] for place, _ in group["members"]] == order
    kept = SelfInfluence.load(out)
    assert kept.about["method"] == "diffusion-retrac"
    assert kept.train_names == tuple(str(number) for number in range(TRAIN))


def test_report_makes_the_page_that_attribute_wrote(files, answered, tmp_path):
    same_page(files, tmp_path, ".safetensors")


def same_page(files, tmp_path, kind):
    written = listed(tmp_path / "index.html")
    scores = [tmp_path / f"diffusion-{name}.safetensors" for name in ("tracin", "retrac")]
    places = ("--train", files / f"train{kind}", "--queries", files / f"queries{kind}")
    result = call("report", *scores, *places, "--out", tmp_path / "again.html")
    assert result.exit_code == 0, result.output
    assert listed(tmp_path / "again.html") == written


def test_report_has_what_the_training_images_were_told(files, answered, tmp_path):
    told = tuple(f"a <picture> of {number}" for number in range(TRAIN))
    paths = tmp_path / "diffusion-retrac.safetensors", tmp_path / "self.safetensors"
    replace(Scores.load(paths[0]), train_prompts=told).save(paths[0])
    replace(SelfInfluence.load(paths[1]), train_prompts=told).save(paths[1])
    train = ("--train", files / "train.safetensors")
    for given in ((paths[0], "--queries", files / "queries.safetensors"), (paths[1],)):
        assert call("report", *given, *train).exit_code == 0
        images = listed(tmp_path / "index.html")["images"]
        assert [image["caption"] for image in images] == [told[i["index"]] for i in images]


def test_report_takes_self_influence_beside_scores_or_alone(files, answered, tmp_path):
    both = [tmp_path / "diffusion-retrac.safetensors", tmp_path / "self.safetensors"]
    train, queries = (
        ("--train", files / "train.safetensors"),
        ("--queries", files / "queries.safetensors"),
    )
    assert call("report", *both, *train, *queries).exit_code == 0
    page = listed(tmp_path / "index.html")
    assert (len(page["methods"]), page["groups"][0]["name"]) == (1, "Outliers")
    assert call("report", both[1], *train).exit_code == 0
    page = listed(tmp_path / "index.html")
    assert (len(page["methods"]), page["groups"][0]["name"]) == (0, "Outliers")


@pytest.mark.parametrize(
    ("train", "queries", "status", "message"),
    [
        ("train.safetensors", None, 2, "scores need --queries"),
        ("queries.safetensors", "queries.safetensors", 1, "the scores are of 6 images"),
        ("train.safetensors", "train.safetensors", 1, "the scores are of 3 images"),
        ("train", "queries.safetensors", 1, "the scores are of '0', which is not in"),
    ],
)
def test_report_refuses_other_pictures_than_were_attributed(
    files, answered, tmp_path, train, queries, status, message
):
    (tmp_path / "index.html").unlink()
    asked = () if queries is None else ("--queries", files / queries)
    scores = tmp_path / "diffusion-retrac.safetensors"
    result = call("report", scores, "--train", files / train, *asked)
    assert result.exit_code == status
    assert message in result.output
    assert not (tmp_path / "index.html").exists()


def test_report_refuses_what_is_no_file_of_scores(files, tmp_path):
    places = ("--train", files / "train.safetensors", "--queries", files / "queries.safetensors")
    result = call("report", files / "train.safetensors", *places, "--out", tmp_path / "x.html")
    assert result.exit_code == 1
    assert "holds no scores of format 1" in result.output


def test_self_influence_of_other_images_than_the_scores_is_refused(files, answered, tmp_path):
    SelfInfluence(torch.ones(TRAIN), tuple("abcdef")).save(tmp_path / "self.safetensors")
    result = call(
        *("report", tmp_path / "diffusion-retrac.safetensors", tmp_path / "self.safetensors"),
        *("--train", files / "train.safetensors", "--queries", files / "queries.safetensors"),
    )
    assert result.exit_code == 1
    assert "different training sets" in result.output
