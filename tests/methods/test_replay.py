"""ReTrac with every recorded visit replayed."""

import dataclasses

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.errors import TraceError
from retrac_plugin.methods.replay import ReplayedReTrac, VisitsBetween
from tests.methods import textbook
from tests.small import small_case
from tests.textbook import direction, gradient

DRAWS = retrac.Strided(3, noise_draws=2, seed=2)
EPOCHS_EACH, BATCH = 5, 2


@pytest.fixture(scope="module")
def case():
    return small_case(train=4)


@pytest.fixture(scope="module")
def trace(case, tmp_path_factory):
    """Two stretches of 10 steps: five epochs of two batches before each checkpoint."""
    folder, generator = tmp_path_factory.mktemp("run"), torch.Generator().manual_seed(0)
    recorder = retrac.Recorder(num_samples=4, seed=5)
    images = torch.stack(case.train)
    for epoch in range(2 * EPOCHS_EACH):
        order = torch.randperm(4, generator=generator)
        for ids in order.split(BATCH):
            timesteps = torch.randint(100, (BATCH,), generator=generator)
            recorder.draw(ids, timesteps, images[ids], step_size=0.1)
        if epoch % EPOCHS_EACH == EPOCHS_EACH - 1:
            recorder.save(folder / f"checkpoint-{2 * (epoch + 1)}")
    return retrac.read_trace(folder)


def test_scores_equal_the_textbook(case, trace):
    ours = ReplayedReTrac(
        case.model,
        case.checkpoints,
        train_draws=retrac.Recorded(trace),
        query_draws=DRAWS,
        batch_size=7,
    )
    expected = torch.zeros(3, 4).double()
    for k, checkpoint in enumerate(case.checkpoints):
        _, queries = textbook.features(case, DRAWS, k, rescale=direction)
        for i, x in enumerate(case.train):
            visits = [
                v
                for v in range(len(trace.ids))
                if trace.ids[v] == i and 10 * k <= trace.steps[v] < 10 * (k + 1)
            ]
            assert len(visits) == EPOCHS_EACH
            directions = [
                direction(
                    gradient(
                        textbook.output_of(
                            case,
                            "loss",
                            x,
                            trace.timesteps[v],
                            trace.noise(torch.tensor([v]), x.shape)[0].double(),
                        ),
                        case.network,
                    )
                )
                for v in visits
            ]
            mean = torch.stack(directions).mean(0)
            expected[:, i] += checkpoint.step_size * (queries @ mean)
    scores = ours.attribute(case.train, case.queries)
    torch.testing.assert_close(scores.values, expected, rtol=1e-8, atol=1e-12)
    assert scores.about["passes"] == 2 * (4 * EPOCHS_EACH + 3 * 6)


def test_with_one_draw_each_it_is_diffusion_retrac(case):
    options = {"train_draws": retrac.Uniform(1, seed=1), "query_draws": DRAWS}
    found, official = (
        method(case.model, case.checkpoints, **options).attribute(case.train, case.queries).values
        for method in (ReplayedReTrac, plugins.get_attributor("diffusion-retrac"))
    )
    torch.testing.assert_close(found, official, rtol=1e-9, atol=1e-12)


def test_samples_visited_unequally_often_are_refused(case, trace):
    ours = ReplayedReTrac(
        case.model,
        [dataclasses.replace(c, step=c.step - 1) for c in case.checkpoints],
        train_draws=retrac.Recorded(trace),
        query_draws=DRAWS,
    )
    with pytest.raises(TraceError, match="between steps 0 and 9 samples were visited 4 to 5 times"):
        ours.attribute(case.train, case.queries)


def test_a_stretch_without_visits_is_refused(trace):
    with pytest.raises(TraceError, match="visited 0 to 0 times"):
        VisitsBetween(trace, 100, 200).per_sample()


def test_a_checkpoint_without_its_step_is_refused(case, trace):
    ours = ReplayedReTrac(
        case.model,
        [dataclasses.replace(c, step=None) for c in case.checkpoints],
        train_draws=retrac.Recorded(trace),
    )
    with pytest.raises(TraceError, match="checkpoint 0 has no step"):
        ours.attribute(case.train, case.queries)
