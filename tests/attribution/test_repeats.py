from dataclasses import replace

import pytest
import torch

from retrac_plugin import (
    DiffusionReTrac,
    DiffusionTracIn,
    Given,
    Recorded,
    Scores,
    Strided,
    Uniform,
)
from retrac_plugin.attribution.repeats import attribute_repeatedly, mean_of, standard_error
from retrac_plugin.draws.redrawing import with_other_draws
from retrac_plugin.errors import InputError
from tests.draws.test_draws import kept_trace, request
from tests.small import small_case

CASE = small_case(train=4, queries=2, checkpoints=1)


def attributors(*classes, **more):
    options = {"train_draws": Uniform(1), "query_draws": Strided(1), **more}
    return [each(CASE.model, CASE.checkpoints, **options) for each in classes]


def repeated(repeats, *classes, **more):
    return attribute_repeatedly(attributors(*classes, **more), CASE.train, CASE.queries, repeats)


def test_scores_are_the_mean_over_separate_attributions():
    (scores,) = repeated(3, DiffusionReTrac)
    separate = [
        attributors(
            DiffusionReTrac,
            train_draws=with_other_draws(Uniform(1), g),
            query_draws=with_other_draws(Strided(1), g),
        )[0].attribute(CASE.train, CASE.queries)
        for g in range(3)
    ]
    values = torch.stack([each.values for each in separate])
    torch.testing.assert_close(scores.values, values.mean(0))
    squares = (values - values.mean(0)).square().sum(0)
    torch.testing.assert_close(scores.standard_errors, (squares / 6).sqrt())
    ranks = torch.stack([each.ranks() for each in separate]).double()
    torch.testing.assert_close(scores.rank_errors, ranks.std(0) / 3**0.5)
    norms = torch.stack([each.gradient_norms for each in separate])
    torch.testing.assert_close(scores.gradient_norms, norms.mean(0))
    assert scores.about["repeats"] == 3


def test_one_repeat_is_the_plain_attribution_without_errors():
    (scores,) = repeated(1, DiffusionReTrac)
    (plain,) = attributors(DiffusionReTrac)
    assert torch.equal(scores.values, plain.attribute(CASE.train, CASE.queries).values)
    assert scores.standard_errors is None
    assert scores.about["repeats"] == 1


def test_methods_share_each_repeats_draws():
    both = repeated(2, DiffusionTracIn, DiffusionReTrac)
    for alone, shared in zip((DiffusionTracIn, DiffusionReTrac), both, strict=True):
        torch.testing.assert_close(repeated(2, alone)[0].values, shared.values)


def test_the_standard_error_of_known_numbers_is_sigma_by_the_root_of_n():
    sigma = torch.tensor([[0.5, 2.0], [10.0, 0.1]])
    generator = torch.Generator().manual_seed(0)
    for count in (100, 400, 1600):
        values = sigma * torch.randn(count, 2, 2, generator=generator)
        torch.testing.assert_close(
            standard_error(values), sigma / count**0.5, rtol=4 / (2 * count) ** 0.5, atol=0
        )


def test_a_scores_standard_error_falls_as_one_by_the_root_of_n_and_tells_the_truth():
    rounds = [repeated(1, DiffusionReTrac, **drawn_with(seed))[0] for seed in range(128)]
    few, many = mean_of(rounds[:32]), mean_of(rounds)
    assert rms(few.standard_errors) / rms(many.standard_errors) == pytest.approx(2, rel=0.2)
    assert rms(few.rank_errors) / rms(many.rank_errors) == pytest.approx(2, rel=0.2)
    means = [mean_of(rounds[start : start + 16]) for start in range(0, 128, 16)]
    told = rms(torch.stack([each.standard_errors for each in means]))
    spread = rms(torch.stack([each.values for each in means]).std(0))
    assert told == pytest.approx(spread, rel=0.3)


def drawn_with(seed):
    return {"train_draws": Uniform(1, seed=seed), "query_draws": Strided(1, seed=seed)}


def rms(values):
    return values.square().mean().sqrt().item()


def test_what_was_recorded_or_given_is_not_drawn_anew():
    given = Given(torch.tensor([3]), torch.zeros(1, 2, 1, 1, 1, 4, 4))
    for draws in (Recorded(kept_trace()), given):
        assert with_other_draws(draws, 1) is draws


@pytest.mark.parametrize("draws", [Uniform(2, seed=5), Strided(2, seed=5)])
def test_other_draws_differ_and_not_by_the_next_seed(draws):
    noise = draws.draw(request()).noise
    assert with_other_draws(draws, 0) is draws
    for number in (1, 2):
        assert not (with_other_draws(draws, number).draw(request()).noise == noise).any()
        assert with_other_draws(draws, number) != replace(draws, seed=5 + number)


def test_timesteps_alone_leave_the_noise_to_be_drawn():
    trace = replace(kept_trace(), noise_origin="anew", kept={})
    other = with_other_draws(Recorded(trace), 1)
    asked = request(step=2)._replace(dataset_size=3)
    first, second = Recorded(trace).draw(asked), other.draw(asked)
    assert torch.equal(first.timesteps, second.timesteps)
    assert not (first.noise == second.noise).any()


def test_ranks_count_from_the_highest_score():
    scores = Scores(torch.tensor([[0.1, 0.3, -0.2], [1.0, 1.0, 2.0]]))
    assert scores.ranks().tolist() == [[2, 1, 3], [2, 3, 1]]


def test_errors_are_saved_and_loaded(tmp_path):
    (scores,) = repeated(2, DiffusionReTrac)
    scores.save(tmp_path / "scores.safetensors")
    loaded = Scores.load(tmp_path / "scores.safetensors")
    for name in ("values", "gradient_norms", "standard_errors", "rank_errors"):
        assert torch.equal(getattr(loaded, name), getattr(scores, name))
    assert loaded.about["repeats"] == 2


def test_no_repeat_is_refused():
    with pytest.raises(InputError, match="repeats: expected at least 1, got 0"):
        repeated(0, DiffusionReTrac)
