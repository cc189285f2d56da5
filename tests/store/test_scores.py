"""Scores from a store are the scores without one."""

import pytest
import torch

from retrac_plugin import Recorded, Recorder, Uniform, plugins, wrap
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.methods.layer_weights import LayerWeights
from retrac_plugin.methods.trak import TRAK
from retrac_plugin.progress import LINES, shown_as
from retrac_plugin.store.answering import scores_from
from retrac_plugin.store.attributing import attribute_from, features_of
from retrac_plugin.store.featurizing import featurize
from retrac_plugin.store.questions import OfPaper
from retrac_plugin.store.store import Store
from retrac_plugin.trace.reading import read_trace
from tests.store.cases import SHARD, ask, case, fill, method

CASE = case()
SAMPLE_BY_SAMPLE = [
    *("gradient-dot", "gradient-cosine", "tracincp", "gas", "retrac-paired", "retrac-per-draw"),
    *("trak", "d-trak", "relative-influence", "renormalised-influence", "das"),
    *("retrac-curvature", "retrac-ridge"),
]
WHOLE = ["retrac-kernel"]
PAPER = ["diffusion-tracin", "diffusion-retrac"]


@pytest.mark.parametrize("name", SAMPLE_BY_SAMPLE + WHOLE)
def test_scores_from_rows_of_float32_are_those_without_a_store(name, tmp_path):
    attributor = method(name, CASE)
    fill(tmp_path, attributor, CASE.train)
    found = ask(tmp_path, attributor, CASE.train, CASE.queries).values
    expected = attributor.attribute(CASE.train, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize("name", ["trak", "retrac-kernel"])
def test_layer_weights_are_learned_from_a_store_too(name, tmp_path):
    attributor = method(name, CASE, layers=LayerWeights(copies=4))
    fill(tmp_path, attributor, CASE.train)
    found = ask(tmp_path, attributor, CASE.train, CASE.queries)
    expected = attributor.attribute(CASE.train, CASE.queries)
    values = expected.values
    torch.testing.assert_close(found.values, values, rtol=1e-4, atol=1e-4 * values.abs().max())
    assert found.about["learned"] == pytest.approx(expected.about["learned"], abs=1e-4)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_methods_are_exact_where_the_sketch_keeps_every_number(name, tmp_path):
    attributor = method(name, CASE)
    width = sum(p.numel() for p in CASE.network.parameters())
    question = OfPaper(attributor, CountSketch(width))
    store = Store.create(tmp_path, "float32", SHARD)
    featurize(store, question.setting, question.needs(), ExampleSource(CASE.train, "train"))
    found = scores_from(store, question, CASE.train, CASE.queries).values
    expected = attributor.attribute(CASE.train, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max())


@pytest.mark.parametrize(("rows", "error"), [("float16", 2e-3), ("int8", 5e-2)])
@pytest.mark.parametrize("name", ["diffusion-retrac", "trak", "retrac-ridge"])
def test_fewer_digits_change_scores_by_no_more_than_they_round(name, rows, error, tmp_path):
    attributor = method(name, CASE)
    for kept in ("float32", rows):
        fill(tmp_path / kept, attributor, CASE.train, rows=kept)
    whole, rounded = (
        ask(tmp_path / kept, attributor, CASE.train, CASE.queries).values
        for kept in ("float32", rows)
    )
    assert 0 < (rounded - whole).abs().max() < error * whole.abs().max()


def test_rows_of_zeros_are_kept_as_they_are(tmp_path):
    given = case()
    for parameter in given.network.parameters():
        parameter.requires_grad_(False)
    given.network.time.weight.requires_grad_(True)
    with torch.no_grad():
        for checkpoint in given.checkpoints:
            checkpoint.parameters["leave.weight"].zero_()  # nothing reaches the timestep's weight
    attributor = TRAK(wrap(given.network, given.schedule), given.checkpoints, progress=False)
    for rows in ("float16", "int8"):
        with pytest.raises(Exception, match="zero"):
            fill(tmp_path / rows, attributor, given.train, rows=rows)


def test_recorded_draws_are_found_by_a_samples_place(tmp_path):
    recorder = Recorder(num_samples=len(CASE.train))
    images = torch.stack(CASE.train)
    for step in (9, 19):
        timesteps = torch.arange(len(images)) * 3 + step
        recorder.draw(range(len(images)), timesteps, images, step_size=0.1, step=step)
    recorder.save(tmp_path / "run")
    draws = Recorded(read_trace(tmp_path / "run"))
    attributor = method("diffusion-retrac", CASE, train_draws=draws)
    fill(tmp_path, attributor, CASE.train)
    found = ask(tmp_path, attributor, CASE.train, CASE.queries).values
    drawn = method("diffusion-retrac", CASE, train_draws=Uniform(1))
    fill(tmp_path, drawn, CASE.train)
    other = ask(tmp_path, drawn, CASE.train, CASE.queries).values
    assert (found - other).abs().max() > 0.01 * found.abs().max()
    expected = attributor.attribute(CASE.train, CASE.queries).values
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.99


def test_a_class_of_another_package_scores_sample_by_sample_only_if_it_says_so(tmp_path):
    class Centred(TRAK):
        """Takes the mean over the training set away, which some of it do not know."""

        def score(self, bank):
            values = super().score(bank)
            return values - values.mean(1, keepdim=True)

    attributor = Centred(CASE.model, CASE.checkpoints, progress=False)
    fill(tmp_path, attributor, CASE.train)
    found = ask(tmp_path, attributor, CASE.train, CASE.queries).values
    expected = attributor.attribute(CASE.train, CASE.queries).values
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_method_that_keeps_no_features_is_refused_before_any_work(tmp_path):
    store = Store.create(tmp_path, "float32", SHARD)
    other = method("pixel-similarity", CASE)
    with pytest.raises(InputError, match="pixel-similarity cannot be asked of a store"):
        features_of("pixel-similarity", other)
    with pytest.raises(InputError, match="pixel-similarity cannot be asked of a store"):
        next(attribute_from(store, {"pixel-similarity": other}, CASE.train, CASE.queries))


def test_the_bar_counts_what_is_read_as_it_counts_what_is_computed(tmp_path, capsys):
    attributor = plugins.get_attributor("retrac-kernel")(CASE.model, CASE.checkpoints)
    fill(tmp_path, attributor, CASE.train)
    with shown_as(LINES):
        ask(tmp_path, attributor, CASE.train, CASE.queries)
    total = len(CASE.train) + len(CASE.queries)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"features: {total} of {total} after")
