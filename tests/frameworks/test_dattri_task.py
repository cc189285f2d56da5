"""The task that makes dattri's own attributors right on a diffusion model."""

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, InputError, PluginError
from retrac_plugin.frameworks.dattri import DiffusionAttributionTask
from retrac_plugin.model.diffusion import LOSSES
from tests import textbook
from tests.frameworks.dattri_tools import EXACT, task_of
from tests.small import small_case

SHAPE = (1, 4, 4)


def noise(*leading):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(*leading, *SHAPE, generator=generator, dtype=torch.float64)


def parameters(task, checkpoint=0):
    task.get_param(checkpoint)  # loads it
    return dict(task.get_model().named_parameters())


def by_the_book(case, example, timestep, eps, checkpoint=0):
    case.network.load_state_dict(case.checkpoints[checkpoint].parameters)
    fields = example if isinstance(example, dict) else {"sample": example}
    return textbook.loss_function(case.network, case.schedule.alphas_cumprod)(fields, timestep, eps)


class TestLoss:
    """One loss for the three shapes in which dattri calls it, on single draws and on many."""

    def test_of_one_sample_without_a_batch(self):
        case = small_case()
        task, eps = task_of(case), noise()
        loss = task.get_loss_func(flatten=False)
        value = loss(parameters(task), (case.train[0], torch.tensor(30), eps))
        torch.testing.assert_close(value, by_the_book(case, case.train[0], 30, eps), **EXACT)

    def test_of_one_sample_in_a_batch_of_one(self):
        case = small_case()
        task, eps = task_of(case), noise(1)
        loss = task.get_loss_func(flatten=False)
        value = loss(parameters(task), (case.train[0][None], torch.tensor([30]), eps))
        torch.testing.assert_close(value, by_the_book(case, case.train[0], 30, eps[0]), **EXACT)

    def test_of_a_batch_is_the_mean_over_its_samples(self):
        case = small_case()
        task, eps, timesteps = task_of(case), noise(3), torch.tensor([5, 50, 95])
        batch = (torch.stack(case.train[:3]), timesteps, eps)
        value = task.get_loss_func(flatten=False)(parameters(task), batch)
        single = [
            by_the_book(case, *each)
            for each in zip(case.train, timesteps.tolist(), eps, strict=False)
        ]
        torch.testing.assert_close(value, torch.stack(single).mean(), **EXACT)

    @pytest.mark.parametrize("batched", [False, True])
    @pytest.mark.parametrize("checkpoint", [0, 1])
    def test_of_many_draws_is_their_mean_at_the_checkpoint_that_is_loaded(
        self, batched, checkpoint
    ):
        case = small_case(classes=3)
        task = task_of(case, conditions=["class_labels"])
        draws = retrac.Given(torch.tensor([20, 80]), noise(2, 7, 2, 3))
        drawn = task.drawn(case.train, draws, "query")
        single = [
            by_the_book(case, case.train[i], t, draws.noise[checkpoint, i, position, s], checkpoint)
            for i in ([2, 5] if batched else [2])
            for position, t in enumerate([20, 80])
            for s in range(3)
        ]
        data = drawn[2]
        if batched:
            data = [torch.stack(parts) for parts in zip(drawn[2], drawn[5], strict=True)]
        value = task.get_target_func(flatten=False)(parameters(task, checkpoint), data)
        torch.testing.assert_close(value, torch.stack(single).mean(), **EXACT)

    def test_takes_timesteps_as_the_floats_that_lissa_makes_of_them(self):
        case = small_case()
        task, loss = task_of(case), task_of(case).get_loss_func(flatten=False)
        values = [
            loss(parameters(task), (case.train[0], timestep, noise()))
            for timestep in (torch.tensor(30), torch.tensor(30.0))
        ]
        assert values[0] == values[1]

    def test_of_data_without_draws(self):
        case = small_case()
        task = task_of(case)
        with pytest.raises(InputError, match=r"\(x0, t, noise, \*conditions\) as Diffusion"):
            task.get_loss_func(flatten=False)(
                parameters(task), (case.train[0][None], torch.tensor([3]), noise(1, 2))
            )


class TestDrawn:
    def test_the_draws_of_a_sample_are_those_that_the_core_gives_it(self):
        case = small_case()
        given = retrac.Given(torch.arange(14).view(2, 7), noise(2, 7))
        sample, timesteps, eps = task_of(case).drawn(case.train, given, "train")[4]
        assert torch.equal(sample, case.train[4])
        assert torch.equal(timesteps, torch.tensor([[4], [11]]))
        assert torch.equal(eps, given.noise[:, 4, None, None])

    def test_draws_are_the_same_at_every_access(self):
        case = small_case()
        drawn = task_of(case).drawn(case.train, retrac.Uniform(2), "train")
        assert all(torch.equal(a, b) for a, b in zip(drawn[3], drawn[3], strict=True))

    def test_by_timestep_takes_them_apart_side_by_side(self):
        case = small_case()
        drawn = task_of(case).drawn(case.queries, retrac.Strided(4, noise_draws=2), "query")
        apart = drawn.by_timestep()
        assert len(apart) == 3 * 4
        sample, timesteps, eps = apart[6]
        assert torch.equal(sample, case.queries[1])
        assert torch.equal(timesteps, drawn[1][1][:, 2:3])
        assert torch.equal(eps, drawn[1][2][:, 2:3])

    def test_another_side(self):
        case = small_case()
        with pytest.raises(InputError, match="side: expected one of train, query, got 'test'"):
            task_of(case).drawn(case.train, retrac.Uniform(1), "test")

    def test_conditions_that_the_task_was_not_told_of(self):
        case = small_case(classes=3)
        drawn = task_of(case).drawn(case.train, retrac.Uniform(1), "train")
        with pytest.raises(
            InputError, match=r"\['class_labels', 'sample'\], .*conditions are \[\]"
        ):
            drawn[0]

    def test_a_timestep_outside_the_schedule(self):
        case = small_case()
        given = retrac.Given(torch.full((2, 7), 100), noise(2, 7))
        with pytest.raises(InputError, match="timestep 100 of the train side is outside"):
            task_of(case).drawn(case.train, given, "train")[0]


class TestModelAndCheckpoints:
    def test_a_network_with_its_scheduler(self):
        case = small_case()
        task = DiffusionAttributionTask(
            case.network, case.checkpoints, scheduler=case.schedule, loss="l1"
        )
        assert task.diffusion.network is case.network
        assert task.diffusion.schedule is case.schedule
        assert task.diffusion.element_loss is LOSSES["l1"]

    @pytest.mark.parametrize("wrong", [{"scheduler": object()}, {"loss": "l1"}])
    def test_a_diffusion_model_has_both_already(self, wrong):
        case = small_case()
        with pytest.raises(InputError, match="a DiffusionModel has its own"):
            task_of(case, **wrong)

    def test_a_network_alone(self):
        case = small_case()
        with pytest.raises(PluginError, match=r"no adapter knows .*SmallDenoiser"):
            DiffusionAttributionTask(case.network, case.checkpoints)

    def test_what_dattri_takes_as_checkpoints(self, tmp_path):
        case = small_case()
        state = case.checkpoints[1].parameters
        torch.save(state, tmp_path / "weights.pt")
        path = tmp_path / "weights.pt"
        for checkpoints in (state, [state], path, [str(path)], case.checkpoints[1]):
            task = DiffusionAttributionTask(case.model, checkpoints)
            assert torch.equal(parameters(task)["leave.bias"], state["leave.bias"])
            assert len(task.get_checkpoints()) == 1

    def test_a_checkpoint_of_the_networks_own_live_tensors(self):
        """dattri loads in place; a state dict that shares the network's memory must survive it."""
        case = small_case()
        live = case.network.state_dict()
        task = DiffusionAttributionTask(case.model, [live, case.checkpoints[1].parameters])
        before = parameters(task)["leave.bias"].clone()
        parameters(task, checkpoint=1)
        assert torch.equal(parameters(task)["leave.bias"], before)

    def test_a_pickle_is_never_loaded(self, tmp_path):
        path = tmp_path / "weights.pt"
        torch.save(nn.Linear(1, 1), path)
        task = DiffusionAttributionTask(small_case().model, path)
        with pytest.raises(CheckpointError, match="refused to unpickle"):
            task.get_param(0)

    def test_a_checkpoint_of_another_network(self):
        task = DiffusionAttributionTask(small_case().model, small_case(classes=3).checkpoints)
        with pytest.raises(CheckpointError, match=r"does not fit SmallDenoiser: 1 not in the netw"):
            task.get_param(0)

    def test_dropout_left_on(self):
        case = small_case()
        case.network.noise = nn.Dropout(0.5)
        case.network.train()
        with pytest.raises(InputError, match=r"Call network\.eval\(\) first"):
            task_of(case)
