"""What Captum's users rely on in TracInCP, kept by both classes in both modes.

The claims are those of Captum's own tests of TracInCP, said anew, and asked with a diffusion model
and without.
"""

import functools
import inspect

import pytest
import torch
from captum.influence import DataInfluence, TracInCP, TracInCPBase
from captum.influence._core import tracincp
from captum.influence._utils import common

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests.frameworks.captum_cases import SETTINGS

CLASSES = [DiffusionTracInCP, DiffusionReTracCP]
EXACT = {"rtol": 1e-9, "atol": 1e-13}

CALLS = {
    "influence": lambda ours, of: ours.influence(of.queries),
    "k-most": lambda ours, of: ours.influence(of.queries, k=2),
    "aggregate": lambda ours, of: ours.influence(of.queries, aggregate=True),
    "self-influence": lambda ours, of: ours.self_influence(),
    "by-checkpoints": lambda ours, of: ours.self_influence(outer_loop_by_checkpoints=True),
    "embeddings": lambda ours, of: ours.compute_intermediate_quantities(of.queries, test=True),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def setting(request):
    return request.param()


@pytest.fixture(params=CLASSES, ids=lambda c: c.__name__)
def ours(request, setting):
    return setting.make(request.param)


@pytest.mark.parametrize("kind", CLASSES)
def test_arguments_are_those_of_captum_and_then_ours_by_keyword(kind):
    theirs = list(inspect.signature(TracInCP).parameters.values())
    mine = list(inspect.signature(kind).parameters.values())
    assert [p.name for p in mine[: len(theirs)]] == [p.name for p in theirs]
    assert [p.default for p in mine[: len(theirs)]] == [p.default for p in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in mine[len(theirs) :])


@pytest.mark.parametrize("method", ["influence", "self_influence"])
def test_methods_take_what_captum_s_take(method):
    theirs = list(inspect.signature(getattr(TracInCP, method)).parameters.values())
    mine = list(inspect.signature(getattr(DiffusionTracInCP, method)).parameters.values())
    taken = [(p.name, p.default) for p in mine[: len(theirs)]]
    assert taken == [(p.name, p.default) for p in theirs]
    assert all(p.kind is p.KEYWORD_ONLY for p in mine[len(theirs) :])


def test_they_are_captum_s_kind(ours):
    assert isinstance(ours, (TracInCP, TracInCPBase, DataInfluence))
    assert ours.get_name() == type(ours).__name__


def test_scores_are_queries_by_training_samples(ours, setting):
    scores = ours.influence(setting.queries)
    assert scores.shape == (3, 7)
    assert scores.dtype == torch.float64
    assert scores.std(0).min() > 0 < scores.std(1).min()


@pytest.mark.parametrize("proponents", [True, False])
@pytest.mark.parametrize(("batch_size", "k"), [(3, 2), (2, 3), (7, 20)])
def test_the_k_most_influential_are_the_sorted_scores(ours, setting, proponents, batch_size, k):
    ours = setting.make(type(ours), batch_size=batch_size)
    top = ours.influence(setting.queries, k=k, proponents=proponents)
    expected = ours.influence(setting.queries).sort(dim=1, descending=proponents)
    assert isinstance(top, common.KMostInfluentialResults)
    assert top.indices.dtype == torch.long
    assert torch.equal(top.indices, expected.indices[:, :k])
    torch.testing.assert_close(top.influence_scores, expected.values[:, :k], **EXACT)


def test_aggregate_is_the_sum_over_queries(ours, setting):
    expected = ours.influence(setting.queries).sum(0, keepdim=True)
    aggregate = ours.influence(setting.queries, aggregate=True)
    torch.testing.assert_close(aggregate, expected, **EXACT)
    top = ours.influence(setting.queries, k=3, aggregate=True)
    values, indices = expected.topk(3, dim=1)
    assert torch.equal(top.indices, indices)
    torch.testing.assert_close(top.influence_scores, values, **EXACT)


def test_a_loader_of_queries_is_one_batch_of_them(ours, setting):
    loader = setting.loader(2, setting.queries)
    scores = ours.influence(loader)
    torch.testing.assert_close(scores, ours.influence(setting.queries), **EXACT)
    top, expected = (ours.influence(queries, k=2) for queries in (loader, setting.queries))
    assert torch.equal(top.indices, expected.indices)


def test_a_listed_batch_is_a_batch(ours, setting):
    """What a loader over a ``TensorDataset`` yields is a list of tensors, not of examples."""
    batch = next(iter(setting.loader(3, setting.queries)))
    assert isinstance(batch, list)
    torch.testing.assert_close(ours.influence(batch), ours.influence(setting.queries), **EXACT)


def test_a_loader_of_training_samples_is_their_dataset(ours, setting):
    loaded = setting.make(type(ours), train=setting.loader(2), batch_size=None)
    scores = loaded.influence(setting.queries)
    torch.testing.assert_close(scores, ours.influence(setting.queries), **EXACT)
    torch.testing.assert_close(loaded.self_influence(), ours.self_influence(), **EXACT)


def test_embeddings_multiply_to_scores(ours, setting):
    queries = ours.compute_intermediate_quantities(setting.queries, test=True)
    train = ours.compute_intermediate_quantities(setting.train_batch)
    torch.testing.assert_close(queries @ train.T, ours.influence(setting.queries), **EXACT)


@pytest.mark.parametrize("test", [True, False])
def test_embeddings_of_a_loader_and_their_sum(ours, setting, test):
    expected = ours.compute_intermediate_quantities(setting.train_batch, test=test)
    loader = setting.loader(3)
    loaded = ours.compute_intermediate_quantities(loader, test=test)
    torch.testing.assert_close(loaded, expected, **EXACT)
    total = ours.compute_intermediate_quantities(loader, aggregate=True, test=test)
    torch.testing.assert_close(total, expected.sum(0, keepdim=True), **EXACT)


def test_self_influence_is_the_diagonal_of_influence(ours, setting):
    diagonal = ours.influence(setting.train_batch).diagonal()
    torch.testing.assert_close(ours.self_influence(**setting.own_draws), diagonal, **EXACT)


def test_self_influence_is_the_same_in_both_loop_orders_and_for_batches(ours, setting):
    expected = ours.self_influence()
    for other in (
        ours.self_influence(outer_loop_by_checkpoints=True),
        ours.self_influence(setting.train_batch),
        ours.self_influence(setting.loader(2)),
    ):
        torch.testing.assert_close(other, expected, **EXACT)


@pytest.fixture
def stderr(capsys, monkeypatch):
    """What is shown, even where TQDM_DISABLE is set."""
    for module in (tracincp, common):
        shown = functools.partial(module.progress, disable=False)
        monkeypatch.setattr(module, "progress", shown)
    return lambda: capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "texts"),
    [
        (
            lambda ours, queries: ours.influence(queries, show_progress=True),
            {"to compute influence for training batches": 1},
        ),
        (
            lambda ours, queries: ours.influence(queries, 2, True, True),
            {"to perform computation for getting proponents. Processing training batches": 1},
        ),
        (
            lambda ours, queries: ours.influence(queries, 2, False, True),
            {"to perform computation for getting opponents. Processing training batches": 1},
        ),
        (
            lambda ours, queries: ours.self_influence(None, True),
            {"to compute self influence. Processing batch": 1},
        ),
        (
            lambda ours, queries: ours.self_influence(None, True, True),
            {
                "to compute self influence. Processing checkpoint": 1,
                "to compute self influence. Processing batch": 2,
            },
        ),
    ],
)
def test_progress_says_what_captum_s_says(ours, setting, stderr, call, texts):
    call(ours, setting.queries)
    shown = stderr()
    for text, bars in texts.items():
        # The last state of a bar may be drawn twice, when it is reached and when it is closed.
        assert shown.count(f"Using {ours.get_name()} {text}: 100%") >= bars, text
        assert shown.count(f"Using {ours.get_name()} {text}:   0%") == bars, text


def test_no_progress_is_shown_unasked(ours, setting, stderr):
    ours.influence(setting.queries, k=2)
    ours.self_influence()
    assert stderr() == ""


@calls
def test_a_checkpoint_is_loaded_once_per_call(ours, setting, call):
    for expected in ([0, 1], [0, 1, 0, 1]):
        call(ours, setting)
        assert setting.loads == expected


def traces(network):
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    modes = {name: module.training for name, module in network.named_modules()}
    return tensors, modes, {name: p.requires_grad for name, p in network.named_parameters()}


def assert_left_as_it_was(network, before):
    tensors, modes, needed = traces(network)
    assert (modes, needed) == before[1:]
    assert tensors.keys() == before[0].keys()
    assert all(torch.equal(value, before[0][name]) for name, value in tensors.items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(hasattr(parameter, "sample_grad") for parameter in network.parameters())


@calls
def test_the_network_is_left_as_it_was(ours, setting, call):
    before = traces(setting.network)
    call(ours, setting)
    assert_left_as_it_was(setting.network, before)


@calls
def test_the_network_is_left_as_it_was_after_an_error(ours, setting, call):
    def load(network, position):
        if position == 1:
            with torch.no_grad():
                next(network.parameters()).zero_()
            next(network.parameters()).requires_grad_(False)
            raise OSError("disk gone")
        return setting.load(network, position)

    ours = setting.make(type(ours), checkpoints_load_func=load)
    before = traces(setting.network)
    with pytest.raises(OSError, match="disk gone"):
        call(ours, setting)
    assert_left_as_it_was(setting.network, before)
    assert ours.checkpoints_load_func is load


def test_repeating_a_call_repeats_its_scores(ours, setting):
    first = ours.influence(setting.queries)
    torch.rand(3)
    assert torch.equal(first, ours.influence(setting.queries))


def test_no_queries_are_refused_with_captum_s_type(ours):
    with pytest.raises(AssertionError, match=r"required\."):
        ours.influence(None)
    with pytest.raises(InputError, match=r"queries are required.*call self_influence\(\)"):
        ours.influence(None, k=1)


def test_less_than_one_training_sample_is_refused(ours, setting):
    with pytest.raises(InputError, match="k: expected at least 1, or None for all scores, got 0"):
        ours.influence(setting.queries, k=0)


@pytest.mark.parametrize("kind", CLASSES)
def test_no_checkpoints_are_refused_with_captum_s_type(setting, kind, tmp_path):
    for none in (str(tmp_path), tmp_path, [], ()):
        with pytest.raises(ValueError, match="Invalid checkpoints provided for TracIn class: "):
            kind(setting.network, setting.train, none, **setting.options)


def test_a_loader_of_checkpoints_that_returns_no_number_is_refused(ours, setting):
    silent = setting.make(type(ours), checkpoints_load_func=lambda network, position: None)
    with pytest.raises(InputError, match=r"returned None, expected the step size .* of 0"):
        silent.influence(setting.queries)
