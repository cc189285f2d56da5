"""Learning rates of a schedule that had ended: never step sizes that are all 0."""

import pytest
import torch
from click.testing import CliRunner
from diffusers.optimization import get_scheduler

import retrac_plugin as retrac
from retrac_plugin.cli import main
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import NOT_RECORDED, of_kind
from tests.run_folders import write_run


@pytest.fixture
def ended(tmp_path):
    """A run whose only checkpoint is where a cosine schedule had come to 0."""
    write_run(tmp_path, (10,))
    optimizer = torch.optim.AdamW(torch.nn.Linear(1, 1).parameters(), 1e-4)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=10)
    for _ in range(10):
        optimizer.step()
        schedule.step()
    torch.save(schedule.state_dict(), tmp_path / "checkpoint-10" / "scheduler.bin")
    torch.save(optimizer.state_dict(), tmp_path / "checkpoint-10" / "optimizer.bin")
    return tmp_path


def test_a_rate_of_0_everywhere_is_refused_with_the_remedy(ended):
    with pytest.raises(InputError, match=r"every score would be 0: state .* learning_rate=1e-4"):
        retrac.read_run(ended)
    assert CliRunner().invoke(main, ["doctor", str(ended)]).exit_code == 1


def test_a_stated_rate_is_taken_in_its_place_and_said(ended):
    run = retrac.read_run(ended, arguments={"learning_rate": 1e-4})
    assert [c.step_size for c in run.checkpoints] == [pytest.approx(1e-3)]
    told = {f.subject: f.text for f in of_kind(run.findings, NOT_RECORDED)}
    assert "0 at every checkpoint" in told["learning rates"]


def test_checkpoints_whose_step_sizes_are_all_0_are_refused():
    network = torch.nn.Conv2d(1, 1, 1)
    model = retrac.wrap(network, retrac_schedule(), predict=lambda call, x, t, c: call(x))
    none = [retrac.Checkpoint(network.state_dict(), 0.0)] * 2
    with pytest.raises(InputError, match="every checkpoint has the step size 0"):
        retrac.DiffusionTracIn(model, none)
    with pytest.raises(InputError, match=r"got one: write \[checkpoint\]"):
        retrac.DiffusionTracIn(model, none[0])


def retrac_schedule():
    return retrac.VariancePreserving(torch.linspace(0.99, 0.01, 10), "epsilon")
