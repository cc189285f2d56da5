"""Adam's steps: read off its saved state, and gradients scaled by them."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.checkpoints.preconditioners import adam
from retrac_plugin.errors import CheckpointError
from tests import textbook
from tests.golden import assert_equal
from tests.small import SmallDenoiser, small_case


def train(network, path, steps=5, **options):
    """Take some steps with AdamW, save its state, and return the last gradient and move."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.0, **options)
    torch.manual_seed(0)
    for _ in range(steps):
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer.zero_grad()
        noisy = torch.randn(4, 1, 4, 4, dtype=torch.float64)
        network(noisy, torch.arange(4)).square().mean().backward()
        optimizer.step()
    torch.save(optimizer.state_dict(), path)
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    return gradients, {n: before[n] - p.detach() for n, p in network.named_parameters()}


def test_the_roots_squared_are_what_adam_scaled_its_step_by(tmp_path):
    network = SmallDenoiser().double()
    # Without a first moment the step is P g of the last gradient alone.
    gradients, moves = train(network, tmp_path / "optimizer.bin", betas=(0.0, 0.99))
    roots = adam(tmp_path / "optimizer.bin", network)()
    assert roots.keys() == gradients.keys()
    for name, root in roots.items():
        torch.testing.assert_close(0.01 * root**2 * gradients[name], moves[name])


@pytest.mark.parametrize(
    ("method", "rescale"),
    [(retrac.DiffusionTracIn, textbook.unchanged), (retrac.DiffusionReTrac, textbook.direction)],
)
def test_scores_are_those_of_scaled_gradients_in_plain_loops(tmp_path, method, rescale):
    case = small_case(train=3, queries=1, checkpoints=1)
    train(SmallDenoiser().double(), tmp_path / "optimizer.bin")
    state = case.checkpoints[0].parameters
    scaled = adam(tmp_path / "optimizer.bin", case.network)
    noise = torch.randn(4, 1, 4, 4, dtype=torch.float64)
    scores = method(
        case.model,
        [retrac.Checkpoint(state, 0.5, preconditioner=scaled)],
        train_draws=retrac.Given(torch.tensor([[5, 50, 90]]), noise[None, :3]),
        query_draws=retrac.Given(torch.tensor([30]), noise[None, None, None, 3:]),
    ).attribute(case.train, case.queries)
    case.network.load_state_dict(state)
    root = torch.cat([scaled()[name].flatten() for name, _ in case.network.named_parameters()])
    loss_of = textbook.loss_function(case.network, case.schedule.alphas_cumprod)

    def direction(x, t, eps):
        loss = loss_of({"sample": x}, t, eps)
        return rescale(root * textbook.gradient(loss, case.network))

    query = direction(case.queries[0], 30, noise[3])
    expected = [
        0.5 * torch.dot(direction(x, t, eps), query)
        for x, t, eps in zip(case.train, (5, 50, 90), noise[:3], strict=True)
    ]
    assert_equal(scores.values, torch.stack(expected)[None])


def test_a_state_of_another_network_is_refused(tmp_path):
    train(SmallDenoiser().double(), tmp_path / "optimizer.bin")
    with pytest.raises(CheckpointError, match="moments of 6 tensors that are not shaped as the 7"):
        adam(tmp_path / "optimizer.bin", SmallDenoiser(classes=3))()


def test_a_state_of_another_optimiser_is_refused(tmp_path):
    optimizer = torch.optim.SGD(SmallDenoiser().parameters(), lr=0.1)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.bin")
    with pytest.raises(CheckpointError, match="holds no state of Adam"):
        adam(tmp_path / "optimizer.bin", SmallDenoiser())()
