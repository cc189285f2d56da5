"""Which trace files are a run's own, and what is made of copies, other trainings and gaps."""

import shutil

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.errors import TraceError
from retrac_plugin.recording.visit_log import VisitLog, Visits
from retrac_plugin.runs.series import checkpoint_folders, find_trace, step_sizes_of_trace
from retrac_plugin.trace.parts import FIRST, Origin

IMAGES = torch.zeros(2, 1, 2, 2)
SAVES = (2, 4, 6)


def recorded(run, rate=0.1, start=0, saves=SAVES, seed=0, first=0, folder="checkpoint-{}"):
    """Train on both of two samples at every step; the timestep tells ``first`` and the step."""
    recorder = retrac.Recorder(num_samples=2, seed=seed, step=start)
    for save in saves:
        while recorder.step < save:
            t = torch.tensor([first + recorder.step] * 2)
            recorder.draw([0, 1], t, IMAGES, step_size=rate)
        recorder.save(run / folder.format(save))
    return run


def logged(run, start=0, started=1.0, saves=SAVES, processes=1):
    """The same under ``retrac record``."""
    for process in range(processes):
        origin = Origin(2, "kept", 0, start, started, process, processes, start, FIRST)
        log = VisitLog(run, origin, ("noise",), {})
        for step in range(start, saves[-1] + 1):
            if step in saves:
                log.checkpoint(step)
            ids, t = torch.tensor([0, 1]), torch.tensor([step, step])
            log.append(Visits(ids, t, ids * 0, {"noise": torch.randn(2, 1, 2, 2)}), step, 0.1)
        log.close()
    return run


def whole(run):
    """Assert that a run has its own visits once each, and so its own step sizes."""
    folders = checkpoint_folders(run)
    trace = find_trace(folders)
    assert trace.timesteps.tolist() == [step for step in range(6) for _ in range(2)]
    assert step_sizes_of_trace(trace, list(folders)) == pytest.approx([0.2, 0.2, 0.2])


@pytest.mark.parametrize("place", ["second", "checkpoint-4/second", "second/checkpoint-9"])
def test_a_training_in_a_subfolder_does_not_take_the_trace_over(tmp_path, place):
    run = recorded(tmp_path / "run")
    recorded(run / place, rate=7.0, first=500, saves=(2, 4, 6, 8))
    whole(run)


def test_a_recorded_script_in_a_subfolder_does_not_either(tmp_path):
    run = recorded(tmp_path / "run")
    logged(run / "second", started=9e9, saves=(2, 4, 6, 8))
    whole(run)


def test_a_subfolders_trace_does_not_stand_for_a_run_that_was_not_recorded(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoint-2").mkdir(parents=True)
    recorded(run / "second")
    recorded(run, folder="second")
    assert find_trace(checkpoint_folders(run)) is None
    with pytest.raises(TraceError, match=r"the run was not recorded.*of '.*second': name one of"):
        retrac.read_trace(run)


@pytest.mark.parametrize(
    "copy", ["checkpoint-4-backup", "checkpoint-4 (copy)", "old/checkpoint-4", "checkpoint-04", ""]
)
def test_a_copy_of_a_checkpoint_counts_its_visits_once(tmp_path, copy):
    run = recorded(tmp_path / "run")
    shutil.copytree(run / "checkpoint-4", run / copy, dirs_exist_ok=True)
    whole(run)


def test_copies_that_differ_are_named(tmp_path):
    """A recorder saved into the same folder twice, and the first file was kept elsewhere."""
    run = tmp_path / "run"
    recorder = retrac.Recorder(num_samples=2)
    for folder, t in (("checkpoint-1", 5), ("checkpoint-01", 9)):
        recorder.draw([0, 1], torch.tensor([t, t]), IMAGES, 0.1, step=0)
        recorder.save(run / folder)
    with pytest.raises(TraceError, match=r"checkpoint-01.*checkpoint-1.*hold different visits"):
        retrac.read_trace(run)


@pytest.mark.parametrize("missing", SAVES[:-1])
def test_a_part_missing_in_between_is_named(tmp_path, missing):
    run = recorded(tmp_path / "run")
    shutil.rmtree(run / f"checkpoint-{missing}")
    wanted = rf"checkpoint-{missing + 2}.*after {missing} steps.*in checkpoint-{missing}\)"
    with pytest.raises(TraceError, match=wanted):
        retrac.read_trace(run)


@pytest.mark.parametrize("missing", [0, 2, 4])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_log_missing_in_between_is_named(tmp_path, missing, processes):
    run = logged(tmp_path / "run", processes=processes)
    (folder,) = (run / "retrac_trace").glob(f"step{missing:09d}-process{processes - 1:04d}-*")
    shutil.rmtree(folder)
    with pytest.raises(TraceError, match=rf"after {missing} steps.*{folder.name} beside it"):
        retrac.read_trace(run)


def test_a_last_part_that_is_missing_is_missed_by_its_checkpoint(tmp_path):
    run = recorded(tmp_path / "run")
    shutil.rmtree(run / "checkpoint-6")
    trace = retrac.read_trace(run)
    assert trace.last_visits([0, 1], 4).tolist() == [6, 7]
    with pytest.raises(TraceError, match="step 6 is later than what was recorded"):
        trace.last_visits([0, 1], 6)


def test_a_process_that_saved_only_once_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for process in (0, 1):
        monkeypatch.setenv("RANK", str(process))
        recorded(tmp_path, saves=(2, 4))
    (tmp_path / "checkpoint-4" / "retrac_trace_process1.safetensors").unlink()
    with pytest.raises(TraceError, match=r"process 1 left no trace beside .*checkpoint-4"):
        retrac.read_trace(tmp_path)


@pytest.mark.parametrize("write", [recorded, logged])
def test_a_stretch_between_launches_that_is_missing_is_named(tmp_path, write):
    write(tmp_path, saves=(2, 4))
    later = {"started": 9.0} if write is logged else {}
    write(tmp_path, start=8, saves=(10,), **later)
    with pytest.raises(TraceError, match=r"from step 8 on, but .* came to step [45]: what"):
        retrac.read_trace(tmp_path)


def test_a_stretch_that_began_before_the_trace_has_no_step_size(tmp_path):
    trace = retrac.read_trace(recorded(tmp_path, start=2, saves=(4, 6)))
    assert trace.step_size_between(2, 4) == pytest.approx(0.2)
    with pytest.raises(TraceError, match="begins at step 2, within the stretch from step 0 to"):
        trace.step_size_between(0, 4)


def test_a_checkpoint_of_a_stretch_that_was_done_again_is_refused(tmp_path):
    """Its weights are of the first launch, the trace's visits of the second."""
    recorded(tmp_path, saves=(2, 3, 4))
    trace = retrac.read_trace(recorded(tmp_path, start=2, saves=(4, 6), first=100))
    assert trace.replaced == {3}
    assert trace.last_visits([0], 4).tolist() == [6]
    with pytest.raises(TraceError, match="step 3 was saved in a stretch that was done again"):
        trace.last_visits([0], 3)


def test_traces_of_different_runs_are_named_with_what_differs(tmp_path):
    recorded(tmp_path, saves=(2, 4))
    recorded(tmp_path, saves=(6,), seed=3)
    with pytest.raises(TraceError, match=r"checkpoint-2.*checkpoint-6.*the seed is 3.*expected 0"):
        retrac.read_trace(tmp_path)


def test_folders_of_any_name_are_looked_into_where_none_is_a_checkpoint(tmp_path):
    run = recorded(tmp_path / "run", folder="epoch{}")
    assert retrac.read_trace(run).timesteps.tolist() == [s for s in range(6) for _ in range(2)]


def test_files_that_only_look_like_parts_are_left_alone(tmp_path):
    run = recorded(tmp_path / "run")
    trace = "retrac_trace.safetensors"
    for name in ("retrac_trace_old.safetensors", "retrac_trace (1).safetensors", f".{trace}-x"):
        (run / "checkpoint-2" / name).write_bytes(b"not one")
    whole(run)
