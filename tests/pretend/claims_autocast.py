"""A user's autocast on the device: the network runs under it, and what is recorded is the same."""

import pytest
import torch

import retrac_plugin as retrac
from tests.pretend.claims_recorder import train
from tests.pretend.device import install
from tests.small import small_case

DEVICE = install()
DRAWS = {
    "train_draws": retrac.Uniform(1, seed=1),
    "query_draws": retrac.Strided(3, noise_draws=2, seed=2),
}
NARROW = {"device_type": "pretend", "dtype": torch.bfloat16}


def attribution(device):
    """Layers with attributed parameters keep these' type, so the first ones are not attributed."""
    case = small_case(dtype=torch.float32)
    model = case.model.attributing("leave.*")
    return retrac.DiffusionReTrac(model, case.checkpoints, device=device, **DRAWS), case


def test_it_narrows_here():
    layer = torch.nn.Conv2d(1, 4, 3).to(DEVICE)
    images = torch.ones(2, 1, 5, 5, device=DEVICE)
    with torch.autocast(**NARROW):
        made = layer(images)
        assert torch.nn.functional.group_norm(made, 2).dtype == torch.float32
        made.sum().backward()
    assert made.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == layer(images).dtype == torch.float32


def test_scores_are_near_those_without():
    ours, case = attribution("cpu")
    expected = ours.attribute(case.train, case.queries).values
    ours, case = attribution(DEVICE)
    with torch.autocast(**NARROW):
        found = ours.attribute(case.train, case.queries)
        norms = ours.self_influence(case.train)
    assert found.about["fallbacks"] == {}
    assert found.values.dtype == norms.dtype == torch.float32
    assert norms.isfinite().all()
    error = (found.values.cpu() - expected).abs().max() / expected.abs().max()
    assert 1e-5 < error < 0.05  # it was on, and it is no more than rounding


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_a_training_under_it_is_recorded_as_one_without(tmp_path, narrow):
    expected, noises, _ = train(DEVICE, tmp_path / "full")
    with torch.autocast("pretend", narrow):
        found, narrowed, _ = train(DEVICE, tmp_path / "narrow")
    for column in ("ids", "timesteps", "steps", "step_sizes"):
        assert getattr(found, column).equal(getattr(expected, column))
    for one, other in zip(narrowed, noises, strict=True):
        assert one.cpu().equal(other.cpu())
