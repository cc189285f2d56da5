"""Every option of diffusers' training scripts has a place in the table."""

import json
import math
import re
from pathlib import Path

import pytest

from retrac_adapters.scripts import options
from retrac_adapters.scripts.arguments import read_arguments
from retrac_adapters.scripts.defaults import DEFAULTS
from retrac_adapters.scripts.numbers import ANY, COUNT, NUMBERS, POSITIVE
from retrac_adapters.scripts.options import FINDINGS, FOLLOWED, HARMLESS, KNOWN
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import NOT_RECORDED

OFFICIAL = json.loads((Path(__file__).parent / "official_options.json").read_text())
SCRIPTS = {name: options.split() for name, options in OFFICIAL["scripts"].items()}
OURS = {"num_samples", "script"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_table_knows_every_option_of_the_official_scripts(script):
    assert [name for name in SCRIPTS[script] if name not in KNOWN] == []


def test_the_table_names_no_option_twice_and_none_that_no_script_has():
    assert not FOLLOWED & HARMLESS
    assert not (FOLLOWED | HARMLESS) & FINDINGS.keys()
    assert KNOWN - {name for names in SCRIPTS.values() for name in names} == OURS


def test_what_is_called_followed_is_read_somewhere():
    adapters = Path(options.__file__).parents[1]
    code = "".join(p.read_text() for p in adapters.rglob("*.py") if p.name != "options.py")
    biases = {f"timestep_bias_{name}" for name in ("multiplier", "portion", "begin", "end")}
    assert [name for name in sorted(FOLLOWED - biases) if f'"{name}"' not in code] == []


@pytest.mark.parametrize("script", DEFAULTS)
def test_defaults_are_those_of_the_official_scripts(script):
    official = OFFICIAL["defaults"][script]
    assert dict(DEFAULTS[script]) == {name: official[name] for name in DEFAULTS[script]}
    decisive = ("resolution", "image_interpolation_mode", "weighting_scheme", "lora_alpha")
    assert [name for name in decisive if name in official and name not in DEFAULTS[script]] == []


def test_every_number_that_is_followed_has_a_range():
    """Those that are numbers in the official scripts, or are made numbers by a reader."""
    switches = {"precondition_outputs"}
    by_default = {
        name
        for defaults in OFFICIAL["defaults"].values()
        for name, value in defaults.items()
        if type(value) in (int, float) and name in FOLLOWED
    }
    code = "".join(p.read_text() for p in Path(options.__file__).parents[1].rglob("*.py"))
    read = set(re.findall(r"(?:int|float)\(\s*arguments\.get\(\"(\w+)\"", code))
    assert len(read) > 8
    assert (by_default - switches) | read <= NUMBERS.keys() <= FOLLOWED


@pytest.mark.parametrize("name", NUMBERS)
def test_what_no_training_can_have_had_is_refused(tmp_path, name):
    wrong = ["much", True, [1], math.nan, math.inf, "inf"]
    wrong += [] if NUMBERS[name] is ANY else [-1, "-1"]
    wrong += [0] if NUMBERS[name] in (COUNT, POSITIVE) else []
    wrong += [0.5, "0.5"] if NUMBERS[name].kind is int else []
    for value in wrong:
        with pytest.raises(InputError, match=f"argument {name}: expected a"):
            read_arguments(tmp_path, {name: value})
    for value in (1, "1"):
        assert read_arguments(tmp_path, {name: value}).get(name) == value


@pytest.mark.parametrize(
    ("value", "used"), [(None, False), (False, False), (0, False), ("none", False), (0.1, True)]
)
def test_a_finding_is_made_only_where_an_option_was_used(value, used):
    assert FINDINGS["caption_dropout"].applies(value) == used


def test_options_that_nobody_looked_at_are_told_where_they_were_used(tmp_path):
    command = ["mine.py", "--new_loss", "0.5", "--snr_gamma", "5"]
    (finding,) = read_arguments(tmp_path, {}, command).findings[1:]
    assert (finding.kind, finding.subject) == (NOT_RECORDED, "options")
    assert finding.text.endswith("new_loss")


def test_a_misspelt_statement_is_refused_and_one_of_the_runs_own_is_not(tmp_path):
    with pytest.raises(InputError, match=r"'snr_gama' is no option .*: was 'snr_gamma' meant"):
        read_arguments(tmp_path, {"snr_gama": 5.0})
    assert read_arguments(tmp_path, {"mine": 2}, ["x.py", "--mine", "1"]).get("mine") == 2


def test_a_recorded_command_of_a_known_script_has_its_defaults(tmp_path):
    command = ["/x/train_dreambooth_lora_sd3.py", "--resolution", "64"]
    arguments = read_arguments(tmp_path, {}, command)
    assert arguments.get("weighting_scheme") == "logit_normal"
    assert arguments.get("precondition_outputs") == 1
    assert arguments.get("resolution") == 64
    assert read_arguments(tmp_path, {}, ["mine.py"]).get("weighting_scheme") is None
