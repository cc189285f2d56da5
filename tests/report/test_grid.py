import builtins
import struct
import subprocess
import sys

import pytest
import torch

from retrac_plugin import files
from retrac_plugin.errors import InputError, MissingDependencyError
from retrac_plugin.report import draw_grid
from tests.report import sample


def size(path):
    """Width and height from a PNG file's header."""
    start = path.read_bytes()[:24]
    assert start.startswith(b"\x89PNG")
    return struct.unpack(">II", start[16:24])


def test_grows_with_queries_and_images(tmp_path):
    pytest.importorskip("matplotlib")
    path = draw_grid(sample.report(), tmp_path / "all.png")
    assert path == tmp_path / "all.png"
    width, height = size(path)
    fewer = size(draw_grid(sample.report(k=2), tmp_path / "few.png", queries=[1]))
    assert 600 < fewer[0] < width
    assert 300 < fewer[1] < height


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": (), "query_labels": (), "train_is_minority": None},
        {"train_images": torch.zeros(sample.TRAIN, 3, 20, 300)},
        {"train_labels": ["costs $5 or $6"] * sample.TRAIN},
    ],
    ids=["no labels", "colour", "no mathematics"],
)
def test_draws_what_there_is(tmp_path, changes):
    pytest.importorskip("matplotlib")
    assert size(draw_grid(sample.report(**changes), tmp_path / "grid.png", [0]))


@pytest.mark.parametrize("queries", [[3], [-1], []])
def test_refuses_queries_that_do_not_exist(tmp_path, queries):
    with pytest.raises(InputError, match="positions from 0 to 2"):
        draw_grid(sample.report(), tmp_path / "grid.png", queries)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def disk_full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", disk_full)
    with pytest.raises(OSError, match="disk full"):
        draw_grid(sample.report(), tmp_path / "grid.png", [0])
    assert list(tmp_path.iterdir()) == []


def test_says_what_to_install(tmp_path, monkeypatch):
    really_import = builtins.__import__

    def without_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return really_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    with pytest.raises(MissingDependencyError, match=r"pip install 'retrac-plugin\[report\]'"):
        draw_grid(sample.report(), tmp_path / "grid.png")


def test_importing_the_report_imports_no_matplotlib():
    code = "import sys, retrac_plugin.report; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
