"""What is on disk at any moment, and what a reader makes of it."""

import json
from io import FileIO
from pathlib import Path

import pytest
import torch

from retrac_plugin.errors import InputError, TraceError
from retrac_plugin.recording.visit_log import VisitLog, Visits
from retrac_plugin.trace.parts import ABOUT, RECORD, VISITS, Origin
from retrac_plugin.trace.reading import read_trace


@pytest.fixture
def open_log(tmp_path):
    """Opens logs of a training set of four samples, and closes them."""
    logs = []

    def open_one(start=0, started=1.0, process=0, processes=1, keep=("noise",), **more):
        noise = "kept" if keep else "anew"
        origin = Origin(4, noise, 0, start, started, process, processes, start)
        logs.append(VisitLog(tmp_path, origin, keep, more))
        return logs[-1]

    yield open_one
    for log in logs:
        log.close()


def visits(ids, shape=(1, 2), dtype=torch.float32):
    """Visits whose noise tells the sample and how many were made."""
    made = visits.made = getattr(visits, "made", 0) + 1
    noise = torch.stack([torch.full(shape, 10.0 * made + i, dtype=dtype) for i in ids])
    whole = torch.tensor(ids)
    return Visits(whole, whole + 100, torch.zeros_like(whole), {"noise": noise, "samples": -noise})


def test_a_reader_sees_every_visit_at_once(open_log, tmp_path):
    log = open_log()
    for step in range(3):
        log.append(visits([step, 3]), step, 0.5)
        trace = read_trace(tmp_path)
        assert trace.ids.tolist() == [0, 3, 1, 3, 2, 3][: 2 * step + 2]
    assert trace.timesteps.tolist() == [100, 103, 101, 103, 102, 103]
    assert trace.step_sizes.tolist() == [0.5] * 6


def test_a_sample_costs_one_row_a_stretch(open_log, tmp_path):
    log = open_log()
    made = [visits([0, 1]), visits([1, 0]), visits([1])]
    for step, batch in enumerate(made):
        log.append(batch, step, 0.1)
    assert (log.folder / "noise-0.bin").stat().st_size == 2 * 2 * 4
    trace = read_trace(tmp_path)
    last = trace.last_visits([0, 1], 3)
    expected = [made[1].tensors["noise"][1], made[2].tensors["noise"][0]]
    assert torch.equal(trace.noise(last, (1, 2)), torch.stack(expected))
    with pytest.raises(TraceError, match="the noise of 1 of 1 visits was not kept"):
        trace.noise(torch.tensor([0]), (1, 2))


def test_what_was_kept_up_to_a_checkpoint_stays(open_log, tmp_path):
    log, first, second = open_log(), visits([2]), visits([2])
    log.append(first, 0, 0.1)
    log.checkpoint(1)
    log.append(second, 1, 0.1)
    trace = read_trace(tmp_path)
    kept = trace.noise(torch.tensor([0, 1]), (1, 2))
    assert torch.equal(kept, torch.cat([first.tensors["noise"], second.tensors["noise"]]))


def test_a_checkpoint_saved_twice_is_one(open_log):
    log = open_log()
    log.append(visits([0]), 0, 0.1)
    log.checkpoint(1)
    log.checkpoint(1)
    assert len(list(log.directory.glob("step*"))) == 2


def test_samples_may_have_several_shapes_and_precisions(open_log, tmp_path):
    log = open_log(keep=("noise", "samples"))
    tall, half = visits([0], shape=(3, 1)), visits([1], dtype=torch.bfloat16)
    double = visits([2], dtype=torch.float64)
    for step, batch in enumerate((tall, half, double)):
        log.append(batch, step, 0.1)
    trace = read_trace(tmp_path)
    assert torch.equal(trace.noise(torch.tensor([0]), (3, 1)), tall.tensors["noise"])
    assert torch.equal(trace.samples(torch.tensor([1]), (1, 2)), half.tensors["samples"].float())
    assert trace.samples(torch.tensor([2]), (1, 2)).dtype == torch.float64


def test_integers_are_no_noise(open_log):
    with pytest.raises(
        InputError, match=r"expected noise and samples of one of float64.* got int32"
    ):
        open_log().append(visits([0], dtype=torch.int32), 0, 0.1)


def test_a_record_that_was_cut_short_is_left_out(open_log, tmp_path):
    log = open_log()
    log.append(visits([0, 1]), 0, 0.1)
    path = log.folder / VISITS
    path.write_bytes(path.read_bytes()[: RECORD.itemsize + 13])
    assert read_trace(tmp_path).ids.tolist() == [0]


def test_a_row_that_was_cut_short_is_named(open_log, tmp_path):
    log = open_log()
    log.append(visits([0, 1]), 0, 0.1)
    path = log.folder / "noise-0.bin"
    path.write_bytes(path.read_bytes()[:11])
    trace = read_trace(tmp_path)
    assert trace.noise(torch.tensor([0]), (1, 2)).shape == (1, 1, 2)
    with pytest.raises(TraceError, match="not kept"):
        trace.noise(torch.tensor([1]), (1, 2))


def test_processes_are_joined_in_the_order_of_steps(open_log, tmp_path):
    main, other = open_log(processes=2), open_log(started=1.3, process=1, processes=2)
    for step in range(2):
        main.append(visits([step]), step, 0.1)
        other.append(visits([step + 2]), step, 0.1)
    trace = read_trace(tmp_path)
    assert trace.ids.tolist() == [0, 2, 1, 3]
    assert len(trace.draws.unique()) == 4


def test_other_processes_follow_the_checkpoints_of_the_main_one(open_log, tmp_path):
    """Only the main process saves; the other one hears of it before it writes of the next step."""
    main, other = open_log(processes=2), open_log(started=1.3, process=1, processes=2)
    first, second = visits([3]), visits([3])
    for log, batch in ((main, visits([0])), (other, first)):
        log.append(batch, 0, 0.1)
    main.checkpoint(1)
    other.follow(1)
    other.append(second, 1, 0.1)
    trace = read_trace(tmp_path)
    mine = (trace.ids == 3).nonzero().squeeze(1)
    expected = torch.cat([first.tensors["noise"], second.tensors["noise"]])
    assert torch.equal(trace.noise(mine, (1, 2)), expected)


def test_the_main_process_may_be_ahead(open_log, tmp_path):
    """It saves after its step while the other one has yet to write down that step."""
    main, other = open_log(processes=2), open_log(started=1.3, process=1, processes=2)
    batches = [visits([3]), visits([3]), visits([3])]
    main.append(visits([0]), 0, 0.1)
    other.append(batches[0], 0, 0.1)
    main.append(visits([0]), 1, 0.1)
    main.checkpoint(2)
    for step in (1, 2):
        other.follow(step)
        other.append(batches[step], step, 0.1)
    trace = read_trace(tmp_path)
    mine = (trace.ids == 3).nonzero().squeeze(1)
    expected = torch.cat([batches[1].tensors["noise"], batches[2].tensors["noise"]])
    assert torch.equal(trace.noise(mine[1:], (1, 2)), expected)


def test_a_process_that_is_missing_is_named(open_log, tmp_path):
    log = open_log(processes=2)
    log.append(visits([0]), 0, 0.1)
    with pytest.raises(TraceError, match="2 processes, but process 1 left no trace"):
        read_trace(tmp_path)


def run_of(log, steps, saved=()):
    """Log one visit a step; sample ``step % 4``."""
    for step in steps:
        log.append(visits([step % 4]), step, 0.1)
        if step + 1 in saved:
            log.checkpoint(step + 1)


def test_a_later_launch_replaces_what_it_does_again(open_log, tmp_path):
    run_of(open_log(), range(5), saved=(2, 4))
    run_of(open_log(start=2, started=9.0), range(2, 4), saved=(4,))
    trace = read_trace(tmp_path)
    assert trace.steps.tolist() == [0, 1, 2, 3]
    with pytest.raises(
        TraceError, match="the checkpoint of step 5 is later than what was recorded"
    ):
        trace.last_visits([0], 5)


def test_a_launch_from_the_same_checkpoint_replaces_the_one_before(open_log, tmp_path):
    run_of(open_log(), range(2), saved=(2,))
    run_of(open_log(start=2, started=5.0), range(2, 6), saved=(4, 6))
    run_of(open_log(start=2, started=9.0), range(2, 4), saved=(4,))
    assert read_trace(tmp_path).steps.tolist() == [0, 1, 2, 3]


def test_a_launch_that_saved_nothing_replaces_nothing(open_log, tmp_path):
    run_of(open_log(), range(4), saved=(2, 4))
    run_of(open_log(started=9.0), range(1))
    assert read_trace(tmp_path).steps.tolist() == [0, 1, 2, 3]


def test_a_launch_in_fewer_processes_goes_on(open_log, tmp_path):
    main, other = open_log(processes=2), open_log(started=1.3, process=1, processes=2)
    for step in range(2):
        main.append(visits([0]), step, 0.1)
        other.append(visits([1]), step, 0.1)
    main.checkpoint(2)
    run_of(open_log(start=2, started=9.0), range(2, 4), saved=(4,))
    assert read_trace(tmp_path).steps.tolist() == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "written by another version: expected format 3, got 99"),
        ({"num_samples": 2}, "is damaged: its columns do not fit"),
        ({"layouts": [{"noise": {"dtype": "int8", "shape": [1]}}]}, "cannot read the trace"),
        ({"keep": ["../secret"]}, "holds .* expected noise, samples"),
    ],
)
def test_a_log_that_makes_no_sense_is_refused(open_log, tmp_path, change, message):
    log = open_log()
    log.append(visits([3]), 0, 0.1)
    about = json.loads((log.folder / ABOUT).read_text())
    (log.folder / ABOUT).write_text(json.dumps({**about, **change}))
    with pytest.raises(TraceError, match=message):
        read_trace(tmp_path)


def test_recordings_that_kept_different_things_are_refused(open_log, tmp_path):
    run_of(open_log(), range(2), saved=(2,))
    run_of(open_log(start=2, started=9.0, keep=()), range(2, 4), saved=(4,))
    with pytest.raises(TraceError, match="of different runs"):
        read_trace(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(open_log):
    log = open_log()
    with FileIO("/dev/full", "w") as full:
        log._visits = full
        with pytest.raises(OSError, match="No space left"):
            log.append(visits([0]), 0, 0.1)


def test_a_trace_without_a_visit_is_refused(open_log, tmp_path):
    open_log()
    with pytest.raises(TraceError, match="holds no visit"):
        read_trace(tmp_path)
