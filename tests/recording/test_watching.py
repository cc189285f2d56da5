"""What counts as a visit, a step and a checkpoint; and mistakes, early and late."""

import warnings
from io import FileIO
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from diffusers import AmusedScheduler, DDPMScheduler, EulerDiscreteScheduler
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.recording import ScriptRecording, watching
from retrac_plugin.recording.arguments import without_secrets
from retrac_plugin.recording.diffusing import as_positions
from retrac_plugin.runs.replayed import describe_trace
from retrac_plugin.trace.parts import CHANGING, ROUNDED
from tests.recording.running import fresh_process
from tests.run_folders import tiny_unet

SHAPE = (1, 8, 8)


@pytest.fixture
def recording(tmp_path):
    """A recording of whatever the test trains."""
    found = ScriptRecording("noise", tmp_path / "run", ["train.py"])
    with fresh_process(), watching(found):
        yield found


def images(count=6):
    return torch.linspace(-1, 1, count * 64).view(count, *SHAPE)


def train(loader, optimizer, scheduler=None, every=1, after=lambda step: None):
    """Train one epoch without a network; step after every so many batches."""
    scheduler = scheduler or DDPMScheduler()
    for number, (clean,) in enumerate(loader):
        noise, timesteps = torch.randn_like(clean), torch.randint(1000, (len(clean),))
        scheduler.add_noise(clean, noise, timesteps)
        if number % every == every - 1:
            optimizer.step()
            after((number + 1) // every)


def sgd(rate=0.5):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def test_a_loop_without_accelerate_is_recorded(recording, tmp_path):
    """Two batches make a step; save_pretrained into checkpoint-STEP is a checkpoint."""
    network, run = tiny_unet(), tmp_path / "run"
    train(
        DataLoader(TensorDataset(images(8)), batch_size=2, shuffle=True),
        sgd(),
        every=2,
        after=lambda step: network.save_pretrained(run / f"checkpoint-{step}" / "unet"),
    )
    trace = retrac.read_trace(run)
    assert sorted(trace.ids.tolist()) == list(range(8))
    assert trace.steps.tolist() == [0] * 4 + [1] * 4
    assert trace.step_sizes.tolist() == [0.5] * 8
    assert trace.noise(torch.arange(8), SHAPE).shape == (8, *SHAPE)
    assert len(list((run / "retrac_trace").glob("step*"))) == 3


def test_a_pipeline_saved_now_and_then_is_no_checkpoint(recording, tmp_path):
    network = tiny_unet()
    train(
        DataLoader(TensorDataset(images())),
        sgd(),
        after=lambda step: network.save_pretrained(tmp_path / "run" / "unet"),
    )
    assert len(list((tmp_path / "run" / "retrac_trace").glob("step*"))) == 1


def test_noise_without_gradients_is_no_visit(recording, tmp_path):
    loader = DataLoader(TensorDataset(images()), batch_size=3)
    with torch.no_grad():
        train(loader, sgd(), every=100)
    train(loader, sgd())
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


def test_a_batch_that_ended_in_no_step_is_no_visit(recording, tmp_path):
    train(DataLoader(TensorDataset(images()), batch_size=2), sgd(), every=2)
    assert retrac.read_trace(tmp_path / "run").ids.tolist() == [0, 1, 2, 3]


def test_one_timestep_for_a_whole_batch_is_everyones(recording, tmp_path):
    clean = next(iter(DataLoader(TensorDataset(images()), batch_size=3)))[0]
    DDPMScheduler().add_noise(clean, torch.randn_like(clean), torch.tensor([7]))
    sgd().step()
    assert retrac.read_trace(tmp_path / "run").timesteps.tolist() == [7, 7, 7]


def test_timesteps_that_are_not_whole_are_positions_in_the_schedule(recording, tmp_path):
    """As in EDM-style training with an Euler scheduler, whose table begins with the most noise."""
    scheduler = EulerDiscreteScheduler()
    clean = next(iter(DataLoader(TensorDataset(images()), batch_size=3)))[0]
    scheduler.add_noise(clean, torch.randn_like(clean), scheduler.timesteps[[5, 0, 999]])
    sgd().step()
    assert retrac.read_trace(tmp_path / "run").timesteps.tolist() == [5, 0, 999]


def test_positions_are_the_nearest_ones():
    table = torch.tensor([9.5, 4.25, 0.125])
    assert as_positions(torch.tensor([4.26, 9.4]), table).tolist() == [1, 0]
    assert as_positions(torch.tensor([4, 9]), table).tolist() == [4, 9]


@pytest.mark.parametrize("timestep", [7.0, 5.5, 2.0, 20.0])
def test_timesteps_between_two_of_the_schedule_are_not_rounded(timestep):
    with pytest.raises(InputError, match=rf"timestep {timestep:g} is none of the schedule's 3"):
        as_positions(torch.tensor([4.25, timestep]), torch.tensor([9.5, 4.25, 0.125]))


def test_a_script_may_change_its_noise_afterwards(recording, tmp_path):
    clean = next(iter(DataLoader(TensorDataset(images()), batch_size=2)))[0]
    noise = torch.randn_like(clean)
    drawn = noise.clone()
    DDPMScheduler().add_noise(clean, noise, torch.tensor([1, 2]))
    noise.zero_()
    sgd().step()
    assert torch.equal(retrac.read_trace(tmp_path / "run").noise(torch.arange(2), SHAPE), drawn)


def test_half_precision_is_kept_but_not_compared_with_the_dataset(recording, tmp_path):
    for _ in range(3):
        train(DataLoader(TensorDataset(images().half()), batch_size=6), sgd())
    trace = retrac.read_trace(tmp_path / "run")
    assert trace.keys.tolist() == [ROUNDED] * 6
    assert trace.num_seen_once == 0
    assert [str(f)[:60] for f in describe_trace(trace) if "half precision" in str(f)]
    trace.check_dataset(6, range(6), [12345] * 6)
    assert trace.noise(torch.arange(12, 18), SHAPE).dtype == torch.float32


def test_half_precision_that_changes_from_visit_to_visit_is_seen(recording, tmp_path):
    for change in (0.0, 0.5):
        data = TensorDataset((images() + change).bfloat16())
        train(DataLoader(data, batch_size=6), sgd())
    assert retrac.read_trace(tmp_path / "run").keys.tolist() == [CHANGING] * 6


def test_a_sample_that_was_seen_once_is_not_compared(recording, tmp_path):
    """Latents are drawn anew at every visit; one look cannot tell."""
    train(DataLoader(TensorDataset(images()), batch_size=6), sgd())
    retrac.read_trace(tmp_path / "run").check_dataset(6, range(6), [12345] * 6)


def test_one_sample_that_changes_shows_that_all_are_augmented(recording, tmp_path):
    for change in (0.0, 0.1):
        changed = images()
        changed[2] += change
        train(DataLoader(TensorDataset(changed), batch_size=6), sgd())
    retrac.read_trace(tmp_path / "run").check_dataset(6, range(6), [12345] * 6)


def test_a_batch_of_a_stream_is_not_taken_for_the_one_before(recording):
    train(DataLoader(TensorDataset(images()), batch_size=2), sgd())
    with pytest.warns(UserWarning, match="recording stopped after 3 steps.*unknown positions"):
        train(DataLoader(Stream(), batch_size=2), sgd())


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(image,) for image in images()])


def test_a_stream_is_refused_before_the_first_step(recording):
    with pytest.raises(InputError, match="a stream has no positions"):
        train(DataLoader(Stream(), batch_size=2), sgd())


def test_a_run_without_a_folder_is_refused_before_the_first_step():
    recording = ScriptRecording("noise", None, ["train.py", "--lr", "0.1"])
    with fresh_process(), watching(recording), pytest.raises(InputError, match="pass --out"):
        train(DataLoader(TensorDataset(images())), sgd())


@pytest.mark.parametrize("words", [["--output_dir", "{}"], ["--output_dir={}"]])
def test_the_folder_is_the_one_on_the_command_line(tmp_path, words):
    command = ["train.py", *(word.format(tmp_path / "out") for word in words)]
    recording = ScriptRecording("noise", None, command)
    with fresh_process(), watching(recording):
        Accelerator(cpu=True, project_dir=str(tmp_path / "logs"))
        train(DataLoader(TensorDataset(images())), sgd())
    assert (tmp_path / "out" / "retrac_trace").is_dir()


def test_the_folder_may_be_that_of_the_accelerator(tmp_path):
    recording = ScriptRecording("noise", None, ["train.py"])
    with fresh_process(), watching(recording):
        Accelerator(cpu=True, project_dir=str(tmp_path / "project"))
        train(DataLoader(TensorDataset(images())), sgd())
    assert (tmp_path / "project" / "retrac_trace").is_dir()


def test_another_training_set_ends_the_recording_but_not_the_training(recording, tmp_path):
    train(DataLoader(TensorDataset(images())), sgd())
    steps = []
    with pytest.warns(UserWarning, match="recording stopped after 6 steps, the training goes on"):
        train(DataLoader(TensorDataset(images(5))), sgd(), after=steps.append)
    assert len(steps) == 5
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_ends_the_recording_but_not_the_training(recording, tmp_path):
    train(DataLoader(TensorDataset(images())), sgd())
    with FileIO("/dev/full", "w") as full:
        recording.log._visits = full
        with pytest.warns(UserWarning, match="recording stopped after 6 steps.*No space left"):
            train(DataLoader(TensorDataset(images())), sgd())
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


def test_a_checkpoint_whose_name_is_no_step_is_warned_of(recording):
    train(DataLoader(TensorDataset(images())), sgd())
    with pytest.warns(UserWarning, match="'out/checkpoint-1' is saved after 6 steps"):
        recording.saved("out/checkpoint-1")
    with warnings.catch_warnings():
        recording.saved("out/checkpoint-6")
        recording.saved("out/last")


def test_a_resume_from_a_folder_without_a_step_is_refused(recording):
    with pytest.raises(InputError, match="expected a folder named checkpoint-STEP"):
        recording.resumed("out/last")


def test_a_checkpoint_loaded_in_mid_training_ends_the_recording(recording, tmp_path):
    """From there on, steps would be counted twice."""
    train(DataLoader(TensorDataset(images())), sgd())
    with pytest.warns(UserWarning, match="recording stopped after 6 steps.*in the middle"):
        recording.resumed("out/checkpoint-2")
    train(DataLoader(TensorDataset(images())), sgd())
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


def test_real_timesteps_without_a_table_are_refused():
    with pytest.raises(InputError, match="table of timesteps is not known"):
        as_positions(torch.tensor([0.5]), None)


def test_secrets_are_not_written_down():
    command = ["train.py", "--hub_token", "abc", "--api-key=def", "--tokenizer_name", "clip"]
    hidden = ["train.py", "--hub_token", "...", "--api-key=...", "--tokenizer_name", "clip"]
    assert without_secrets(command) == hidden


def test_schedulers_that_others_watch_are_watched_all_the_same(monkeypatch, tmp_path):
    """A debugging aid may have put a function with other names in the place of add_noise."""
    original = DDPMScheduler.add_noise
    monkeypatch.setattr(DDPMScheduler, "add_noise", lambda *given: original(*given))
    with fresh_process(), watching(ScriptRecording("noise", tmp_path, [])):
        train(DataLoader(TensorDataset(images())), sgd())
    assert len(retrac.read_trace(tmp_path).ids) == 6


def test_schedulers_that_mask_tokens_are_left_alone(recording):
    """AmusedScheduler.add_noise takes other arguments, for another kind of diffusion."""
    next(iter(DataLoader(TensorDataset(images()))))
    tokens = torch.zeros(1, 4, dtype=torch.int64)
    scheduler = AmusedScheduler(mask_token_id=9)
    scheduler.set_timesteps(10)
    scheduler.add_noise(tokens, 5)
    assert recording.log is None
