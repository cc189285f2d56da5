"""The README's Python, run as it stands on a tiny run of the names it uses."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from retrac_plugin import Scores
from tests.run_folders import record, write_run

PAGE = Path(__file__).resolve().parents[1] / "README.md"
TRAIN, QUERIES = 8, 2

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="the README is not part of the installed package"
)


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``runs/digits``, recorded."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "runs").mkdir()
    run = write_run(folder / "runs" / "digits")
    record(run, images(TRAIN))
    return folder


def images(count):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(count)) * 2 - 1


@pytest.mark.parametrize(
    ("number", "orientation"), [(0, [QUERIES, TRAIN]), (1, [QUERIES, TRAIN]), (2, [TRAIN, QUERIES])]
)
@pytest.mark.filterwarnings("default")
def test_a_block_runs_and_orients_its_scores_as_it_says(folder, monkeypatch, number, orientation):
    monkeypatch.chdir(folder)
    train, generated = images(TRAIN), images(QUERIES)
    loaders = {"train_loader": DataLoader(train), "query_loader": DataLoader(generated)}
    scope = {"train": train, "generated": generated, **loaders}
    exec(blocks()[number], scope)
    scores = scope["scores"]
    values = scores.values if isinstance(scores, Scores) else scores
    assert list(values.shape) == orientation


def test_there_are_no_other_blocks():
    assert len(blocks()) == 3
