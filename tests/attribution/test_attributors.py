"""The two methods against the textbook, and what must not change their scores."""

import dataclasses

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.draws import Request
from retrac_plugin.randomness import content_key
from tests import textbook
from tests.attribution.cases import (
    EXACT,
    METHODS,
    attributor,
)
from tests.small import small_case

both_methods = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def visits(draws, case, examples, side, k):
    """What ``draws`` gives every example at checkpoint ``k``, as single values."""
    mappings = [e if isinstance(e, dict) else {"sample": e} for e in examples]
    keys = [content_key(e["sample"]) for e in mappings]
    shape = mappings[0]["sample"].shape
    ids, count = list(range(len(keys))), len(keys)
    step = case.checkpoints[k].step
    drawn = draws.draw(Request(ids, keys, shape, side, count, k, step, 100))
    return mappings, drawn.timesteps, drawn.noise.to(mappings[0]["sample"].dtype)


def by_the_book(case, rescale, train_draws, query_draws, **loss):
    states = [(c.parameters, c.step_size) for c in case.checkpoints]
    train, queries = [], []
    for k in range(len(states)):
        examples, ts, noise = visits(train_draws, case, case.train, "train", k)
        train.append([(e, t[0], n[0, 0]) for e, t, n in zip(examples, ts, noise, strict=True)])
        examples, ts, noise = visits(query_draws, case, case.queries, "query", k)
        queries.append(
            [
                (e, list(zip(row, draws, strict=True)))
                for e, row, draws in zip(examples, ts, noise, strict=True)
            ]
        )
    loss_of = textbook.loss_function(case.network, case.schedule.alphas_cumprod, **loss)
    return textbook.influence(loss_of, case.network, states, train, queries, rescale)


@both_methods
@pytest.mark.parametrize("classes", [None, 4])
def test_scores_equal_the_textbook(method, classes):
    case = small_case(classes=classes)
    ours = attributor(method, case)
    scores = ours.attribute(case.train, case.queries).values
    expected = by_the_book(case, METHODS[method], ours.train_draws, ours.query_draws)
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, expected, **EXACT)


@both_methods
@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batch_size_changes_no_score(method, batch_size):
    case = small_case()
    expected = attributor(method, case).attribute(case.train, case.queries).values
    ours = attributor(method, case, batch_size=batch_size)
    scores = ours.attribute(case.train, case.queries).values
    torch.testing.assert_close(scores, expected, **EXACT)


@both_methods
def test_permuting_the_training_set_permutes_the_scores(method):
    case = small_case()
    order = [4, 2, 0, 6, 1, 3, 5]
    ours = attributor(method, case)
    expected = ours.attribute(case.train, case.queries).values[:, order]
    scores = ours.attribute([case.train[i] for i in order], case.queries).values
    torch.testing.assert_close(scores, expected, **EXACT)


@both_methods
def test_a_score_depends_on_its_own_pair_alone(method):
    case = small_case()
    ours = attributor(method, case)
    expected = ours.attribute(case.train, case.queries).values[1:2, 3:5]
    scores = ours.attribute(case.train[3:5], case.queries[1:2]).values
    torch.testing.assert_close(scores, expected, **EXACT)


@both_methods
def test_repeating_a_call_repeats_its_scores_bit_for_bit(method):
    case = small_case()
    ours = attributor(method, case)
    first = ours.attribute(case.train, case.queries).values
    torch.rand(5)  # the global random state is nobody's business
    assert torch.equal(first, ours.attribute(case.train, case.queries).values)


@both_methods
def test_methods_may_share_their_gradients(method):
    case = small_case()
    together = retrac.attribute_together(
        [
            attributor(m, case, train_draws=retrac.Uniform(1), query_draws=retrac.Strided(2))
            for m in METHODS
        ],
        case.train,
        case.queries,
    )
    alone = attributor(
        method, case, train_draws=retrac.Uniform(1), query_draws=retrac.Strided(2)
    ).attribute(case.train, case.queries)
    shared = together[list(METHODS).index(method)]
    torch.testing.assert_close(shared.values, alone.values, **EXACT)
    torch.testing.assert_close(shared.gradient_norms, alone.gradient_norms, **EXACT)


@both_methods
def test_scores_are_linear_in_the_step_sizes(method):
    case = small_case()
    whole = attributor(method, case).attribute(case.train, case.queries).values
    parts = []
    for k, checkpoint in enumerate(case.checkpoints):
        doubled = dataclasses.replace(checkpoint, step_size=2 * checkpoint.step_size)
        single = dataclasses.replace(case, checkpoints=[doubled])
        parts.append(attributor(method, single).attribute(case.train, case.queries).values)
        assert k < 2
    torch.testing.assert_close(sum(parts), 2 * whole, **EXACT)


def test_float32_agrees_with_float64():
    double, single = small_case(), small_case(dtype=torch.float32)
    for position, checkpoint in enumerate(double.checkpoints):
        state = {n: v.float() for n, v in checkpoint.parameters.items()}
        single.checkpoints[position] = dataclasses.replace(checkpoint, parameters=state)
    single.train[:] = [x.float() for x in double.train]
    single.queries[:] = [x.float() for x in double.queries]
    for method in METHODS:
        expected = attributor(method, double).attribute(double.train, double.queries).values
        scores = attributor(method, single).attribute(single.train, single.queries).values
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores.double(), expected, rtol=1e-3, atol=1e-5)


def test_the_users_network_is_left_as_it_was():
    case = small_case()
    case.network.enter.bias.grad = torch.ones(4, dtype=torch.float64)
    before = {name: value.clone() for name, value in case.network.state_dict().items()}
    attributor(retrac.DiffusionReTrac, case).attribute(case.train, case.queries)
    assert all(torch.equal(v, before[n]) for n, v in case.network.state_dict().items())
    assert torch.equal(case.network.enter.bias.grad, torch.ones(4, dtype=torch.float64))
    assert all(p.requires_grad for p in case.network.parameters())


@both_methods
def test_self_influence_at_the_recorded_draw(method):
    """There the gradient meets itself: squared norms for TracIn, the step sizes for ReTrac."""
    case = small_case()
    ours = attributor(method, case)
    values = ours.self_influence(case.train)
    norms = ours.attribute(case.train, case.queries).gradient_norms
    etas = torch.tensor([c.step_size for c in case.checkpoints], dtype=torch.float64)
    squares = norms**2 if method is retrac.DiffusionTracIn else torch.ones_like(norms)
    torch.testing.assert_close(values, etas @ squares, **EXACT)


@both_methods
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_self_influence_with_query_draws_is_the_diagonal(method, batch_size):
    case = small_case()
    ours = attributor(method, case, batch_size=batch_size)
    values = ours.self_influence(case.train, query_draws=ours.query_draws)
    diagonal = ours.attribute(case.train, case.train).values.diagonal()
    torch.testing.assert_close(values, diagonal, **EXACT)


def test_many_draws_converge_to_few_draws_mean():
    """Scores from disjoint seeds average to what more draws give: the estimator is unbiased."""
    case = small_case(checkpoints=1)
    options = {"train_draws": retrac.Uniform(1, seed=5)}
    seeds = [
        attributor(retrac.DiffusionTracIn, case, query_draws=retrac.Uniform(40, seed=s), **options)
        .attribute(case.train, case.queries)
        .values
        for s in range(8)
    ]
    few, many = torch.stack(seeds[:4]).mean(0), torch.stack(seeds[4:]).mean(0)
    spread = torch.stack(seeds).std(0) / 2  # standard error of each mean of four
    assert ((few - many).abs() < 5 * spread).all()
