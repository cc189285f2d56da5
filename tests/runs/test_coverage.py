"""Checkpoints that the recorded visits do not cover, in part or at all."""

import pytest
import torch
from click.testing import CliRunner

import retrac_plugin as retrac
from retrac_plugin.cli import main
from retrac_plugin.errors import InputError, TraceError
from retrac_plugin.runs.findings import NOT_RECORDED, UNUSABLE, of_kind
from tests.run_folders import write_images, write_run

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
VISITS = {20: [0, 1], 40: [0, 2, 3], 60: [0, 1, 2, 3]}
"""Which images each checkpoint's interval visited."""


def write_recorded(directory, steps=(20, 40, 60)):
    write_run(directory, steps)
    recorder = retrac.Recorder(num_samples=4)
    for step, ids in VISITS.items():
        timesteps = torch.tensor(ids) * 100 + step
        recorder.draw(ids, timesteps, IMAGES[ids], step_size=0.1, step=step - 1)
    recorder.save(directory / f"checkpoint-{steps[0]}")
    return directory


def scores(run, **options):
    attributor = retrac.DiffusionReTrac(
        run.model,
        run.checkpoints,
        train_draws=run.train_draws,
        query_draws=retrac.Strided(2),
        **options,
    )
    return attributor.attribute(IMAGES, IMAGES[:2]).values


def alone(run, position, ids):
    """One checkpoint's own scores of the images that it visited."""
    checkpoint = run.checkpoints[position]
    visits = run.trace.last_visits(ids, checkpoint.step)
    draws = retrac.Given(
        run.trace.timesteps[visits][None], run.trace.noise(visits, (1, 8, 8))[None]
    )
    attributor = retrac.DiffusionReTrac(
        run.model,
        [checkpoint],
        train_draws=draws,
        query_draws=Fixed(retrac.Strided(2), position),
    )
    return attributor.attribute(IMAGES[ids], IMAGES[:2]).values


class Fixed:
    """Draws of one checkpoint, whatever its position."""

    def __init__(self, draws, position):
        self.draws, self.position, self.per_sample = draws, position, draws.per_sample

    def draw(self, request):
        return self.draws.draw(request._replace(checkpoint=self.position))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_an_image_has_influence_only_where_it_was_visited(tmp_path, batch_size):
    run = retrac.read_run(write_recorded(tmp_path))
    expected = torch.zeros(2, 4)
    for position, ids in enumerate(VISITS.values()):
        expected[:, ids] += alone(run, position, ids)
    torch.testing.assert_close(scores(run, batch_size=batch_size), expected, rtol=1e-4, atol=1e-7)
    first = retrac.read_run(tmp_path).without(40, 60)
    assert scores(first)[:, 2:].tolist() == [[0, 0], [0, 0]]


def test_how_many_were_not_visited_is_said(tmp_path):
    run = retrac.read_run(write_recorded(tmp_path))
    told = {f.subject: f.text for f in of_kind(run.told, NOT_RECORDED)}
    assert "2 of 4 samples were not visited between steps 0 and 20" in told["checkpoint of step 20"]
    assert (
        "1 of 4 samples were not visited between steps 20 and 40" in told["checkpoint of step 40"]
    )
    assert "checkpoint of step 60" not in told
    assert told["checkpoint of step 40"] in run.description


def test_draws_without_the_runs_steps_still_refuse_a_sample_that_was_never_visited(tmp_path):
    run = retrac.read_run(write_recorded(tmp_path))
    attributor = retrac.DiffusionTracIn(
        run.model, run.checkpoints, train_draws=retrac.Recorded(run.trace)
    )
    with pytest.raises(TraceError, match="sample 2 is missing from the trace"):
        attributor.attribute(IMAGES, IMAGES[:1])


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ((20, 40, 60, 90), "checkpoint of step 90: is later than what was recorded"),
        ((20, 40, 43, 60), "checkpoint of step 43: no visit between steps 40 and 43 was recorded"),
    ],
)
def test_a_checkpoint_that_no_visit_covers_is_refused_by_all_or_left_out(tmp_path, steps, reason):
    directory = write_recorded(tmp_path / "run", steps)
    (wrong,) = set(steps) - VISITS.keys()
    run = retrac.read_run(directory)
    assert len(of_kind(run.told, UNUSABLE)) == 1
    with pytest.raises(InputError, match=reason):
        run.check_usable()
    data = write_images(tmp_path / "images.safetensors", IMAGES)
    commands = {
        "doctor": [],
        "estimate": ["--timesteps", "1"],
        "attribute": ["--queries", str(data), "-k", "1", "--timesteps", "2"],
    }
    for name, more in commands.items():
        line = [name, str(directory), "--train", str(data), *more]
        if name == "attribute":
            line += ["--out", str(tmp_path / "scores")]
        refused = CliRunner().invoke(main, line)
        assert refused.exit_code == 1
        assert f"Leave the checkpoint out: --leave-out {wrong}" in refused.output
        done = CliRunner().invoke(main, [*line, "--leave-out", str(wrong)])
        assert done.exit_code == 0, done.output
    got = retrac.Scores.load(tmp_path / "scores" / "diffusion-retrac.safetensors").values
    whole = retrac.read_run(write_recorded(tmp_path / "whole"))
    assert got.shape == (4, 4)
    left = run.without(wrong)
    assert [c.step_size for c in left.checkpoints] == [c.step_size for c in whole.checkpoints]


def test_the_checkpoint_after_one_that_is_left_out_stands_for_its_steps(tmp_path):
    run = retrac.read_run(write_recorded(tmp_path))
    assert [c.step_size for c in run.checkpoints] == pytest.approx([0.05, 0.075, 0.1])
    assert [c.step_size for c in run.without(20).checkpoints] == pytest.approx([0.125, 0.1])
    assert [c.step_size for c in run.without(60).checkpoints] == pytest.approx([0.05, 0.075])
    seen = [f.subject for f in of_kind(run.without(20).told, NOT_RECORDED)]
    assert not any(subject.startswith("checkpoint of step") for subject in seen)
    for steps in ((30,), (20, 40, 60)):
        with pytest.raises(InputError, match="cannot leave out the checkpoints of steps"):
            run.without(*steps)
