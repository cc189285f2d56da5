"""An unmodified script under ``retrac record``: shuffled, workers, accumulation, resumed."""

import runpy
import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file

import retrac_plugin as retrac
from retrac_plugin.errors import TraceError
from tests.recording.running import SCRIPT, facts_of, fresh_process, record, told_of, visits_of

SHAPE = (1, 8, 8)
IN_PROCESS = ("--dataloader_num_workers", 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Five steps of four visits, checkpoints after two and four; noise is not plain normal."""
    folder = tmp_path_factory.mktemp("trained")
    result = record(folder / "run", "--facts", folder / "log", "--noise_offset", 0.3)
    return folder / "run", facts_of(folder / "log"), result


def test_the_trace_is_what_the_script_saw(trained):
    run, facts, _ = trained
    assert visits_of(retrac.read_trace(run)) == told_of(facts)


def test_the_noise_is_the_scripts_own(trained):
    run, facts, _ = trained
    trace = retrac.read_trace(run)
    for step in (2, 4):
        visits = trace.last_visits(range(9), step) if step == 4 else last_seen(trace, step)
        noise = trace.noise(visits, SHAPE)
        for visit, values in zip(visits.tolist(), noise, strict=True):
            assert values.flatten().tolist() == facts[visit]["noise"]


def last_seen(trace, step):
    seen = trace.ids[trace.steps < step].unique().tolist()
    return trace.last_visits(seen, step)


def test_the_replayed_loss_is_the_logged_loss(trained):
    """The weights of the last checkpoint give the losses that the next step had."""
    run, facts, _ = trained
    trace, found = retrac.read_trace(run), retrac.read_run(run)
    visits = (trace.steps == 4).nonzero().squeeze(1)
    images = torch.stack([image_of(facts[visit]["ids"]) for visit in visits.tolist()])
    weights = load_file(run / "checkpoint-4" / "unet" / "diffusion_pytorch_model.safetensors")
    noise = trace.noise(visits, SHAPE)
    batch = found.model.diffuse(images, trace.timesteps[visits], noise, {})
    losses = found.model.losses({}, weights, batch)
    logged = [facts[visit]["losses"] for visit in visits.tolist()]
    torch.testing.assert_close(
        losses, torch.tensor(logged, dtype=torch.float64), rtol=1e-12, atol=0
    )


def image_of(index):
    slope = torch.linspace(-0.05, 0.05, 8, dtype=torch.float64)
    return torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)[index] + slope.expand(1, 8, 8)


def test_the_run_is_read_and_attributed(trained):
    run, _, _ = trained
    found = retrac.read_run(run)
    train = [image_of(index).float() for index in range(9)]
    attributor = retrac.DiffusionTracIn(
        found.model,
        found.checkpoints[1:],
        train_draws=found.train_draws,
        query_draws=retrac.Strided(2),
    )
    assert attributor.attribute(train, train[:2]).values.shape == (2, 9)
    trace = retrac.read_trace(run)
    expected = float(trace.step_sizes[(trace.steps >= 2) & (trace.steps < 4)].sum()) / 9
    assert found.checkpoints[1].step_size == pytest.approx(expected)


def test_recording_changes_no_weight(trained, tmp_path):
    """With the same seed, the script alone ends at the same weights, bit by bit."""
    run, _, _ = trained
    arguments = ["--output_dir", tmp_path / "run", "--facts", tmp_path / "log"]
    with fresh_process():
        sys.argv[:] = [str(SCRIPT), *map(str, arguments), "--noise_offset", "0.3"]
        runpy.run_path(str(SCRIPT), run_name="__main__")
    name = "unet/diffusion_pytorch_model.safetensors"
    recorded, alone = load_file(run / name), load_file(tmp_path / "run" / name)
    assert all(torch.equal(recorded[key], alone[key]) for key in alone)


def test_it_says_what_it_recorded(trained):
    run, facts, result = trained
    assert f"recorded {len(facts)} visits in {run / 'retrac_trace'}" in result.output


def test_the_command_is_written_down(trained):
    run, _, _ = trained
    command = retrac.read_trace(run).command
    assert command[0] == str(SCRIPT)
    assert command[-2:] == ("--noise_offset", "0.3")


def test_a_changed_training_set_is_noticed(trained):
    run, _, _ = trained
    trace = retrac.read_trace(run)
    with pytest.raises(TraceError, match="is not the one that training saw"):
        trace.check_dataset(9, range(9), [12345] * 9)


def test_samples_of_another_shape_are_refused(trained):
    run, _, _ = trained
    trace = retrac.read_trace(run)
    with pytest.raises(TraceError, match=r"samples shaped \(1, 8, 8\), got samples shaped \(3, 8"):
        trace.noise(trace.last_visits(range(9), 4), (3, 8, 8))


def test_augmented_samples_are_kept_as_they_were_trained(tmp_path):
    log = tmp_path / "log"
    record(tmp_path / "run", "--facts", log, "--random_flip", keep="samples")
    facts, trace = facts_of(log), retrac.read_trace(tmp_path / "run")
    visits = trace.last_visits(range(9), 4)
    corners = trace.samples(visits, SHAPE)[:, 0, 0, 0].tolist()
    assert corners == [facts[visit]["corners"] for visit in visits.tolist()]
    plain = [image_of(index)[0, 0, 0].item() for index in range(9)]
    assert 0 < sum(c != pytest.approx(p) for c, p in zip(corners, plain, strict=True)) < 9
    trace.check_dataset(9, range(9), [12345] * 9)  # flips are not another dataset


def test_timesteps_alone_cost_no_file_of_noise(tmp_path):
    record(tmp_path / "run", "--facts", tmp_path / "log", *IN_PROCESS, keep="timesteps")
    trace = retrac.read_trace(tmp_path / "run")
    assert visits_of(trace) == told_of(facts_of(tmp_path / "log"))
    assert trace.noise_is_new
    assert trace.noise(torch.arange(3), SHAPE).shape == (3, *SHAPE)
    assert not list(tmp_path.rglob("noise-*.bin"))
    with pytest.raises(TraceError, match="the samples were not kept"):
        trace.samples(torch.arange(3), SHAPE)


def test_a_resumed_run_replaces_what_it_did_again(trained, tmp_path):
    """The first launch went one step beyond its checkpoint, and the second did that step again."""
    earlier, first, _ = trained
    run = tmp_path / "run"
    shutil.copytree(earlier, run)
    more = ("--max_train_steps", 8, "--seed", 1, "--resume_from_checkpoint")
    record(run, "--facts", tmp_path / "log", *more)
    second, trace = facts_of(tmp_path / "log"), retrac.read_trace(run)
    assert max(fact["step"] for fact in first) == 4
    assert min(fact["step"] for fact in second) == 4
    told = [fact for fact in first if fact["step"] < 4] + second
    assert visits_of(trace) == told_of(told)
    for step in (4, 6, 8):
        visits = trace.last_visits(range(9), step)
        for visit, values in zip(visits.tolist(), trace.noise(visits, SHAPE), strict=True):
            assert values.flatten().tolist() == told[visit]["noise"]
