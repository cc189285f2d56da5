"""The Captum classes without a diffusion model: TracInCP, and TracInCP of normalised gradients."""

import pytest
import torch
from captum.influence import TracInCP
from torch import nn
from torch.utils.data import TensorDataset

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests import textbook
from tests.frameworks.captum_cases import RATES, plain_setting

EXACT = {"rtol": 1e-9, "atol": 1e-13}
RESCALE = {DiffusionTracInCP: textbook.unchanged, DiffusionReTracCP: textbook.direction}

both_classes = pytest.mark.parametrize("kind", RESCALE, ids=lambda c: c.__name__)


@pytest.mark.parametrize("layers", [None, ["2"]])
def test_tracin_is_captum_s_own(layers):
    setting = plain_setting()
    ours, theirs = (setting.make(kind, layers=layers) for kind in (DiffusionTracInCP, TracInCP))
    expected = theirs.influence(setting.queries)
    torch.testing.assert_close(ours.influence(setting.queries), expected, **EXACT)
    torch.testing.assert_close(ours.self_influence(), theirs.self_influence(), **EXACT)


@both_classes
def test_scores_equal_the_textbook(kind):
    setting = plain_setting()

    def gradients(network, batch):
        losses = ((network(x[None]) - y).square().sum() for x, y in zip(*batch, strict=True))
        return [RESCALE[kind](textbook.gradient(loss, network)) for loss in losses]

    expected = torch.zeros(3, 7, dtype=torch.float64)
    for state, rate in zip(setting.states, RATES, strict=True):
        setting.network.load_state_dict(state)
        train = torch.stack(gradients(setting.network, setting.train_batch))
        for row, query in zip(expected, gradients(setting.network, setting.queries), strict=True):
            row += rate * (train @ query)
    torch.testing.assert_close(setting.make(kind).influence(setting.queries), expected, **EXACT)


@pytest.fixture
def line():
    """``y = w x`` with squared loss: the gradient is ``2 x (w x - y)``, one number."""
    network = nn.Linear(1, 1, bias=False).double()
    x = torch.tensor([[1.0], [2.0], [-3.0]]).double()
    y = torch.tensor([[0.0], [5.0], [-6.0]]).double()  # gradients at w = 2: 4, -4, 0
    return network, TensorDataset(x, y)


def load_two(network, checkpoint):
    nn.init.constant_(network.weight, 2.0)
    return 0.5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (DiffusionTracInCP, [[8, -8, 0], [-8, 8, 0], [0, 0, 0]]),
        (DiffusionReTracCP, [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]]),
    ],
)
def test_a_regression_in_one_dimension_by_hand(line, kind, expected):
    network, train = line
    loss = nn.MSELoss(reduction="none")
    ours = kind(network, train, ["only"], load_two, loss_fn=loss, batch_size=2)
    expected = torch.tensor(expected).double()
    torch.testing.assert_close(ours.influence(tuple(train.tensors)), expected)
    torch.testing.assert_close(ours.self_influence(), expected.diagonal())


def test_a_test_loss_makes_the_queries_embeddings():
    setting = plain_setting()

    def first_output(output, target):
        return output[:, 0]

    first_output.reduction = "none"
    ours = setting.make(DiffusionTracInCP, test_loss_fn=first_output)
    queries = ours.compute_intermediate_quantities(setting.queries, test=True)
    train = ours.compute_intermediate_quantities(setting.train_batch)
    torch.testing.assert_close(queries @ train.T, ours.influence(setting.queries), **EXACT)


def test_a_negative_learning_rate_has_no_embedding():
    setting = plain_setting()
    ours = setting.make(DiffusionTracInCP, checkpoints_load_func=lambda network, position: -0.1)
    with pytest.raises(InputError, match=r"step size is -0\.1"):
        ours.compute_intermediate_quantities(setting.queries)


def test_draws_of_queries_need_a_diffusion_model():
    ours = plain_setting().make(DiffusionTracInCP)
    with pytest.raises(InputError, match="query_draws needs a diffusion model"):
        ours.self_influence(query_draws=object())


class TestImages:
    """A convolution whose gradients are channels-last, as those after diffusers' attention are."""

    @pytest.fixture
    def options(self):
        torch.manual_seed(0)
        images = torch.randn(4, 3, 6, 6).contiguous(memory_format=torch.channels_last)
        network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2))
        network.to(memory_format=torch.channels_last)
        return {
            "model": network,
            "train_dataset": TensorDataset(images, torch.randn(4, 2)),
            "checkpoints": ["only"],
            "checkpoints_load_func": lambda network, checkpoint: 1.0,
            "batch_size": 4,
        }

    @staticmethod
    def batch(options):
        return next(iter(torch.utils.data.DataLoader(options["train_dataset"], 4)))

    @both_classes
    def test_any_memory_layout_will_do(self, kind, options):
        options["loss_fn"] = nn.MSELoss(reduction="none")
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            TracInCP(**options).influence(self.batch(options))
        ours = kind(**options)
        diagonal = ours.influence(self.batch(options)).diagonal()
        torch.testing.assert_close(diagonal, ours.self_influence())

    @pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
    @both_classes
    def test_no_batch_s_gradients_are_left_behind(self, kind, options):
        """Captum leaves ``sample_grad``, and takes an old one where it can compute none."""
        options |= {"loss_fn": nn.MSELoss(reduction="sum"), "sample_wise_grads_per_batch": True}
        kind(**options).self_influence()
        assert not any(hasattr(p, "sample_grad") for p in options["model"].parameters())
