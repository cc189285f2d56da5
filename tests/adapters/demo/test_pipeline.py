"""The demo from end to end with its quick recipe: a second of training, the same pipeline."""

import json
import re

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import retrac_plugin as retrac
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.cli import main
from retrac_plugin.randomness import content_key
from tests.threads import threads_restored

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    with threads_restored():
        result = CliRunner().invoke(main, ["demo", "--recipe", "quick", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_it_says_where_the_page_lies(made):
    out, output = made
    assert f"The page: {(out / 'index.html').as_uri()}" in output
    assert "recorded, and replayed" in output
    assert "specificity@10" in output


def test_it_leaves_figure_page_scores_and_a_run_that_can_be_read(made):
    out, _ = made
    assert (out / "proponents.png").read_bytes().startswith(b"\x89PNG")
    assert "Diffusion-ReTrac" in (out / "index.html").read_text()
    for method in ("diffusion-tracin", "diffusion-retrac"):
        scores = retrac.Scores.load(out / "scores" / f"{method}.safetensors")
        assert scores.values.shape == (16, 1200)
        split = Breakdown.load(out / "scores" / f"{method}-breakdown.safetensors")
        told = scores.values[split.pairs[:, 0], split.pairs[:, 1]]
        torch.testing.assert_close(split.values.sum((1, 2)), told, rtol=1e-3, atol=1e-6)
        assert len(split.pairs) >= 16 * 2 * 3
    run = retrac.read_run(out / "run")
    assert [checkpoint.step for checkpoint in run.checkpoints] == [6, 12]
    assert run.trace is not None


def test_the_page_opens_on_the_picture_with_most_proponents_of_its_own_kind(made):
    out, _ = made
    html = (out / "index.html").read_text()
    page = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    own = [_of_its_kind(page, query) for query in range(16)]
    assert own[page["opening"]] == max(own)
    label = page["queries"][page["opening"]]["label"]
    likeness = "a digit" if label == "digit" else f"the {label}"
    assert f"it looks like {likeness}, and {max(own)} of its 10 strongest" in html
    assert f"over all pictures the share is {sum(own) / 160:.0%}" in html


def _of_its_kind(page, query):
    first = page["answers"][query][1]["ends"][0]["entries"][:10]
    labels = [page["images"][place]["label"] for place, *_ in first]
    return labels.count(page["queries"][query]["label"])


@pytest.mark.parametrize("taken", ["index.html", "scores/diffusion-retrac.safetensors"])
def test_where_it_cannot_write_is_refused_before_the_work(tmp_path, taken):
    (tmp_path / taken).mkdir(parents=True)
    result = CliRunner().invoke(main, ["demo", "--recipe", "quick", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith("Error: cannot write")
    assert not (tmp_path / "run").exists()


def test_a_second_call_trains_nothing(made):
    out, _ = made
    weights = out / "run" / "checkpoint-12" / "unet" / "diffusion_pytorch_model.safetensors"
    before = weights.stat().st_mtime_ns
    scores = retrac.Scores.load(out / "scores" / "diffusion-retrac.safetensors").values
    result = CliRunner().invoke(main, ["demo", "--recipe", "quick", "--out", str(out)])
    assert "using the run that is already in" in result.output
    assert weights.stat().st_mtime_ns == before
    again = retrac.Scores.load(out / "scores" / "diffusion-retrac.safetensors").values
    assert torch.equal(scores, again)


def test_it_answers_with_one_json_object_and_is_quiet(made):
    out, output = made
    assert "training: 12 of 12 after" in output
    given = ["demo", "--recipe", "quick", "--out", str(out), "--json", "--quiet"]
    result = CliRunner().invoke(main, given)
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["page"] == str(out / "index.html")
    assert found["metrics"][0]["name"] == "specificity@10"
    assert set(found["metrics"][0]["values"]) == {"Diffusion-TracIn", "Diffusion-ReTrac"}


def test_the_saved_images_are_those_of_the_trace(made):
    out, _ = made
    images = load_file(out / "train.safetensors")["sample"]
    ids = list(range(0, 1200, 100))
    trace = retrac.read_trace(out / "run")
    trace.check_dataset(1200, ids, [content_key(images[i]) for i in ids])


def test_an_interrupted_training_starts_anew(made, tmp_path):
    out, _ = made
    run = tmp_path / "run"
    (run / "checkpoint-6" / "unet").mkdir(parents=True)
    (run / "checkpoint-6" / "unet" / "half").write_text("half a checkpoint")
    result = CliRunner().invoke(main, ["demo", "--recipe", "quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert not (run / "checkpoint-6" / "unet" / "half").exists()
    name = "scores/diffusion-retrac.safetensors"
    ours, theirs = (retrac.Scores.load(folder / name).values for folder in (tmp_path, out))
    assert torch.equal(ours, theirs)
