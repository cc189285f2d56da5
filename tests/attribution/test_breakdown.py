"""How a score splits over checkpoints and timesteps, against the textbook and against the score."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.attribution import passes
from retrac_plugin.attribution.breakdown import break_together, breakdown
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.pairs import strongest
from retrac_plugin.errors import InputError
from tests import textbook
from tests.attribution.cases import EXACT, METHODS, attributor
from tests.attribution.test_attributors import visits
from tests.small import small_case

both_methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)
PAIRS = [(2, 5), (0, 1), (2, 0), (0, 6), (1, 1)]


def by_the_book(case, rescale, ours):
    """Every term alone: the influence at one checkpoint on one timestep of the query."""
    terms = torch.zeros(len(PAIRS), len(case.checkpoints), 3, dtype=torch.float64)
    loss_of = textbook.loss_function(case.network, case.schedule.alphas_cumprod)
    for k, checkpoint in enumerate(case.checkpoints):
        state = [(checkpoint.parameters, checkpoint.step_size)]
        examples, ts, noise = visits(ours.train_draws, case, case.train, "train", k)
        train = [(e, t[0], n[0, 0]) for e, t, n in zip(examples, ts, noise, strict=True)]
        examples, ts, noise = visits(ours.query_draws, case, case.queries, "query", k)
        for t in range(3):
            at_t = [(e, [(row[t], n[t])]) for e, row, n in zip(examples, ts, noise, strict=True)]
            found = textbook.influence(loss_of, case.network, state, [train], [at_t], rescale)
            for place, (query, sample) in enumerate(PAIRS):
                terms[place, k, t] = found[query, sample] / 3
    return terms


@both_methods
@pytest.mark.parametrize("classes", [None, 4])
def test_terms_equal_the_textbook(method, classes):
    case = small_case(classes=classes)
    ours = attributor(method, case)
    found = breakdown(ours, case.train, case.queries, PAIRS)
    assert found.values.dtype == torch.float64
    torch.testing.assert_close(found.values, by_the_book(case, METHODS[method], ours), **EXACT)
    assert found.pairs.tolist() == [list(pair) for pair in PAIRS]
    drawn = visits(ours.query_draws, case, case.queries, "query", 0)[1]
    assert found.timesteps[0].tolist() == [drawn[0].tolist()] * 2
    assert found.about["method"] == ours.method.name
    assert found.about["checkpoint_steps"] == [10, 20]


def sums(found):
    return found.values.sum((1, 2))


def scores_of(scores):
    return torch.stack([scores.values[pair] for pair in PAIRS])


@both_methods
def test_terms_sum_to_the_score(method):
    case = small_case()
    ours = attributor(method, case)
    expected = scores_of(ours.attribute(case.train, case.queries))
    torch.testing.assert_close(
        sums(breakdown(ours, case.train, case.queries, PAIRS)), expected, **EXACT
    )


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"max_memory": "200MB"}])
def test_how_it_is_cut_changes_no_term(options):
    case = small_case()
    whole = breakdown(attributor(retrac.DiffusionReTrac, case), case.train, case.queries, PAIRS)
    ours = attributor(retrac.DiffusionReTrac, case, **options)
    found = breakdown(ours, case.train, case.queries, PAIRS)
    torch.testing.assert_close(found.values, whole.values, **EXACT)
    assert torch.equal(found.timesteps, whole.timesteps)


def test_gradients_that_do_not_fit_together_are_taken_one_after_the_other(monkeypatch):
    case = small_case()
    ours = attributor(retrac.DiffusionTracIn, case)
    whole = breakdown(ours, case.train, case.queries, PAIRS)
    monkeypatch.setattr(passes, "GRADIENT_BYTES", 1)
    found = breakdown(ours, case.train, case.queries, PAIRS)
    torch.testing.assert_close(found.values, whole.values, **EXACT)


def test_methods_share_their_gradients():
    case = small_case()
    draws = {"train_draws": retrac.Uniform(1), "query_draws": retrac.Strided(3)}
    ours = [attributor(method, case, **draws) for method in METHODS]
    together = break_together(ours, case.train, case.queries, PAIRS)
    for found, each in zip(together, ours, strict=True):
        alone = breakdown(each, case.train, case.queries, PAIRS)
        torch.testing.assert_close(found.values, alone.values, **EXACT)


@both_methods
def test_terms_of_repeated_draws_sum_to_the_mean_score(method):
    case = small_case()
    ours = attributor(method, case)
    (scores,) = retrac.attribute_repeatedly([ours], case.train, case.queries, 3)
    found = breakdown(ours, case.train, case.queries, PAIRS, repeats=3)
    torch.testing.assert_close(sums(found), scores_of(scores), **EXACT)


def test_timesteps_that_differ_from_repeat_to_repeat_are_refused():
    case = small_case()
    ours = attributor(retrac.DiffusionReTrac, case, query_draws=retrac.Uniform(3))
    with pytest.raises(InputError, match="drawn anew in each repeat"):
        breakdown(ours, case.train, case.queries, PAIRS, repeats=2)


def given_by_index(case):
    """Draws that are told apart by the samples' places alone, on both sides."""
    generator = torch.Generator().manual_seed(3)
    checkpoints, train, queries = len(case.checkpoints), len(case.train), len(case.queries)
    timesteps = torch.randint(100, (checkpoints, train), generator=generator)
    noise = torch.randn(checkpoints, train, 1, 4, 4, generator=generator, dtype=torch.float64)
    of_queries = torch.randn(
        checkpoints, queries, 3, 2, 1, 4, 4, generator=generator, dtype=torch.float64
    )
    return {
        "train_draws": retrac.Given(timesteps, noise),
        "query_draws": retrac.Given(torch.tensor([5, 50, 90]), of_queries),
    }


@pytest.mark.parametrize("loader", [False, True])
def test_a_sample_keeps_the_draws_of_its_place(loader):
    case = small_case()
    ours = attributor(retrac.DiffusionReTrac, case, **given_by_index(case))
    train = DataLoader(case.train, batch_size=3) if loader else case.train
    expected = scores_of(ours.attribute(case.train, case.queries))
    torch.testing.assert_close(sums(breakdown(ours, train, case.queries, PAIRS)), expected, **EXACT)


def test_the_columns_of_a_loader_are_the_positions():
    case = small_case()
    ours = attributor(retrac.DiffusionReTrac, case)
    loader = DataLoader(case.train, sampler=[4, 1, 3])
    scores = ours.attribute(loader, case.queries).values
    found = breakdown(ours, loader, case.queries, [(1, 0), (1, 2)])
    torch.testing.assert_close(sums(found), scores[1, [0, 2]], **EXACT)


@pytest.mark.parametrize("pairs", [[], [(3, 0)], [(0, 7)], [(-1, 0)]])
def test_pairs_outside_of_the_scores_are_refused(pairs):
    case = small_case()
    with pytest.raises(InputError, match="pairs: "):
        breakdown(attributor(retrac.DiffusionReTrac, case), case.train, case.queries, pairs)


def test_a_method_that_scores_in_its_own_way_is_refused():
    class Own(retrac.DiffusionReTrac):
        def attribute(self, train, queries):
            return super().attribute(train, queries)

    case = small_case()
    with pytest.raises(InputError, match="in a way of its own"):
        breakdown(attributor(Own, case), case.train, case.queries, PAIRS)


def test_the_strongest_pairs_are_both_ends_of_every_method_once_each():
    one = retrac.Scores(torch.tensor([[3.0, 1, 2, 0], [0, 1, 2, 3]]))
    other = retrac.Scores(torch.tensor([[3.0, 2, 0, 1], [0, 1, 2, 3]]))
    assert strongest([one, other], 1) == [(0, 0), (0, 2), (0, 3), (1, 0), (1, 3)]
    assert len(strongest([one], 9)) == 8


@pytest.fixture
def saved(tmp_path):
    case = small_case()
    found = breakdown(attributor(retrac.DiffusionReTrac, case), case.train, case.queries, PAIRS)
    found.save(str(tmp_path / "breakdown.safetensors"))
    return found, tmp_path / "breakdown.safetensors"


def test_is_read_back_as_it_was_written(saved):
    found, path = saved
    again = Breakdown.load(str(path))
    for name in ("pairs", "values", "timesteps"):
        assert torch.equal(getattr(again, name), getattr(found, name))
    assert again.about == found.about
    assert again.places[2, 0] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"breakdown": torch.full((5, 2, 3), torch.nan)},
        {"breakdown": torch.zeros(5, 3)},
        {"pairs": torch.zeros(4, 2, dtype=torch.int64)},
        {"timesteps": torch.zeros(5, 2, 2)},
    ],
)
def test_a_damaged_file_is_refused(saved, changed):
    _, path = saved
    save_file({**load_file(path), **changed}, path, {"retrac": json.dumps({"about": {}})})
    with pytest.raises(InputError, match="a breakdown from"):
        Breakdown.load(path)
