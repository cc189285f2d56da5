"""Bars move on terminals; a log gets a line at the start and the end of a phase."""

import ast
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import retrac_plugin
from retrac_plugin import progress
from retrac_plugin.progress import BARS, LINES, SILENT, bar, over, shown_as

ROOT = Path(retrac_plugin.__file__).parents[1]


def written(capsys, manner, **options):
    with shown_as(manner):
        for _ in over(range(300), "counting", "step", **options):
            pass
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_a_log_has_two_lines_where_lines_are_wanted(capsys):
    first, last = written(capsys, LINES).splitlines()
    assert first == "counting: 300 steps"
    assert last == "counting: 300 of 300 after 0 s"


@pytest.mark.parametrize("manner", [BARS, SILENT])
def test_a_log_has_nothing_otherwise(capsys, manner):
    assert written(capsys, manner) == ""
    assert written(capsys, LINES, shown=False) == ""


def test_a_bar_that_was_asked_for_is_written_anywhere_but_in_silence(capsys):
    assert "100%" in written(capsys, BARS, shown=True)
    assert "100%" in written(capsys, LINES, shown=True)
    assert written(capsys, SILENT, shown=True) == ""


def test_a_long_phase_has_a_line_now_and_then_with_what_was_noted(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    with shown_as(LINES), bar(3, "training", "step") as shown:
        shown.update()
        shown.set_postfix(loss="0.5")
        shown.update(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["training: 1 of 3 after 0 s", "training: 3 of 3 after 0 s, loss 0.5"]


def test_what_stops_half_way_says_how_far_it_came(capsys):
    with pytest.raises(ValueError), shown_as(LINES), bar(3, "training", "step") as shown:
        shown.update()
        raise ValueError
    assert capsys.readouterr().err.splitlines()[-1] == "training: 1 of 3 after 0 s"


def test_a_phase_of_nothing_has_no_line(capsys):
    with shown_as(LINES), bar(0, "encoding"):
        pass
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar_and_no_line():
    program = (
        "from retrac_plugin.progress import LINES, over, shown_as\n"
        "with shown_as(LINES):\n    list(over(range(3), 'counting', 'step'))"
    )
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run([sys.executable, "-c", program], stderr=theirs, check=True, timeout=120)
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "100%" in text
    assert "3 steps" not in text


def test_no_other_module_makes_bars():
    """Or it fills logs. dattri's module gives dattri's own code another one."""
    importing = set()
    for path in [*ROOT.glob("retrac_plugin/**/*.py"), *ROOT.glob("adapters/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            if any(name.partition(".")[0] == "tqdm" for name in [*names, module]):
                importing.add(str(path.relative_to(ROOT)))
    assert importing == {"retrac_plugin/progress.py", "retrac_plugin/frameworks/dattri/progress.py"}
