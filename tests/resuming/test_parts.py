"""Parts of a job's work: found if everything is the same, made again if they are damaged."""

import resource
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from retrac_plugin import plugins
from retrac_plugin.attribution import in_parts
from retrac_plugin.attribution.keeping import Of
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.resuming import parts as of_parts
from retrac_plugin.resuming.digesting import Digester
from retrac_plugin.resuming.parts import Parts, kept
from tests.benchmarks.tasks import small_task
from tests.small import small_case

DATA = [1, 2, 3]


def parts_in(folder, tell=print, job="job", **options):
    digester = Digester()
    digester.add(job)
    return Parts(digester, (DATA,), folder / "parts", tell, **options)


def of(*decisive, data=DATA):
    return Of((data,), decisive)


def numbers(value):
    return lambda: {"numbers": torch.tensor([float(value), 2.0])}


def found(parts, what, value):
    part = parts.part(what, numbers(value))
    return part.tensors["numbers"][0].item(), part.was_there


def test_what_is_the_same_is_found_and_nothing_else(tmp_path):
    assert found(parts_in(tmp_path), of("a", 1), 1) == (1, False)
    assert found(parts_in(tmp_path), of("a", 1), 2) == (1, True)
    assert found(parts_in(tmp_path), of("a", 2), 3) == (3, False)
    assert found(parts_in(tmp_path, job="other"), of("a", 1), 4) == (4, False)
    assert found(parts_in(tmp_path), of("a", 1, data=[*DATA]), 5) == (5, False)
    assert found(parts_in(tmp_path, fresh=True), of("a", 1), 6) == (6, False)
    assert found(parts_in(tmp_path), of("a", 1), 7) == (6, True)


def test_it_is_said_how_much_is_there_and_in_the_end_nothing_is(tmp_path):
    parts, told = parts_in(tmp_path), []
    parts.tell_of_them()
    for number in range(3):
        found(parts, of(number), number)
    again = parts_in(tmp_path, told.append)
    again.tell_of_them()
    assert len(told) == 1
    assert "it left 3 parts of work" in told[0]
    again.remove()
    assert list(tmp_path.iterdir()) == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.write_bytes(b"")])
def test_a_damaged_part_is_made_again(damage, tmp_path):
    parts = parts_in(tmp_path)
    found(parts, of("a"), 1)
    (path,) = parts.folder.iterdir()
    damage(path)
    assert found(parts_in(tmp_path), of("a"), 2) == (2, False)
    assert load_file(path)["numbers"][0] == 2


def test_the_seconds_of_a_part_are_those_of_the_call_that_made_it(tmp_path):
    def slowly():
        time.sleep(0.05)
        return inner.part(of("inner"), numbers(1)).tensors

    inner = parts_in(tmp_path)
    inner.part(of("outer"), slowly)
    again = parts_in(tmp_path)
    again.part(of("outer"), slowly)
    assert 0.05 <= again.saved < 5
    assert inner.saved == 0


def test_what_cannot_be_told_from_others_or_not_be_written_is_not_kept(tmp_path):
    told = []
    parts = parts_in(tmp_path, told.append)
    anything = (number for number in range(3))
    for value in (1, 2):
        assert found(parts, of(anything), value) == (value, False)
    assert len(told) == 1
    assert "cannot be told from others" in told[0]
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
    try:
        assert found(parts, of("a"), 3) == (3, False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, before)
    assert "is not kept: cannot write" in told[1]
    assert parts.count == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["diffusion-retrac", "retrac-ridge", "retrac-paired"])
def test_scores_of_parts_are_those_of_the_whole(name, tmp_path, monkeypatch):
    monkeypatch.setattr(in_parts, "ENOUGH_ROWS", 2)
    case = small_case(train=20, queries=2)
    attributor = plugins.get_attributor(name)(
        case.model, case.checkpoints, batch_size=2, progress=False
    )
    digester = Digester()
    digester.add(name)
    parts = Parts(digester, (case.train, case.queries), tmp_path, print)
    expected = attributor.attribute(case.train, case.queries).values
    first = kept(attributor, parts).attribute(case.train, case.queries).values
    assert parts.count > 2
    assert torch.equal(first, kept(attributor, parts).attribute(case.train, case.queries).values)
    torch.testing.assert_close(first, expected, rtol=1e-9, atol=0)


def test_a_benchmark_that_was_stopped_goes_on_and_counts_the_seconds_of_both(tmp_path, monkeypatch):
    methods, told = ["diffusion-retrac", "tracincp"], []
    whole = score_methods(small_task(), methods, told.append, tmp_path / "whole")
    assert not any("going on" in line for line in told)
    writing = of_parts.write

    def write_and_stop(path, *content):
        writing(path, *content)
        if len(list(path.parent.glob("*.safetensors"))) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patching, pytest.raises(KeyboardInterrupt):
        patching.setattr(of_parts, "write", write_and_stop)
        score_methods(small_task(), methods, told.append, tmp_path / "stopped")
    found = score_methods(small_task(), methods, told.append, tmp_path / "stopped")
    assert any("it left 3 parts" in line for line in told)
    for one, other in zip(found, whole, strict=True):
        for kind, scores in other.scores.items():
            assert torch.equal(one.scores[kind].values, scores.values)
    assert found[0].peak_bytes is None
    assert not (tmp_path / "stopped" / "parts").exists()
