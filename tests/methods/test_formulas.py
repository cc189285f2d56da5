"""Every method against its formula in plain loops."""

import dataclasses

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.extras import missing
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.methods.attributor import attribute_together
from retrac_plugin.methods.cost import Cost
from retrac_plugin.methods.features import Pair, Side
from retrac_plugin.methods.journey import BOTH, SUBSTEPS
from retrac_plugin.methods.setting import Gradients
from retrac_plugin.methods.trak import TRAK
from retrac_plugin.model.diffusion import TARGETS
from retrac_plugin.model.outputs import elbo_weight
from tests.methods import textbook
from tests.small import small_case
from tests.textbook import direction
from tests.tiny import tiny_case

DRAWS = retrac.Strided(3, noise_draws=2, seed=2)
EXACT = {"rtol": 1e-8, "atol": 1e-12}
LAST = 1
D_TRAK = {
    "d-trak": "mean-squared-l2-norm",
    "d-trak-mean": "mean",
    "d-trak-l1": "l1-norm",
    "d-trak-l2": "l2-norm",
    "d-trak-linf": "linf-norm",
    "d-trak-weighted-mse": "weighted-mse",
}


@pytest.fixture(scope="module")
def case():
    return small_case()


def build(name, case, **options):
    options = {"query_draws": DRAWS, **options}
    return plugins.get_attributor(name)(case.model, case.checkpoints, **options)


def scores(name, case, **options):
    return build(name, case, **options).attribute(case.train, case.queries).values


@pytest.mark.parametrize(
    ("name", "compare"),
    [("gradient-dot", textbook.dots), ("gradient-cosine", textbook.cosines)],
)
def test_gradient_similarity_equals_the_textbook(case, name, compare):
    expected = compare(*textbook.features(case, DRAWS, LAST))
    torch.testing.assert_close(scores(name, case), expected, **EXACT)


@pytest.mark.parametrize(
    ("name", "compare", "treatment"),
    [
        ("tracincp", textbook.dots, {}),
        ("gas", textbook.cosines, {}),
        ("retrac-per-draw", textbook.dots, {"rescale": direction, "per_draw": True}),
    ],
)
def test_sums_over_checkpoints_equal_the_textbook(case, name, compare, treatment):
    expected = sum(
        checkpoint.step_size * compare(*textbook.features(case, DRAWS, k, **treatment))
        for k, checkpoint in enumerate(case.checkpoints)
    )
    torch.testing.assert_close(scores(name, case), expected, **EXACT)


@pytest.mark.parametrize(("name", "output"), [("trak", "loss"), *D_TRAK.items()])
def test_scores_through_curvature_equal_the_textbook(case, name, output):
    sides = textbook.features(case, DRAWS, LAST, output)
    expected = textbook.through_curvature(*sides, damping=0.03)
    torch.testing.assert_close(scores(name, case, damping=0.03), expected, **EXACT)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("relative-influence", lambda g, inverse: 1 / (inverse @ g).norm()),
        ("renormalised-influence", lambda g, inverse: 1 / g.norm()),
    ],
)
def test_rescaled_influence_equals_the_textbook(case, name, scale):
    sides = textbook.features(case, DRAWS, LAST)
    expected = textbook.through_curvature(*sides, damping=0.03, scale=scale)
    torch.testing.assert_close(scores(name, case, damping=0.03), expected, **EXACT)


def test_the_hybrid_equals_the_textbook(case):
    sides = textbook.features(case, DRAWS, LAST, rescale=direction)
    expected = textbook.through_curvature(*sides, damping=0.03)
    torch.testing.assert_close(scores("retrac-curvature", case, damping=0.03), expected, **EXACT)


def test_the_attribution_score_equals_the_textbook(case):
    sides = textbook.features(case, DRAWS, LAST, "residual", rescale=direction)
    residuals = textbook.residuals(case, DRAWS, LAST)
    expected = textbook.attribution_scores(*sides, residuals, damping=0.03)
    torch.testing.assert_close(scores("das", case, damping=0.03), expected, **EXACT)


def test_without_damping_the_attribution_score_is_finite(case):
    assert scores("das", case, damping=0.0).isfinite().all()


@pytest.mark.parametrize("draws", [DRAWS, retrac.Uniform(4, seed=5)])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_the_journey_equals_the_textbook(case, batch_size, draws):
    train, _ = textbook.features(case, draws, LAST)
    queries = [
        textbook.journey_feature(case, draws, LAST, x, q, SUBSTEPS)
        for q, x in enumerate(case.queries)
    ]
    expected = textbook.through_curvature(train, queries, damping=0.03)
    found = scores("journey-trak", case, damping=0.03, batch_size=batch_size, query_draws=draws)
    torch.testing.assert_close(found, expected, **EXACT)


def test_the_journey_does_not_hang_on_the_last_bits_of_the_way():
    """A convolution's last bits change with the batch; a noise keyed by them would be another."""
    case = tiny_case()
    case.model.network.float()
    one, many = (
        build("journey-trak", case, batch_size=size)
        .attribute(case.train.float(), case.queries.float())
        .values
        for size in (1, 64)
    )
    torch.testing.assert_close(one, many, rtol=1e-3, atol=1e-3 * float(many.abs().max()))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_a_perfect_prediction_foresees_the_sample_and_the_noise(prediction_type):
    x, eps, a = 0.3, -1.2, 0.8
    x, eps, a, s = (torch.tensor(v).double() for v in (x, eps, a, 0.6))
    prediction = TARGETS[prediction_type](x, eps, a, s)
    found = BOTH[prediction_type](a * x + s * eps, prediction, a, s)
    torch.testing.assert_close(torch.stack(found), torch.stack([x, eps]))


def test_a_perfect_flow_foresees_the_sample_and_the_noise():
    x, eps, s = (torch.tensor(v).double() for v in (0.3, -1.2, 0.6))
    prediction = TARGETS["flow"](x, eps, 1 - s, s)
    found = BOTH["flow"]((1 - s) * x + s * eps, prediction, 1 - s, s)
    torch.testing.assert_close(torch.stack(found), torch.stack([x, eps]))


def test_heavy_damping_leaves_the_plain_products(case):
    heavy = 1e9
    curved = scores("trak", case, damping=heavy)
    plain = scores("gradient-dot", case)
    torch.testing.assert_close(curved / curved.norm(), plain / plain.norm(), rtol=1e-6, atol=1e-9)


def test_no_damping_at_all_interpolates_the_training_set(case):
    """Then ``phi_j^T (Phi^T Phi)^+ phi_i`` is the identity as long as the features have rank N."""
    attributor = build("trak", case, damping=0.0)
    (feature,) = attributor.needs()
    features = torch.randn(5, 30, generator=torch.Generator().manual_seed(0)).double()
    found = textbook_free_scores(attributor, feature, features)
    torch.testing.assert_close(found, torch.eye(5).double(), rtol=0, atol=1e-10)


def textbook_free_scores(attributor, feature, features):
    side = Side(features, features.norm(dim=1), features.sum(1))
    return attributor.score({feature: Pair(side, Cost(0.0, 0), side, Cost(0.0, 0))})


def test_methods_that_share_features_score_as_alone(case):
    names = ["gradient-dot", "gas", "trak", "retrac-curvature", "retrac-per-draw", "d-trak"]
    together = attribute_together([build(n, case) for n in names], case.train, case.queries)
    for name, found in zip(names, together, strict=True):
        torch.testing.assert_close(found.values, scores(name, case), **EXACT)


def test_shared_features_are_computed_once_and_counted_for_each(case, monkeypatch):
    noisy = []
    original = StreamedEngine.features

    def counting(self, batches, draws, projection):
        def seen():
            for batch in batches:
                noisy.append(len(batch.noisy))
                yield batch

        return original(self, seen(), draws, projection)

    monkeypatch.setattr(StreamedEngine, "features", counting)
    names = ["gradient-dot", "gradient-cosine", "trak", "retrac-curvature"]
    found = attribute_together([build(n, case) for n in names], case.train, case.queries)
    samples = (len(case.train) + len(case.queries)) * 6
    assert sum(noisy) == 2 * samples  # with norms kept, and of norm 1
    assert [scores.about["passes"] for scores in found] == [samples] * 4


def test_gradient_norms_are_exact_though_features_are_projected(case):
    attributor = build("gradient-dot", case, gradients=Gradients(projection=CountSketch(8)))
    norms = attributor.attribute(case.train, case.queries).gradient_norms
    train, _ = textbook.features(case, DRAWS, LAST)
    torch.testing.assert_close(norms, torch.stack([g.norm() for g in train])[None], **EXACT)


def test_weights_of_the_bound_need_a_variance_preserving_schedule(case):
    class Straight:
        num_timesteps, prediction_type = 10, "flow"

        def coefficients(self, timesteps, dtype):
            sigma = timesteps.to(dtype) / 10
            return 1 - sigma, sigma

    with pytest.raises(retrac.RetracError, match="got a Straight of prediction type 'flow'"):
        elbo_weight(Straight())


def test_features_of_a_half_precision_model_are_decomposed_in_float32():
    case = small_case(dtype=torch.bfloat16)
    case.train, case.queries = ([x.float() for x in side] for side in (case.train, case.queries))
    found = scores("trak", case)
    assert found.dtype == torch.float32
    assert found.isfinite().all()


@pytest.mark.parametrize("damping", [-1.0, float("nan")])
def test_damping_must_not_be_negative(case, damping):
    with pytest.raises(retrac.RetracError, match="damping must be at least 0"):
        build("trak", case, damping=damping)


def test_attributors_of_different_draws_and_projections_each_get_their_own_features(case):
    others = [
        build("trak", case),
        build("trak", case, query_draws=retrac.Strided(2)),
        build("trak", case, gradients=Gradients(projection=CountSketch(8))),
    ]
    found = attribute_together(others, case.train, case.queries)
    for attributor, together in zip(others, found, strict=True):
        alone = attributor.attribute(case.train, case.queries).values
        torch.testing.assert_close(together.values, alone, **EXACT)
    assert not torch.allclose(found[0].values, found[1].values, rtol=1e-3)
    assert not torch.allclose(found[0].values, found[2].values, rtol=1e-3)


def test_attributors_of_different_devices_or_checkpoints_share_nothing(case):
    other = TRAK(case.model, case.checkpoints[:1], query_draws=DRAWS)
    with pytest.raises(retrac.RetracError, match="must share checkpoints to share features"):
        attribute_together([build("trak", case), other], case.train, case.queries)


def test_methods_on_features_take_shared_noise_unless_told_otherwise(case):
    attributor = TRAK(case.model, case.checkpoints)
    assert attributor.setting.draws == retrac.Shared(10)


def test_every_tunable_method_takes_what_it_says(case):
    case = dataclasses.replace(case, checkpoints=case.checkpoints[-1:])
    for name, (entry, _) in plugins.attributors().items():
        if missing(entry.needs):
            continue
        for option, values in getattr(entry.load(), "tunable", {}).items():
            least, most = (scores(name, case, **{option: v}) for v in (values[0], values[-1]))
            assert not torch.allclose(least, most, rtol=1e-3), (name, option)
