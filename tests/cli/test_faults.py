"""What goes wrong around the command line: one line in its own words, and no work lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

import retrac_plugin as retrac
from retrac_plugin import Scores
from retrac_plugin.cli import main
from tests.run_folders import record, write_images, write_run

IMAGES = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
NAMES = ("diffusion-tracin.safetensors", "diffusion-retrac.safetensors")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    run = write_run(folder / "run")
    record(run, IMAGES)
    train = write_images(folder / "train.safetensors", IMAGES)
    queries = write_images(folder / "queries.safetensors", IMAGES[:2] * 0.9)
    return {"run": run, "train": train, "queries": queries}


def arguments(files, *more):
    return [
        *("attribute", str(files["run"]), "--train", str(files["train"])),
        *("--queries", str(files["queries"]), "--timesteps", "2", "--noise-draws", "1", "-k", "3"),
        *map(str, more),
    ]


def attribute(files, *more):
    return CliRunner().invoke(main, arguments(files, *more))


def refused(result, *parts):
    assert result.exit_code == 1, result.output
    lines = result.output.strip().splitlines()
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in result.output
    for part in parts:
        assert part in lines[-1]
    return True


class TestOut:
    def test_below_a_file_is_refused_before_the_work(self, files, tmp_path):
        (tmp_path / "file").write_text("")
        result = attribute(files, "--out", tmp_path / "file" / "scores")
        assert refused(result, "cannot write", "name another place")
        assert "checkpoints: steps" not in result.output  # the run was not even read

    def test_where_a_folder_has_the_files_name_is_refused(self, files, tmp_path):
        (tmp_path / NAMES[1]).mkdir()
        assert refused(attribute(files, "--out", tmp_path), NAMES[1], "got a folder")
        assert [path.name for path in tmp_path.iterdir()] == [NAMES[1]]

    @pytest.mark.parametrize("command", ["self-influence", "benchmark"])
    def test_of_other_commands_too(self, files, tmp_path, command):
        (tmp_path / "file").write_text("")
        given = {
            "self-influence": [files["run"], "--train", files["train"]],
            "benchmark": ["digits", "--methods", "random"],
        }[command]
        out = tmp_path / "file" / "x"
        result = CliRunner().invoke(main, [command, *map(str, given), "--out", str(out)])
        assert refused(result, "cannot write")

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, files, tmp_path):
        code = (
            "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "import torch; from retrac_plugin.cli import main;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); main(sys.argv[1:])"
        )
        done = run_python("-c", code, *arguments(files, "--out", tmp_path))
        assert done.returncode == 1, done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("Error: cannot write")
        assert list(tmp_path.iterdir()) == []


def run_python(*more, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)


def test_a_pipe_that_is_closed_loses_no_scores(files, tmp_path):
    command = [sys.executable, "-m", "retrac_plugin", *arguments(files, "--out", tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()  # as `| head -1` does
        told = process.stderr.read().decode()
    assert process.returncode == 0, told
    assert "Traceback" not in told and "BrokenPipe" not in told
    for name in NAMES:
        assert Scores.load(tmp_path / name).values.shape == (2, 5)


def test_a_device_that_is_not_there_is_one_line(files, tmp_path):
    missing = "cuda:63"
    result = attribute(files, "--device", missing, "--out", tmp_path)
    assert refused(result, "--device: expected one that can be used here", repr(missing))


@pytest.mark.parametrize("name", ["gpu", "meta", ""])
def test_a_name_that_is_no_device_is_refused(name):
    from retrac_plugin.errors import InputError
    from retrac_plugin.model.devices import usable_device

    with pytest.raises(InputError, match="device: "):
        usable_device(name)


def test_memory_that_does_not_suffice_names_the_option(files, tmp_path, monkeypatch):
    def too_much(self, *shape):
        return torch.empty(2**60)

    monkeypatch.setattr("retrac_plugin.attribution.setting.Setting.zeros", too_much)
    result = attribute(files, "--out", tmp_path)
    assert refused(result, "does not fit into memory", "Give --max-memory, such as '4GB'")
    with pytest.raises(MemoryError, match="max_memory="):
        retrac.DiffusionTracIn.attribute(small(), [IMAGES[0]], [IMAGES[0]])


def small():
    from tests.small import small_case

    case = small_case()
    return retrac.DiffusionTracIn(case.model, case.checkpoints, progress=False)


def test_ctrl_c_ends_with_the_shells_status(files, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("retrac_plugin.attribution.repeats.attribute_repeatedly", interrupt)
    result = attribute(files, "--out", tmp_path)
    assert result.exit_code == 130
    assert "retrac: interrupted" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("num_samples=-5", "argument num_samples: expected a whole number from 1"),
        ("train_batch_size=0", "argument train_batch_size: expected a whole number from 1"),
        ("learning_rate=-0.1", "argument learning_rate: expected a number of at least 0"),
        ("learning_rate=much", "argument learning_rate: expected a number of at least 0"),
        ("gradient_accumulation_steps=1.5", "argument gradient_accumulation_steps: expected"),
    ],
)
def test_numbers_no_training_had_are_refused(files, tmp_path, given, message):
    result = attribute(files, "--argument", given, "--out", tmp_path)
    assert refused(result, message, f"Pass --argument {given.partition('=')[0]}=...")


def test_pictures_in_bytes_are_refused(files, tmp_path):
    loud = write_images(tmp_path / "loud.safetensors", (IMAGES + 1) * 127.5)
    result = attribute({**files, "queries": loud}, "--out", tmp_path / "scores")
    assert refused(result, "queries: example 0", "as bytes do", "images / 127.5 - 1")


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 8, 8)])
def test_pictures_of_another_shape_are_refused(files, tmp_path, shape):
    other = write_images(tmp_path / "other.safetensors", torch.zeros(shape))
    result = attribute({**files, "queries": other}, "--out", tmp_path / "scores")
    assert refused(result, f"has the shape {list(shape[1:])}, expected [1, 8, 8]")


def test_a_size_that_is_stated_is_taken(files, tmp_path):
    run = write_run(tmp_path / "run")
    larger = torch.rand(4, 1, 16, 16) * 2 - 1
    train = write_images(tmp_path / "train.safetensors", larger)
    given = {"run": run, "train": train, "queries": train}
    stated = ("--argument", "resolution=16", "--repeats", 1, "--out", tmp_path / "scores")
    assert attribute(given, *stated).exit_code == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--prompt", "a cat"], "Pass --base, the folder of the model"),
        (["--weights", "ema"], "Use --weights raw"),
        (["--base", "no/model"], "Error: --base: 'no/model' is neither"),
        (["--max-memory", "much"], "Error: --max-memory: expected bytes"),
    ],
)
def test_messages_are_in_the_words_of_the_command_line(files, tmp_path, more, message):
    result = attribute(files, *more, "--out", tmp_path)
    assert result.exit_code == 1
    assert message in result.output
    assert not any(f"{name}=" in result.output for name in ("base", "weights", "arguments"))


def test_what_is_said_of_a_run_is_in_these_words_too(files):
    told = CliRunner().invoke(main, ["doctor", str(write_unknown(files))]).output
    assert "pass --argument NAME=VALUE for those" in told
    assert "pass --argument script=train_unconditional" in told
    assert "arguments=" not in told


def write_unknown(files):
    run = Path(files["run"]).parent / "unknown"
    return run if run.is_dir() else write_run(run)


@pytest.mark.parametrize(
    ("sign", "told"),
    [
        (1, ["proponents ", "no opponents, no score is below 0; the lowest "]),
        (-1, ["no proponents, no score is above 0; the highest ", "opponents "]),
    ],
)
def test_an_opponent_has_a_score_below_0(sign, told):
    from retrac_plugin.cli.top_lists import top_lists

    scores = Scores(sign * torch.tensor([[1.0, 2.0, 3.0]]), train_names=("a", "b", "c"))
    lines = list(top_lists(Scores(**{**vars(scores), "query_names": ("p",)}), 2))
    assert [line.startswith(f"p: {start}") for line, start in zip(lines, told, strict=True)] == [
        True,
        True,
    ]
    assert len(lines[0].split(", ")) == len(told[0].split(", ")) + 1  # two of them are named


def test_only_those_below_0_are_opponents():
    from retrac_plugin.cli.top_lists import top_lists

    scores = Scores(torch.tensor([[1.0, -2.0, 3.0]]), train_names=tuple("abc"), query_names=("p",))
    assert list(top_lists(scores, 3)) == [
        "p: proponents c (+3), a (+1)",
        "p: opponents b (-2)",
    ]


def test_scores_are_printed_with_the_digits_that_tell_them_apart():
    from retrac_plugin.cli.numbers import signed

    assert signed([0.123411, 0.123422, 5.0]) == ["+0.12341", "+0.12342", "+5"]
    near = [1.0, float(np.nextafter(np.float32(1), np.float32(2)))]
    assert len(set(signed(near))) == 2
    assert signed([1.0, 1.0]) == ["+1", "+1"]


def test_score_files_say_of_what_they_are(files, tmp_path):
    assert attribute(files, "--out", tmp_path).exit_code == 0
    scores = Scores.load(tmp_path / NAMES[1])
    assert scores.train_names == ("0", "1", "2", "3", "4")
    assert scores.query_names == ("0", "1")
    assert scores.about["run"] == str(files["run"].resolve())
    assert (scores.about["timesteps"], scores.about["noise_draws"], scores.about["seed"]) == (
        2,
        1,
        0,
    )
    assert scores.prompts == ()


def test_self_influence_files_name_the_images(files, tmp_path):
    out = tmp_path / "self.safetensors"
    given = ["--train", str(files["train"]), "--timesteps", "2", "--out", str(out)]
    assert CliRunner().invoke(main, ["self-influence", str(files["run"]), *given]).exit_code == 0
    with safe_open(out, "pt") as file:
        assert '"train_names": ["0", "1", "2", "3", "4"]' in file.metadata()["retrac"]


def test_a_method_that_is_named_twice_is_computed_once(files, tmp_path):
    twice = ["--method", "diffusion-retrac"] * 2
    result = attribute(files, *twice, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output.count("scores [query, train] in") == 1


def test_help_needs_neither_torch_nor_safetensors():
    code = (
        "import sys; from click.testing import CliRunner; from retrac_plugin.cli import main;"
        "assert CliRunner().invoke(main, ['attribute', '--help']).exit_code == 0;"
        "print('torch' in sys.modules)"
    )
    assert run_python("-c", code).stdout.strip() == "False"


def test_a_wrong_command_line_has_exit_status_2():
    result = CliRunner().invoke(main, ["attribute", "nowhere"])
    assert result.exit_code == 2
    assert "does not exist" in result.output
