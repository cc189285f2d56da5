"""Through a launcher, in several processes that are killed and resumed; and the command line."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import retrac_plugin as retrac
from retrac_plugin.cli import main
from retrac_plugin.errors import InputError
from retrac_plugin.recording import as_module
from tests.recording.running import SCRIPT, facts_of, record, told_of, visits_of

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Two processes train with a checkpoint after two steps, and are killed after the third."""
    folder = tmp_path_factory.mktemp("killed")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [
        *(sys.executable, "-m", "retrac_plugin", "record", "--keep", "samples"),
        *(*launcher, SCRIPT, "--output_dir", folder / "run", "--facts", folder / "log"),
        *("--train_batch_size", 1, "--dataloader_num_workers", 1, "--kill_at", 3),
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert "SIGKILL" in done.stderr, done.stderr
    return folder


def test_nothing_is_lost_when_processes_are_killed(killed):
    facts, trace = facts_of(killed / "log"), retrac.read_trace(killed / "run")
    lost = set(told_of(facts)) - set(visits_of(trace))
    assert set(visits_of(trace)) <= set(told_of(facts))
    assert not lost & set(told_of(facts_of(killed / "log", process=0)))
    assert all(step == 2 for step, *_ in lost)  # the launcher may end the other process earlier
    by_visit = {(fact["ids"], fact["step"]): fact for fact in facts}
    visits = trace.last_visits(trace.ids[trace.steps < 2].unique().tolist(), 2)
    for visit, noise in zip(visits.tolist(), trace.noise(visits, SHAPE), strict=True):
        told = by_visit[int(trace.ids[visit]), int(trace.steps[visit])]
        assert noise.flatten().tolist() == told["noise"]


def test_a_run_goes_on_in_another_number_of_processes(killed, tmp_path):
    run, log = killed / "run", tmp_path / "log"
    more = ("--max_train_steps", 4, "--dataloader_num_workers", 0, "--resume_from_checkpoint")
    record(run, "--facts", log, *more, keep="samples")
    before = [fact for fact in facts_of(killed / "log") if fact["step"] < 2]
    assert sorted(visits_of(retrac.read_trace(run))) == sorted(told_of(before + facts_of(log)))


def test_a_launcher_runs_the_recorder_in_place_of_the_script():
    command = ["accelerate", "launch", "--num_processes", "2", str(SCRIPT), "--lr", "1"]
    assert as_module(command, ["retrac_plugin", "record"]) == [
        *("accelerate", "launch", "--num_processes", "2", "-m", "retrac_plugin", "record"),
        *(str(SCRIPT), "--lr", "1"),
    ]


def test_a_command_without_a_script_is_refused():
    with pytest.raises(InputError, match=r"expected a script that exists.*got 'accelerate launch'"):
        as_module(["accelerate", "launch"], [])


def call(*arguments):
    return CliRunner().invoke(main, ["record", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py", "--lr", "1"], "expected a script that exists, such as train.py"),
        (["no-such-launcher", SCRIPT], "cannot run 'no-such-launcher'"),
        (["--keep", "all", SCRIPT], "'all' is not one of 'timesteps', 'noise', 'samples'"),
        ([], "Missing argument 'COMMAND...'"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    result = call(*arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_script_is_given_its_own_arguments_and_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside.py").write_text("word = 'found'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, beside\nassert __name__ == '__main__'\nprint(beside.word, *sys.argv[1:])\n"
    )
    result = call(script, "--keep", "noise", "-x")
    assert "found --keep noise -x" in result.output
    assert "nothing was recorded" in result.output
    answered = call("--json", script)
    assert json.loads(answered.stdout.splitlines()[-1]) == {"visits": 0, "folder": None}


def test_what_the_script_could_not_open_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    monkeypatch.setattr(sys, "path", [*sys.path])
    script = tmp_path / "script.py"
    script.write_text("def load():\n    return open('no such file')\n\nload()\n")
    result = call(script)
    assert result.exit_code == 1
    assert f'File "{script}", line 2, in load' in result.output
    assert "FileNotFoundError" in result.output
