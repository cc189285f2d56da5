"""Killed anywhere, on a full disk, with a damaged file: a store ends byte for byte the same."""

import json
import multiprocessing
import resource
import signal
import subprocess
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from retrac_plugin.errors import InputError, OutputError
from retrac_plugin.store import shards as shard_files
from retrac_plugin.store.featurizing import Done
from tests.store.cases import ask, case, content, fill, method, shards
from tests.threads import one_thread

CASE = case(train=40)
KILLS = 20


def attributor():
    return method("tracincp", CASE)


@pytest.fixture(scope="module", autouse=True)
def on_one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def whole(on_one_thread, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    fill(folder, attributor(), CASE.train)
    return folder


def in_a_process(body):
    """Start ``body`` in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def test_a_store_that_was_killed_many_times_is_the_one_that_never_was(whole, tmp_path):
    seconds = torch.rand(KILLS, generator=torch.Generator().manual_seed(0)).tolist()
    killed = 0
    for pause in seconds:
        process = in_a_process(lambda: fill(tmp_path, attributor(), CASE.train))
        time.sleep(0.02 + 0.3 * pause)
        killed += process.is_alive()
        process.kill()
        process.join()
    assert killed > 0
    fill(tmp_path, attributor(), CASE.train)
    for left in tmp_path.rglob(".*"):
        left.unlink()  # a temporary file of a process that was killed
    assert content(tmp_path) == content(whole)


def test_two_processes_make_the_store_of_one(whole, tmp_path):
    both = [
        in_a_process(lambda rank=rank: fill(tmp_path, attributor(), CASE.train, share=(rank, 2)))
        for rank in range(2)
    ]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert content(tmp_path) == content(whole)


def test_each_process_says_what_it_left_to_the_others(tmp_path):
    assert fill(tmp_path, attributor(), CASE.train, share=(0, 3)) == Done(computed=8, left=12)
    assert fill(tmp_path, attributor(), CASE.train, share=(2, 3)) == Done(6, 8, 6)
    with pytest.raises(InputError, match=r"the shard .*000-000001.* No such file"):
        ask(tmp_path, attributor(), CASE.train, CASE.queries)
    with pytest.raises(InputError, match="rank 2 of 2 processes"):
        fill(tmp_path, attributor(), CASE.train, share=(2, 2))


def test_a_full_disk_leaves_whole_files_only_and_the_next_call_goes_on(whole, tmp_path):
    def on_a_full_disk():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fill(tmp_path, attributor(), CASE.train[:8])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OutputError, match=r"cannot write .*safetensors"):
            fill(tmp_path, attributor(), CASE.train)

    process = in_a_process(on_a_full_disk)
    process.join()
    assert process.exitcode == 0
    assert fill(tmp_path, attributor(), CASE.train).found == 4
    torch.testing.assert_close(
        ask(tmp_path, attributor(), CASE.train, CASE.queries).values,
        ask(whole, attributor(), CASE.train, CASE.queries).values,
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 KiB, less than half of what the store takes."""
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_fills_up_loses_the_shard_at_work_alone(whole, small_disk):
    with pytest.raises(OutputError, match=r"cannot write .*safetensors.*No space left"):
        fill(small_disk, attributor(), CASE.train)
    there = shards(small_disk)
    assert 0 < len(there) < 20
    for path in there:
        assert path.read_bytes() == (whole / path.relative_to(small_disk)).read_bytes()
    assert not list(small_disk.rglob(".*"))
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert fill(small_disk, attributor(), CASE.train) == Done(20 - len(there), len(there))
    assert content(small_disk) == content(whole)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def empty(path):
    path.write_bytes(b"")


def swap(path):
    other = path.with_name("000-000003.safetensors")
    path.write_bytes(other.read_bytes())


def of_another_kind(path):
    other = next(each for each in shards(path.parent.parent) if each.parent != path.parent)
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("damage", [flip, cut, empty, swap, of_another_kind])
def test_a_damaged_shard_is_named_and_computed_again_alone(damage, whole, tmp_path):
    fill(tmp_path, attributor(), CASE.train)
    path = shards(tmp_path)[1]
    damage(path)
    with pytest.raises(InputError, match=f"{path.name}.*--repair") as caught:
        ask(tmp_path, attributor(), CASE.train, CASE.queries)
    assert str(path) in str(caught.value)
    done = fill(tmp_path, attributor(), CASE.train, repair=True)
    assert done == Done(computed=1, found=19, damaged=[str(path)])
    assert content(tmp_path) == content(whole)


def test_rows_that_come_out_otherwise_today_are_refused(tmp_path):
    """As those of another version of a package would: nothing in the file is damaged."""
    fill(tmp_path, attributor(), CASE.train)
    path = shards(tmp_path)[0]
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["retrac"])
    tensors = load_file(path)
    tensors["rows"] *= 1.02
    about["sums"] = shard_files._sums(tensors)
    save_file(tensors, path, {"retrac": json.dumps(about)})
    with pytest.raises(InputError, match=r"comes out otherwise today: .* made with torch"):
        ask(tmp_path, attributor(), CASE.train, CASE.queries)
