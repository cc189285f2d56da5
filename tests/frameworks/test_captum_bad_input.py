"""What the Captum classes refuse of a diffusion model's user."""

import pytest
import torch
from diffusers import DDPMScheduler
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum import DiffusionReTracCP
from tests.frameworks.captum_cases import make
from tests.small import small_case


def test_shuffled_loaders():
    case = small_case()
    shuffled = DataLoader(case.train, batch_size=2, shuffle=True)
    with pytest.raises(InputError, match="train: the DataLoader shuffles"):
        make(DiffusionReTracCP, case, train=shuffled)
    with pytest.raises(InputError, match="queries: the DataLoader shuffles"):
        make(DiffusionReTracCP, case).influence(shuffled)


def test_an_empty_training_set():
    with pytest.raises(InputError, match="train is empty"):
        make(DiffusionReTracCP, small_case(), train=TensorDataset(torch.zeros(0, 1, 4, 4)))


def test_batches_without_names():
    case = small_case()
    with pytest.raises(InputError, match=r"got a tuple.*names the fields"):
        make(DiffusionReTracCP, case).influence((torch.stack(case.queries), torch.zeros(3)))


def test_batches_of_unequal_fields():
    case = small_case(classes=4)
    batch = {"sample": torch.zeros(3, 1, 4, 4), "class_labels": torch.zeros(2)}
    with pytest.raises(InputError, match=r"inputs: .*as many samples each, got 3, 2 in 'samp"):
        make(DiffusionReTracCP, case).influence(batch)


@pytest.mark.parametrize("name", ["loss_fn", "test_loss_fn"])
def test_a_second_loss(name):
    with pytest.raises(InputError, match=f"^{name}: a diffusion model has its own loss"):
        make(DiffusionReTracCP, small_case(), **{name: torch.nn.MSELoss()})


@pytest.mark.parametrize("extra", [{"scheduler": DDPMScheduler()}, {"loss": "l1"}])
def test_a_second_wrapping(extra):
    with pytest.raises(InputError, match=r"pass scheduler, loss and weight to retrac_plugin\.wrap"):
        make(DiffusionReTracCP, small_case(), **extra)


@pytest.mark.parametrize(
    "ours",
    [
        {"loss": "l1"},
        {"train_draws": retrac.Uniform(1)},
        {"query_draws": retrac.Strided(2)},
        {"device": "cpu"},
    ],
)
def test_what_plain_tracin_has_no_use_for(ours):
    case = small_case()
    (name,) = ours
    with pytest.raises(InputError, match=f"^{name} needs a diffusion model: pass scheduler="):
        DiffusionReTracCP(case.network, case.train, ["a"], **ours)
    with pytest.raises(InputError, match=r"^a retrac_plugin\.Checkpoint needs a diffusion"):
        DiffusionReTracCP(case.network, case.train, case.checkpoints)
