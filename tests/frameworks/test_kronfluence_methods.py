"""kronfluence on a diffusion model, against EK-FAC and K-FAC written out for single samples."""

import dataclasses

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import GradientError, InputError
from tests.frameworks.kronecker_textbook import explicit, gauss_newton
from tests.frameworks.method_table import DRAWS, scores
from tests.small import SmallDenoiser, small_case
from tests.tiny import tiny_case

pytest.importorskip("kronfluence", reason="kronfluence is not installed, see make test")
from retrac_plugin.frameworks.kronfluence.fisher import sampled
from retrac_plugin.frameworks.kronfluence.methods import STRATEGIES

EXACT = {"rtol": 1e-9, "atol": 1e-12}
LAYERS = ("enter", "time", "leave")

every = pytest.mark.parametrize("name", STRATEGIES)
both = pytest.mark.parametrize("fisher", ["true", "empirical"])


class TestDefinitions:
    @every
    @both
    @pytest.mark.parametrize("relative_damping", [0.1, 2.0])
    def test_the_factors_written_out(self, name, fisher, relative_damping):
        settings = {"fisher": fisher, "relative_damping": relative_damping}
        expected = explicit(
            small_case(), DRAWS, LAYERS, corrected=name == "kronfluence-ekfac", **settings
        )
        torch.testing.assert_close(scores(name, small_case(), **settings), expected, **EXACT)

    @both
    def test_several_draws_of_a_training_sample(self, fisher):
        """The factors are those of single draws, the gradients those of their mean."""
        draws = {**DRAWS, "train_draws": retrac.Uniform(3, seed=4)}
        expected = explicit(small_case(), draws, LAYERS, fisher=fisher)
        ours = scores("kronfluence-ekfac", small_case(), fisher=fisher, **draws)
        torch.testing.assert_close(ours, expected, **EXACT)

    def test_only_layers_that_are_attributed_whole(self):
        case = small_case()
        case.model = case.model.attributing("enter.*", "time.weight")
        expected = explicit(small_case(), DRAWS, ["enter"])
        torch.testing.assert_close(scores("kronfluence-ekfac", case), expected, **EXACT)

    def test_a_layer_that_is_called_twice(self):
        case = small_case()
        case.network = Twice().double().eval()
        case.checkpoints = [retrac.Checkpoint(case.network.state_dict())]
        expected = explicit(case, DRAWS, LAYERS)
        torch.testing.assert_close(scores("kronfluence-ekfac", case), expected, **EXACT)

    def test_the_true_fisher_matrix_is_the_gauss_newton_matrix(self):
        """Unit vectors for the residuals sum to what normal ones have on average."""
        case = small_case(train=1)
        weighted = dataclasses.replace(case.model, weight=lambda t: 0.5 + t / 100)
        x, t = case.train[0][None], torch.tensor([30])
        batch = weighted.diffuse(x, t, torch.ones_like(x), {})
        names = dict(case.network.named_parameters())
        gradients = []
        for unit in torch.eye(16, dtype=torch.float64).view(16, 1, 1, 4, 4):
            loss = torch.func.grad(
                lambda parameters, z=unit: (
                    (pair := sampled(weighted, batch, z))[0].losses({}, parameters, pair[1]).sum()
                )
            )(names)
            gradients.append(torch.cat([part.flatten() for part in loss.values()]))
        second_moment = torch.stack(gradients).T @ torch.stack(gradients)
        torch.testing.assert_close(second_moment, gauss_newton(weighted, batch), **EXACT)

    def test_a_sample_gains_from_itself(self):
        """The same gradient on both sides: a proponent's score is positive."""
        case = small_case()
        timesteps, noise = torch.full((2, 7), 40), torch.ones(2, 7, 1, 4, 4)
        given = retrac.Given(timesteps, noise)
        case.queries = case.train
        ours = scores("kronfluence-ekfac", case, train_draws=given, query_draws=given)
        assert (ours.diagonal() > 0).all()
        torch.testing.assert_close(ours, ours.T, **EXACT)


class Twice(SmallDenoiser):
    def forward(self, noisy, timesteps):
        return super().forward(super().forward(noisy, timesteps), timesteps)


class TestPasses:
    def test_queries_that_do_not_fit_at_once(self, monkeypatch):
        expected = scores("kronfluence-ekfac", small_case())
        monkeypatch.setattr("retrac_plugin.frameworks.kronfluence.analysis.QUERY_BYTES", 0)
        ours = scores("kronfluence-ekfac", small_case(), batch_size=1)
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)

    def test_a_network_in_training_mode_stays_in_it(self):
        case = small_case()
        case.network.train()
        torch.testing.assert_close(
            scores("kronfluence-kfac", case), scores("kronfluence-kfac", small_case()), **EXACT
        )
        assert case.network.training

    def test_a_unet_in_single_precision(self):
        case = tiny_case()
        exact = scores("kronfluence-ekfac", case, query_draws=retrac.Strided(2))
        case.model.network.float()
        floats = dataclasses.replace(case, train=case.train.float(), queries=case.queries.float())
        ours = scores("kronfluence-ekfac", floats, query_draws=retrac.Strided(2))
        assert ours.dtype == torch.float32
        assert torch.corrcoef(torch.stack([ours.flatten().double(), exact.flatten()]))[0, 1] > 0.999


class TestRefusals:
    @every
    def test_its_settings_are_named(self, name):
        with pytest.raises(InputError, match=r"its settings are: fisher, relative_damping$"):
            scores(name, small_case(), temperature=1.0)

    def test_another_fisher_matrix(self):
        with pytest.raises(InputError, match="unknown fisher 'fish', expected one of true, emp"):
            scores("kronfluence-ekfac", small_case(), fisher="fish")

    def test_no_damping(self):
        with pytest.raises(InputError, match="relative_damping must be above 0, got 0"):
            scores("kronfluence-ekfac", small_case(), relative_damping=0)

    def test_a_loss_whose_targets_cannot_be_sampled(self):
        case = small_case()
        case.model = retrac.wrap(case.network, case.schedule, loss="l1")
        with pytest.raises(InputError, match="Give fisher='empirical'"):
            scores("kronfluence-ekfac", case)
        assert scores("kronfluence-ekfac", case, fisher="empirical").isfinite().all()

    def test_a_model_without_a_layer_that_is_tracked(self):
        case = small_case(classes=3)
        case.model = case.model.attributing("label.*", "time.weight")
        with pytest.raises(InputError, match=r"SmallDenoiser has none .*: 3 of these kinds, 0 of"):
            scores("kronfluence-ekfac", case)

    def test_layers_that_compute_something_else(self):
        case = small_case()
        case.network.enter.padding_mode = "circular"
        case.network.time.register_forward_pre_hook(lambda layer, inputs: inputs[0].repeat(2, 1))
        case.network.time.register_forward_hook(lambda layer, inputs, out: out[: len(out) // 2])
        case.network.leave.requires_grad_(False)
        with pytest.raises(InputError, match=r"2 of these kinds, 1 of them with all parameters"):
            scores("kronfluence-ekfac", case)

    def test_a_loss_that_is_not_finite(self):
        case = small_case()
        case.train[5] = torch.full((1, 4, 4), torch.nan, dtype=torch.float64)
        with pytest.raises(GradientError, match=r"losses of 1 of 7 draws are not finite"):
            scores("kronfluence-ekfac", case)

    def test_dropout_left_on(self):
        case = small_case()
        case.network.noise = nn.Dropout(0.5)
        case.network.train()
        with pytest.raises(InputError, match=r"Call network\.eval\(\) first"):
            scores("kronfluence-ekfac", case)
