import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.vmapped import VmapEngine
from retrac_plugin.model.checks import check_deterministic
from tests.small import SmallDenoiser, small_case
from tests.textbook import loss_function


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("loss", ["mse", "l1"])
def test_losses_equal_the_textbook(prediction_type, loss):
    case = small_case()
    schedule = retrac.VariancePreserving(case.schedule.alphas_cumprod, prediction_type)
    model = retrac.wrap(case.network, schedule, loss=loss)
    timesteps = torch.tensor([0, 7, 42, 99, 1, 2, 3])
    noise = torch.randn(7, 1, 4, 4, dtype=torch.float64)
    batch = model.diffuse(torch.stack(case.train), timesteps, noise, {})
    losses = model.losses({}, dict(case.network.named_parameters()), batch)
    loss_of = loss_function(case.network, schedule.alphas_cumprod, prediction_type, loss)
    expected = [
        loss_of({"sample": x}, t, eps)
        for x, t, eps in zip(case.train, timesteps, noise, strict=True)
    ]
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-12, atol=0)


def test_a_loss_of_ones_own_and_a_weight():
    case = small_case()
    model = retrac.wrap(
        case.network, case.schedule, loss=lambda p, t: (p - t) ** 4, weight=lambda t: t + 1
    )
    assert model.weight is not None
    plain = retrac.wrap(case.network, case.schedule, loss=lambda p, t: (p - t) ** 4)
    timesteps, noise = torch.tensor([4] * 7), torch.randn(7, 1, 4, 4, dtype=torch.float64)
    parameters = dict(case.network.named_parameters())
    samples = torch.stack(case.train)
    weighted = model.losses({}, parameters, model.diffuse(samples, timesteps, noise, {}))
    unweighted = plain.losses({}, parameters, plain.diffuse(samples, timesteps, noise, {}))
    torch.testing.assert_close(weighted, 5 * unweighted)


def test_unknown_loss_and_prediction_type_list_the_known():
    case = small_case()
    with pytest.raises(InputError, match="unknown loss 'l3': expected one of mse, l1"):
        retrac.wrap(case.network, case.schedule, loss="l3")
    schedule = retrac.VariancePreserving(case.schedule.alphas_cumprod, "score")
    with pytest.raises(InputError, match=r"unknown prediction type 'score': .* v_prediction"):
        retrac.wrap(case.network, schedule)


def test_parameters_are_chosen_by_pattern_and_requires_grad():
    case = small_case()
    assert case.model.attributed_names() == [n for n, _ in case.network.named_parameters()]
    assert case.model.attributing("*.bias").attributed_names() == [
        "enter.bias",
        "time.bias",
        "leave.bias",
    ]
    case.network.enter.requires_grad_(False)
    assert "enter.bias" not in case.model.attributed_names()
    with pytest.raises(InputError, match=r"of 4 trainable parameters none matches enter\.\*"):
        case.model.attributing("enter.*").attributed_names()


def test_parameters_are_chosen_by_the_type_of_module_that_holds_them():
    case = small_case()
    assert case.model.attributing(nn.Linear).attributed_names() == ["time.weight", "time.bias"]
    both = case.model.attributing("leave.bias", nn.Linear).attributed_names()
    assert both == ["time.weight", "time.bias", "leave.bias"]
    with pytest.raises(InputError, match="of 6 trainable parameters none matches Conv3d"):
        case.model.attributing(nn.Conv3d).attributed_names()


def test_scores_say_how_many_parameters_were_attributed():
    case = small_case()
    chosen = retrac.DiffusionTracIn(case.model.attributing(nn.Linear), case.checkpoints)
    about = chosen.attribute(case.train, case.queries).about
    whole = sum(p.numel() for p in case.network.parameters())
    assert (about["attributed_parameters"], about["of_parameters"]) == (8, whole)


def test_scores_say_which_parameters_had_no_layer_rule():
    case = small_case()
    streamed = retrac.DiffusionTracIn(case.model, case.checkpoints)
    by_vmap = retrac.DiffusionTracIn(case.model, case.checkpoints, engine=VmapEngine)
    found = [a.attribute(case.train, case.queries).about["fallbacks"] for a in (streamed, by_vmap)]
    assert found[0] == {}
    assert found[1].keys() == set(case.model.attributed_names())


def test_a_prediction_of_another_shape_is_refused():
    network = SmallDenoiser().double()
    network.leave = nn.Conv2d(4, 2, 3, padding=1).double()
    model = retrac.wrap(network, small_case().schedule)
    batch = model.diffuse(
        torch.zeros(1, 1, 4, 4).double(), torch.tensor([1]), torch.zeros(1, 1, 4, 4).double(), {}
    )
    with pytest.raises(InputError, match=r"predicts \(1, 2, 4, 4\), expected \(1, 1, 4, 4\)"):
        model.losses({}, dict(network.named_parameters()), batch)


@pytest.mark.parametrize("layer", [nn.Dropout(0.1), nn.BatchNorm2d(3)])
def test_chance_and_the_rest_of_the_batch_are_refused(layer):
    network = nn.Sequential(nn.Conv2d(1, 3, 1), layer)
    with pytest.raises(InputError, match=rf"{type(layer).__name__} '1' is in training mode"):
        check_deterministic(network.train())
    check_deterministic(network.eval())
