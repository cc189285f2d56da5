"""The baselines."""

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.draws import Request
from retrac_plugin.methods.losses import LossEngine, mean_losses
from retrac_plugin.model.diffusion import NoisyBatch
from retrac_plugin.randomness import content_key
from tests.methods import textbook
from tests.small import small_case

DRAWS = retrac.Strided(3, noise_draws=2, seed=2)


@pytest.fixture(scope="module")
def case():
    return small_case(train=9)


def scores(name, case, train=None, queries=None, **options):
    method = plugins.get_attributor(name)(
        case.model, case.checkpoints, query_draws=DRAWS, **options
    )
    return method.attribute(train or case.train, queries or case.queries).values


def test_pixel_similarity_is_the_cosine(case):
    found = scores("pixel-similarity", case)
    for q, query in enumerate(case.queries):
        for i, image in enumerate(case.train):
            expected = (query * image).sum() / (query.norm() * image.norm())
            torch.testing.assert_close(found[q, i], expected)


def test_feature_similarity_equals_scikit_learn(case):
    decomposition = pytest.importorskip("sklearn.decomposition")
    train = torch.stack(case.train).flatten(1).numpy()
    pca = decomposition.PCA(whiten=True, svd_solver="full").fit(train)
    kept = 1 + int((pca.explained_variance_ratio_.cumsum() < 0.9).sum())
    sides = [
        torch.from_numpy(pca.transform(x)[:, :kept])
        for x in (torch.stack(case.queries).flatten(1).numpy(), train)
    ]
    expected = torch.nn.functional.cosine_similarity(sides[0][:, None], sides[1][None], dim=2)
    torch.testing.assert_close(scores("feature-similarity", case), expected)


def test_an_image_is_most_like_itself(case):
    for name in ("pixel-similarity", "feature-similarity"):
        found = scores(name, case, queries=case.train)
        assert found.argmax(1).equal(torch.arange(9))


def test_training_loss_is_the_mean_loss_of_each_training_image(case):
    case.network.load_state_dict(case.checkpoints[-1].parameters)
    step = case.checkpoints[-1].step
    for i, x in enumerate(case.train):
        request = Request([i], [content_key(x)], x.shape, "query", 0, 1, step, 100)
        timesteps, noise, _ = DRAWS.draw(request)
        losses = [
            textbook.output_of(case, "loss", x, t, eps)
            for t, noises in zip(timesteps[0], noise[0].double(), strict=True)
            for eps in noises
        ]
        expected = torch.stack(losses).mean().expand(3)
        torch.testing.assert_close(scores("training-loss", case)[:, i], expected)


def test_random_scores_depend_on_the_seed_and_the_query_alone(case):
    found = scores("random", case)
    assert found.equal(scores("random", case, batch_size=1))
    assert found[1:2].equal(scores("random", case, queries=case.queries[1:2]))
    assert not found.equal(scores("random", case, seed=1))


def test_mean_losses_do_not_depend_on_the_batch(case):
    one, many = (
        mean_losses(case.model, case.checkpoints[0], case.train, DRAWS, size) for size in (1, 500)
    )
    torch.testing.assert_close(one, many)


def test_the_loss_engine_keeps_to_the_protocol(case):
    fixed = {}
    parameters = case.checkpoints[0].parameters
    engine = LossEngine(lambda p, b: case.model.losses(fixed, p, b), parameters)
    noisy = torch.stack(case.train[:4])
    batch = NoisyBatch(noisy, torch.arange(4), noisy * 0.5, torch.ones(4).double(), {})
    losses, rows = engine.gradients(batch, draws=2)
    (products,) = engine.products([batch], 2, torch.tensor([[3.0]]).double())
    torch.testing.assert_close(rows[:, 0], losses.mean(1))
    torch.testing.assert_close(products.dots, rows * 3)
    torch.testing.assert_close(products.norms, rows[:, 0])
