"""Arguments, batches and tasks as the frameworks' own classes take them."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from tests.small import small_case

DRAWS = {"query_draws": retrac.Strided(2, seed=2)}


@pytest.fixture(scope="module")
def case():
    return small_case(classes=3)


@pytest.fixture(scope="module")
def pairs(case):
    samples, labels = (
        torch.stack([example[name] for example in case.train])
        for name in ("sample", "class_labels")
    )
    return TensorDataset(samples, labels)


class TestCaptum:
    @pytest.fixture(autouse=True)
    def captum(self):
        self.kinds = pytest.importorskip("retrac_plugin.frameworks.captum")

    def made(self, case, train, **options):
        return self.kinds.DiffusionReTracCP(case.model, train, case.checkpoints, **DRAWS, **options)

    @pytest.mark.parametrize("loaded", [False, True], ids=["dataset", "loader"])
    def test_batches_of_samples_and_labels_with_names_given_once(self, case, pairs, loaded):
        named = retrac.named(pairs, ("sample", "class_labels"))
        train = DataLoader(named, batch_size=3) if loaded else named
        attributor = self.made(case, train)
        expected = retrac.DiffusionReTrac(case.model, case.checkpoints, **DRAWS)
        expected = expected.attribute(case.train, case.train[:4]).values
        samples, labels = pairs[:4]
        first_four = torch.utils.data.Subset(pairs, range(4))
        for batch in (
            (samples, labels),
            [samples, labels],
            {"sample": samples, "class_labels": labels},
            DataLoader(first_four, batch_size=2),
            DataLoader(torch.utils.data.Subset(named, range(4)), batch_size=2),
        ):
            torch.testing.assert_close(attributor.influence(batch), expected)

    def test_a_set_of_nameless_tuples_is_refused_when_it_is_given(self, case, pairs):
        with pytest.raises(InputError, match="names the fields of tuples"):
            self.made(case, pairs)

    def test_the_weight_of_the_loss(self, case):
        def weight(timesteps):
            return 1.0 + timesteps

        def scores(model, **options):
            given = (model, case.train, case.checkpoints)
            return self.kinds.DiffusionTracInCP(*given, **DRAWS, **options).influence(case.queries)

        expected = scores(retrac.wrap(case.network, case.schedule, weight=weight))
        found = scores(case.network, scheduler=case.schedule, weight=weight)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert not torch.allclose(found, scores(case.model))
        for model in (case.model, nn.Linear(2, 2)):
            with pytest.raises(InputError, match="weight"):
                scores(model, weight=weight)


def regression():
    """Return dattri's task of a regression at two checkpoints, and loaders of its data."""
    task_of = pytest.importorskip("dattri.task").AttributionTask
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)) for _ in range(2)]
        x, y = torch.randn(9, 3), torch.randn(9, 2)

    def loss(params, data):
        found = torch.func.functional_call(networks[0], params, (data[0][None],))
        return (found - data[1][None]).square().mean()

    task = task_of(loss, networks[0], [network.state_dict() for network in networks])
    sides = TensorDataset(x[:6], y[:6]), TensorDataset(x[6:], y[6:])
    per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))
    gradients = [
        [per_sample(dict(network.named_parameters()), side.tensors) for side in sides]
        for network in networks
    ]
    flat = [
        [torch.cat([g.detach().flatten(1) for g in side.values()], 1) for side in at]
        for at in gradients
    ]
    return task, [DataLoader(side, batch_size=2) for side in sides], flat


class TestDattri:
    @pytest.fixture(autouse=True)
    def dattri(self):
        self.kinds = pytest.importorskip("retrac_plugin.frameworks.dattri")
        self.ours = {
            False: self.kinds.DiffusionTracInAttributor,
            True: self.kinds.DiffusionReTracAttributor,
        }

    @pytest.mark.parametrize("normalized", [False, True])
    def test_a_plain_task_is_tracin_with_norms_or_without(self, normalized):
        task, loaders, gradients = regression()
        expected = 0
        for weight, (train, test) in zip((0.5, 2.0), gradients, strict=True):
            if normalized:
                train, test = (nn.functional.normalize(side) for side in (train, test))
            expected = expected + weight * train @ test.T
        weights = torch.tensor([0.5, 2.0])
        attributor = self.ours[normalized](task, weights, normalized, None, None, "cpu")
        attributor.cache()
        found = attributor.attribute(*loaders)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(InputError, match="self_attribute needs a DiffusionAttributionTask"):
            attributor.self_attribute(loaders[0])

    @pytest.mark.parametrize("normalized", [False, True])
    def test_a_plain_task_is_projected_as_dattri_projects(self, normalized):
        """In its own keywords; a projection keeps inner products up to chance."""
        task, loaders, _ = regression()
        settings = {"proj_dim": 4096, "proj_max_batch_size": 32, "proj_seed": 42, "device": "cpu"}
        whole, projected = (
            self.ours[normalized](
                task=task,
                weight_list=torch.ones(2),
                normalized_grad=normalized,
                projector_kwargs=given,
                device=torch.device("cpu"),
            ).attribute(*loaders)
            for given in (None, settings)
        )
        assert projected.shape == (6, 3)
        assert torch.count_nonzero(projected) == 18
        both = torch.stack([whole.flatten(), projected.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.99
        assert not torch.equal(whole, projected)
        with pytest.raises(InputError, match="unknown use_half_precision, expected some of proj_"):
            self.ours[normalized](task, None, None, {"use_half_precision": True})

    def test_a_plain_task_of_the_networks_own_memory_is_not_written_over(self):
        """dattri loads checkpoints into it, so that its next scores would be of the last alone."""
        task, loaders, _ = regression()
        attributor = self.ours[False](task)
        assert torch.equal(attributor.attribute(*loaders), attributor.attribute(*loaders))
        states = [task.model.state_dict() for _ in range(2)]
        collected = type(task)(task.original_loss_func, task.model, states)
        with pytest.raises(InputError, match=r"checkpoints \[0, 1\] are the network's own memory"):
            self.ours[False](collected)

    @pytest.mark.parametrize("normalized", [False, True])
    def test_checkpoints_of_a_plain_task_may_be_files(self, normalized, tmp_path):
        task, loaders, _ = regression()
        right = self.ours[normalized](task).attribute(*loaders)
        files = [tmp_path / f"model_{i}.pt" for i in range(2)]
        for file, state in zip(files, task.get_checkpoints(), strict=True):
            torch.save(state, file)
        kind = type(task)
        of_files = kind(task.original_loss_func, task.model, [str(file) for file in files])
        assert torch.equal(self.ours[normalized](of_files).attribute(*loaders), right)

    @pytest.mark.parametrize("normalized", [False, True])
    def test_its_constructors_order_of_arguments(self, normalized):
        case = small_case()
        task = self.kinds.DiffusionAttributionTask(case.model, case.checkpoints)
        positional = self.ours[normalized](
            task, [1.0, 2.0], normalized, {"proj_type": "identity"}, ["enter.*"], "cpu", **DRAWS
        )
        named = self.ours[normalized](task, [1.0, 2.0], layer_name="enter.*", **DRAWS)
        positional.cache()
        found = positional.attribute(case.train, case.queries)
        assert torch.equal(found, named.attribute(case.train, case.queries))

    @pytest.mark.parametrize("normalized", [False, True])
    def test_norms_otherwise_than_the_class_has_them_are_refused(self, normalized):
        case = small_case()
        task = self.kinds.DiffusionAttributionTask(case.model, case.checkpoints)
        with pytest.raises(InputError, match=f"normalized_grad={not normalized}: .* other class"):
            self.ours[normalized](task, None, not normalized)
        with pytest.raises(InputError, match="normalized_grad: expected a bool or None, got"):
            self.ours[normalized](task, None, {"proj_dim": 64})
