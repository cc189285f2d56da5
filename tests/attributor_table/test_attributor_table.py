"""The page of all attributors, from the command to its numbers."""

import pytest
import torch
from click.testing import CliRunner

from retrac_plugin import plugins
from retrac_plugin.extras import missing
from tests.attributor_table.command import main, measured
from tests.attributor_table.measure import error_of, measure
from tests.threads import threads_restored
from tests.twins import table as twins
from tests.twins.small_run import small_run

pytest.importorskip("captum")
pytest.importorskip("dattri")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("attributors")


@pytest.fixture(scope="module")
def text(work):
    out = work / "page.md"
    options = ["--only", "diffusion-retrac", "--only", "dattri-rps", "--repeats", "1"]
    with threads_restored():
        done = CliRunner().invoke(main, ["--out", str(out), "--work", str(work), *options])
    assert done.exit_code == 0, done.output
    return out.read_text()


def cells(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_method_that_runs_is_exact_and_costs_something(text):
    _, source, runs, error, seconds, memory, _ = cells(text, "diffusion-retrac")
    assert source.startswith("Xie et al.")
    assert runs == "yes"
    assert float(error) < 1e-12
    assert float(seconds) > 0
    assert float(memory) > 100


def test_a_method_that_refuses_says_why(text):
    _, _, runs, error, *_ = cells(text, "dattri-rps")
    assert runs.startswith("dattri-rps cannot score a diffusion model")
    assert error == "does not run"


@pytest.mark.parametrize(
    "ours",
    [
        "DiffusionTracInCP",
        "DiffusionTracInAttributor",
        "DiffusionReTracCP",
        "DiffusionReTracAttributor",
    ],
)
def test_frontends_score_as_what_they_stand_beside(text, ours):
    assert float(cells(text, ours)[2]) < 1e-12


def test_what_was_measured_is_not_measured_again(text, work):
    kept = work / "diffusion-retrac.json"
    kept.write_text(kept.read_text().replace('"yes"', '"as kept"'))
    assert measured("diffusion-retrac", work, limit=1).runs == "as kept"


def test_what_takes_too_long_is_given_up(work):
    assert measured("random", work, limit=0).runs == "not within 0 seconds"


def test_a_wrong_score_is_seen(text, work, monkeypatch):
    wrong = twins.Twin(lambda book: 1.1 * twins.pixels(book))
    monkeypatch.setitem(twins.TWINS, "pixel-similarity", wrong)
    assert measure("pixel-similarity", work / "run").error == pytest.approx(0.1 / 1.1)


@pytest.mark.parametrize(
    "name", ["trak-layers", "retrac-kernel-layers", "kronfluence-ekfac-stratified"]
)
def test_a_method_is_its_twin(text, work, name):
    if missing(plugins.attributors()[name][0].needs):
        pytest.skip(f"{name} needs packages that are not installed")
    assert error_of(name, work / "run") < 1e-8


def test_every_method_of_ours_has_a_twin_or_a_reason():
    ours = [entry for entry, plugin in plugins.attributors().values() if plugin in OURS]
    refused = {e.name for e in ours if not missing(e.needs) and hasattr(e.load(), "refusal")}
    assert {e.name for e in ours} - refused == set(twins.TWINS) | set(twins.NO_TWIN)


OURS = ("core", "captum", "dattri", "kronfluence")


def test_the_run_sees_its_timesteps(text, work):
    """A network whose every channel is normalised alone forgets the timestep."""
    run = small_run(work / "run")
    run.model.network.load_state_dict(run.checkpoints[-1].load())
    with torch.no_grad():
        early, late = (run.model.network(run.queries, t).sample for t in (10, 900))
    assert (early - late).abs().max() > 1e-3
