"""Bad input through Python, Captum and dattri: one row a kind, the same words at each door.

The command line's own are in ``tests/cli/test_faults.py``; ``docs/reference/errors.md`` has the
whole table.
"""

import os
import pickle

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, GradientError, InputError
from tests.small import small_case

pytest.importorskip("captum")
pytest.importorskip("dattri")

from retrac_plugin.frameworks.captum import DiffusionTracInCP
from retrac_plugin.frameworks.dattri import DiffusionAttributionTask, DiffusionTracInAttributor

QUERY_DRAWS = retrac.Strided(2)


def through_python(case):
    attributor = retrac.DiffusionTracIn(
        case.model, case.checkpoints, query_draws=QUERY_DRAWS, progress=False
    )
    return attributor.attribute(case.train, case.queries).values


def through_captum(case):
    attributor = DiffusionTracInCP(
        case.network, case.train, case.checkpoints, scheduler=case.schedule, query_draws=QUERY_DRAWS
    )
    return attributor.influence(loader(case.queries))


def through_dattri(case):
    task = DiffusionAttributionTask(case.network, case.checkpoints, scheduler=case.schedule)
    attributor = DiffusionTracInAttributor(task, query_draws=QUERY_DRAWS, progress=False)
    return attributor.attribute(loader(case.train), loader(case.queries)).T


def loader(data):
    return data if isinstance(data, DataLoader) else DataLoader(data, batch_size=2)


DOORS = {"python": through_python, "captum": through_captum, "dattri": through_dattri}


def shuffled(case):
    case.train = DataLoader(case.train, batch_size=2, shuffle=True)


def in_bytes(case):
    case.train = [(image + 1) * 127.5 for image in case.train]


def not_a_number(case):
    case.train[3] = torch.full((1, 4, 4), torch.nan, dtype=torch.float64)


def weights_not_finite(case):
    case.checkpoints[1].parameters["leave.bias"][0] = torch.inf


def without_a_tensor(case):
    case.checkpoints[1].parameters.pop("leave.bias")


def with_another_tensor(case):
    case.checkpoints[1].parameters["other.bias"] = torch.zeros(1)


def misshapen(case):
    case.checkpoints[1].parameters["leave.bias"] = torch.zeros(2)


def dropout(case):
    case.network.noise = nn.Dropout(0.5)
    case.network.train()


ROWS = {
    shuffled: (InputError, "the DataLoader shuffles"),
    in_bytes: (InputError, r"hold values from .*as bytes do.* images / 127\.5 - 1"),
    not_a_number: (GradientError, "train sample 3 is not finite"),
    weights_not_finite: (GradientError, "not finite.*checkpoint of step 20"),
    without_a_tensor: (CheckpointError, r"1 missing \(leave\.bias\)"),
    with_another_tensor: (CheckpointError, r"1 not in the network \(other\.bias\)"),
    misshapen: (CheckpointError, r"1 of another shape \(leave\.bias \[2\] for \[1\]\)"),
    dropout: (InputError, r"Call network\.eval\(\) first"),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("spoil", ROWS, ids=lambda spoil: spoil.__name__)
def test_the_same_words_at_every_door(door, spoil):
    error, message = ROWS[spoil]
    case = small_case()
    spoil(case)
    with pytest.raises(error, match=message):
        DOORS[door](case)


def test_good_input_gives_the_same_scores_at_every_door():
    python, captum, dattri = (open_door(small_case()) for open_door in DOORS.values())
    torch.testing.assert_close(captum, python, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(dattri, python, rtol=1e-12, atol=1e-15)


class _Harmful:
    def __reduce__(self):
        return os.mkdir, ("retrac-was-here",)


@pytest.mark.parametrize("door", DOORS)
def test_a_pickle_in_the_place_of_weights_is_refused_and_not_run(door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.bin").write_bytes(pickle.dumps({"leave.bias": _Harmful()}, protocol=2))
    case = small_case()
    case.checkpoints[1] = retrac.Checkpoint(tmp_path / "x.bin", 0.1, 20)
    with pytest.raises(CheckpointError, match="refused to unpickle"):
        DOORS[door](case)
    assert not (tmp_path / "retrac-was-here").exists()
