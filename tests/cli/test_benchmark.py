"""Which methods ``retrac benchmark`` takes."""

import pytest
from click.testing import CliRunner

from retrac_plugin import plugins
from retrac_plugin.cli import main
from retrac_plugin.cli.benchmark import methods_of
from retrac_plugin.hookspecs import TaskEntry
from tests.benchmarks.tasks import SmallSource, small_task


@pytest.mark.parametrize(
    ("given", "expected"), [("trak,random", ["trak", "random"]), ("gas,", ["gas"])]
)
def test_those_that_are_named(given, expected):
    assert methods_of(given) == expected


def test_a_frameworks_own_only_on_request():
    ours, every = methods_of(None), methods_of("all")
    brought = plugins.attributors()
    assert {"diffusion-retrac", "trak", "random"} < set(ours)
    assert {brought[name][1] for name in ours} == {"core"}
    assert set(every) == set(brought)
    assert {"captum-tracin", "dattri-trak"} < set(every) - set(ours)


class CannotRetrain:
    def prepare(self, directory):
        return small_task()


@pytest.fixture
def installed(monkeypatch):
    tasks = {
        name: (TaskEntry(name, f"the task {name}", source), "test")
        for name, source in (("small", SmallSource), ("prepared", CannotRetrain))
    }
    monkeypatch.setattr(plugins, "tasks", lambda: tasks)


def benchmark(*arguments):
    return CliRunner().invoke(main, ["benchmark", *arguments])


def test_kept_scores_are_found_and_fresh_leaves_them(installed, tmp_path):
    given = ("small", "--methods", "random", "--metrics", "specificity@10", "--out", str(tmp_path))
    told = [benchmark(*given).output, benchmark(*given).output, benchmark(*given, "--fresh").output]
    assert ["scoring random" in output for output in told] == [True, False, True]


def test_a_task_that_cannot_retrain_says_so(installed, tmp_path):
    result = benchmark("prepared", "--regenerate", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "the task prepared cannot --regenerate" in result.output


def test_list_shows_tasks(installed):
    output = CliRunner().invoke(main, ["list"]).output
    assert "Tasks (retrac benchmark NAME)" in output
    assert "  prepared                   the task prepared [test]" in output


def test_a_page_is_written_unless_it_is_not_wanted(installed, tmp_path):
    given = ("small", "--methods", "random", "--metrics", "specificity@10", "--out")
    told = benchmark(*given, str(tmp_path / "a"))
    assert f"the page: {tmp_path / 'a' / 'index.html'}" in told.output
    assert "specificity<wbr>@10" in (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    assert benchmark(*given, str(tmp_path / "b"), "--no-page").exit_code == 0
    assert (tmp_path / "b" / "rows.json").exists()
    assert not (tmp_path / "b" / "index.html").exists()
