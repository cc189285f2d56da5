"""What the recorder writes, the trace reads, and attribution replays."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import retrac_plugin as retrac
from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.train_side import train_products
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import InputError, TraceError
from retrac_plugin.gradients.vmapped import VmapEngine
from retrac_plugin.randomness import SCHEME, normal
from retrac_plugin.runs.series import checkpoint_folders, find_trace, step_sizes_of_trace
from retrac_plugin.trace.trace import TRACE_FILE, visit_key
from tests.small import small_case

EPOCH = 3  # steps of three samples over a set of eight: the last batch holds two


@pytest.fixture
def training(tmp_path):
    """Three epochs, recorded, a checkpoint after each; what really happened is kept beside it."""
    case = small_case(train=8, checkpoints=1)
    images = torch.stack(case.train)
    recorder = retrac.Recorder(num_samples=8, seed=3)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(case.network.parameters(), lr=0.1)
    happened = {}
    for step in range(3 * EPOCH):
        if step % EPOCH == 0:
            order = torch.randperm(8, generator=generator)
        ids = order[step % EPOCH * 3 : step % EPOCH * 3 + 3]
        timesteps = torch.randint(100, (len(ids),), generator=generator)
        rate = 0.1 / (1 + step)
        noise = recorder.draw(ids, timesteps, images[ids], step_size=rate)
        batch = case.model.diffuse(images[ids], timesteps, noise, {})
        losses = case.model.losses({}, dict(case.network.named_parameters()), batch)
        for sample_id, t, eps, loss in zip(ids.tolist(), timesteps, noise, losses, strict=True):
            happened[sample_id, step // EPOCH] = (int(t), eps, loss.item(), step)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        weights = copy.deepcopy(case.network.state_dict())
        torch.autograd.backward(losses.mean())
        optimizer.step()
        if step % EPOCH == EPOCH - 1:
            folder = tmp_path / f"checkpoint-{step + 1}"
            recorder.save(folder)
            save_file(case.network.state_dict(), folder / "model.safetensors")
    return case, tmp_path, happened, weights


def test_the_trace_knows_every_visit(training):
    case, directory, happened, _ = training
    trace = retrac.read_trace(directory)
    assert trace.num_samples == 8
    assert len(trace.ids) == 24
    images = ExampleSource(case.train, "train")
    for epoch in range(3):
        visits = trace.last_visits(range(8), (epoch + 1) * EPOCH)
        noise = trace.noise(visits, images.data[0].shape)
        for sample_id in range(8):
            t, eps, _, step = happened[sample_id, epoch]
            assert trace.timesteps[visits[sample_id]] == t
            assert trace.steps[visits[sample_id]] == step
            assert trace.step_sizes[visits[sample_id]] == 0.1 / (1 + step)
            assert torch.equal(noise[sample_id].to(eps.dtype), eps)


def test_the_replayed_loss_is_the_training_loss(training):
    """The weights before the last step, with what was recorded, give the last batch's losses."""
    case, directory, happened, weights = training
    trace = retrac.read_trace(directory)
    last = [i for i in range(8) if happened[i, 2][3] == 3 * EPOCH - 1]
    assert len(last) == 2
    seen = []

    class Watching(VmapEngine):
        def products(self, batches, draws, vectors):
            for products in super().products(batches, draws, vectors):
                seen.append(products.losses)
                yield products

    checkpoint = retrac.Checkpoint(weights, 1.0, 3 * EPOCH)
    device = torch.device("cpu")
    one_pass = CheckpointPass(case.model, checkpoint, 0, Watching, device, 3, lambda count: None)
    nothing = torch.zeros(0, one_pass.engine.width, dtype=torch.float64)
    train_products(one_pass, ExampleSource(case.train, "train"), retrac.Recorded(trace), nothing)
    replayed = torch.cat(seen).squeeze(1)
    for sample_id in last:
        assert replayed[sample_id].item() == pytest.approx(happened[sample_id, 2][2], rel=1e-12)


def test_step_sizes_are_learning_rate_times_visits(training):
    _, directory, _, _ = training
    folders = checkpoint_folders(directory)
    assert list(folders) == [3, 6, 9]
    rates = [0.1 / (1 + step) for step in range(9)]
    step_sizes = step_sizes_of_trace(find_trace(folders), list(folders))
    for k, step_size in enumerate(step_sizes):
        expected = 3 * rates[3 * k] + 3 * rates[3 * k + 1] + 2 * rates[3 * k + 2]
        assert step_size == pytest.approx(expected / 8)


def test_recorded_draws_refuse_another_dataset(training):
    case, directory, _, _ = training
    trace = retrac.read_trace(directory)
    folders = checkpoint_folders(directory)
    checkpoints = [retrac.Checkpoint(folder, 1.0, step) for step, folder in folders.items()]
    attributor = retrac.DiffusionTracIn(
        case.model, checkpoints, train_draws=retrac.Recorded(trace), query_draws=retrac.Strided(2)
    )
    with pytest.raises(TraceError, match="has 7 samples, the trace 8"):
        attributor.attribute(case.train[:7], case.queries)
    with pytest.raises(TraceError, match="sample 0 is not the one that training saw"):
        attributor.attribute(case.train[::-1], case.queries)
    changed = [*case.train[:5], case.train[5] + 0.01, *case.train[6:]]
    with pytest.raises(TraceError, match="sample 5 is not the one"):
        attributor.attribute(changed, case.queries)


def test_recorded_draws_need_the_checkpoints_steps(training):
    case, directory, _, _ = training
    unnumbered = retrac.Checkpoint(case.network.state_dict(), 0.1)
    recorded = retrac.Recorded(retrac.read_trace(directory))
    with pytest.raises(InputError, match="checkpoint's training step, and one of these has none"):
        retrac.DiffusionTracIn(case.model, [unnumbered], train_draws=recorded)


def test_a_sample_without_a_visit_is_named(training):
    _, directory, happened, _ = training
    trace = retrac.read_trace(directory)
    late = next(i for i in range(8) if happened[i, 0][3] == EPOCH - 1)
    with pytest.raises(TraceError, match=f"sample {late} is missing .* before step 2"):
        trace.last_visits([late], 2)


def test_augmented_samples_are_accepted(tmp_path):
    recorder = retrac.Recorder(num_samples=1)
    for flip in (False, True):
        image = torch.arange(4.0).view(1, 1, 2, 2)
        recorder.draw([0], torch.tensor([1]), image.flip(3) if flip else image, 0.1)
    recorder.save(tmp_path)
    retrac.read_trace(tmp_path).check_dataset(1, [0], [12345])


def test_gradient_accumulation_counts_steps_but_never_repeats_noise(tmp_path):
    recorder = retrac.Recorder(num_samples=2)
    images = torch.zeros(2, 1, 2, 2)
    noises = [
        recorder.draw([0, 1], torch.tensor([1, 2]), images, 0.1, step=step) for step in (0, 0, 1)
    ]
    assert not (noises[0] == noises[1]).any()
    recorder.save(tmp_path)
    trace = retrac.read_trace(tmp_path)
    assert trace.steps.tolist() == [0, 0, 0, 0, 1, 1]
    assert trace.last_visits([0, 1], 1).tolist() == [2, 3]


def test_a_resumed_run_goes_on_with_new_noise(tmp_path):
    image, t = torch.zeros(1, 1, 2, 2), torch.tensor([5])
    first = retrac.Recorder(num_samples=1)
    noise = [first.draw([0], t, image, 0.1) for _ in range(3)]
    first.save(tmp_path / "checkpoint-3")
    second = retrac.Recorder(num_samples=1, step=3)
    noise += [second.draw([0], t, image, 0.1) for _ in range(2)]
    second.save(tmp_path / "checkpoint-5")
    trace = retrac.read_trace(tmp_path)
    assert trace.steps.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(trace.noise(torch.arange(5), (1, 2, 2)), torch.cat(noise))


def test_noise_follows_the_samples_dtype():
    recorder = retrac.Recorder(num_samples=1)
    noise = recorder.draw([0], torch.tensor([1]), torch.zeros(1, 1, 2, 2, dtype=torch.float16), 0.1)
    assert noise.dtype == torch.float16


@pytest.mark.parametrize(
    ("ids", "timesteps", "message"),
    [
        ([0], torch.tensor([1]), "1 ids, 1 timesteps and 2 samples"),
        ([0, 9], torch.tensor([1, 2]), r"must lie in \[0, 4\), got 0..9"),
        ([-1, 0], torch.tensor([1, 2]), r"must lie in \[0, 4\), got -1..0"),
    ],
)
def test_the_recorder_refuses_what_it_cannot_record(ids, timesteps, message):
    with pytest.raises(InputError, match=message):
        retrac.Recorder(num_samples=4).draw(ids, timesteps, torch.zeros(2, 1, 2, 2), 0.1)


def test_nothing_recorded_is_nothing_to_save(tmp_path):
    with pytest.raises(InputError, match="nothing to save"):
        retrac.Recorder(num_samples=4).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_unreadable_traces_are_refused(tmp_path):
    with pytest.raises(TraceError, match="the run was not recorded"):
        retrac.read_trace(tmp_path)
    path = tmp_path / TRACE_FILE
    path.write_bytes(b"nonsense")
    with pytest.raises(TraceError, match="cannot read the trace"):
        retrac.read_trace(tmp_path)
    save_file({"ids": torch.zeros(1)}, path)
    with pytest.raises(TraceError, match="written by another version"):
        retrac.read_trace(tmp_path)


def test_parts_of_different_runs_are_refused(tmp_path):
    for seed in (0, 1):
        recorder = retrac.Recorder(num_samples=1, seed=seed)
        recorder.draw([0], torch.tensor([1]), torch.zeros(1, 1, 2, 2), 0.1)
        recorder.save(tmp_path / f"checkpoint-{seed}")
    with pytest.raises(TraceError, match="different runs"):
        retrac.read_trace(tmp_path)


def test_a_truncated_trace_is_refused(training):
    _, directory, _, _ = training
    path = next(directory.rglob(TRACE_FILE))
    assert load_file(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TraceError, match="cannot read the trace"):
        retrac.read_trace(directory)


def as_process(monkeypatch, process, processes=2):
    monkeypatch.setenv("RANK", str(process))
    monkeypatch.setenv("WORLD_SIZE", str(processes))


def test_each_process_saves_a_part_of_its_own(tmp_path, monkeypatch):
    """A sample that fills up two processes' batches gets other noise in each."""
    images, t, noises = torch.zeros(3, 1, 2, 2), torch.tensor([5]), []
    for process in range(2):
        as_process(monkeypatch, process)
        recorder = retrac.Recorder(num_samples=3)
        noises += [recorder.draw([i], t, images[:1], 0.1) for i in (process, 2)]
        recorder.save(tmp_path / "checkpoint-2")
    trace = retrac.read_trace(tmp_path)
    assert trace.ids.tolist() == [0, 1, 2, 2]
    assert trace.steps.tolist() == [0, 0, 1, 1]
    order = [noises[0], noises[2], noises[1], noises[3]]
    assert torch.equal(trace.noise(torch.arange(4), (1, 2, 2)), torch.cat(order))
    assert not (noises[1] == noises[3]).any()


def test_a_process_that_did_not_save_is_missed(tmp_path, monkeypatch):
    as_process(monkeypatch, 0)
    recorder = retrac.Recorder(num_samples=1)
    recorder.draw([0], torch.tensor([1]), torch.zeros(1, 1, 2, 2), 0.1)
    recorder.save(tmp_path)
    with pytest.raises(TraceError, match=r"process 1 left no trace.*not the main one alone"):
        retrac.read_trace(tmp_path)


def test_noise_is_not_repeated_after_a_resume_under_accumulation(tmp_path):
    """Two batches make a step, so that batches are counted otherwise than steps."""
    image, t = torch.zeros(1, 1, 2, 2), torch.tensor([5])
    noises = []
    for start in (0, 2):
        recorder = retrac.Recorder(num_samples=1, step=start)
        for step in (start, start, start + 1, start + 1):
            noises.append(recorder.draw([0], t, image, 0.1, step=step))
        recorder.save(tmp_path / f"checkpoint-{start + 2}")
    assert len(torch.cat(noises).flatten(1).unique(dim=0)) == 8
    assert retrac.read_trace(tmp_path).steps.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_stretch_that_was_done_again_counts_once(tmp_path):
    """Resumed from checkpoint 2, with checkpoints elsewhere than before: 3 and 4 are left over."""
    image, t = torch.zeros(1, 1, 2, 2), torch.tensor([5])
    for start, saves in ((0, (2, 3, 4)), (2, (5,))):
        recorder = retrac.Recorder(num_samples=1, step=start)
        for save in saves:
            while recorder.step < save:
                recorder.draw([0], t, image, 0.1 + start)
            recorder.save(tmp_path / f"checkpoint-{save}")
    trace = retrac.read_trace(tmp_path)
    assert trace.steps.tolist() == [0, 1, 2, 3, 4]
    assert trace.step_sizes.tolist() == [0.1, 0.1, 2.1, 2.1, 2.1]


def test_traces_of_the_first_format_are_read(tmp_path):
    about = {"format": 1, "scheme": SCHEME, "seed": 3, "step": 2}
    columns = {
        "ids": torch.tensor([0, 1]),
        "timesteps": torch.tensor([7, 8]),
        "steps": torch.tensor([0, 1]),
        "draws": torch.tensor([0, 1]),
        "step_sizes": torch.tensor([0.1, 0.2], dtype=torch.float64),
        "keys": torch.tensor([5, 6]),
    }
    save_file(columns, tmp_path / TRACE_FILE, {"retrac": json.dumps(about)})
    trace = retrac.read_trace(tmp_path)
    assert trace.timesteps.tolist() == [7, 8]
    assert trace.keys.tolist() == [5, 6]
    expected = normal([visit_key(3, 0, 0), visit_key(3, 1, 1)], (1, 2, 2))
    assert torch.equal(trace.noise(torch.arange(2), (1, 2, 2)), expected)
