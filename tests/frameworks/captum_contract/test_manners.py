"""What a call of the Captum classes shows, loads, leaves as it was, and refuses."""

import functools

import pytest
import torch
from captum.influence._core import tracincp
from captum.influence._utils import common

from retrac_plugin.errors import InputError
from tests.frameworks.captum_cases import CORES

CALLS = {
    "influence": lambda ours, of: ours.influence(of.queries),
    "k-most": lambda ours, of: ours.influence(of.queries, k=2),
    "aggregate": lambda ours, of: ours.influence(of.queries, aggregate=True),
    "self-influence": lambda ours, of: ours.self_influence(),
    "by-checkpoints": lambda ours, of: ours.self_influence(outer_loop_by_checkpoints=True),
    "embeddings": lambda ours, of: ours.compute_intermediate_quantities(of.queries, test=True),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


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


@pytest.mark.parametrize("kind", CORES)
def test_no_checkpoints_are_refused_with_captum_s_type(setting, kind, tmp_path):
    for none in (str(tmp_path), tmp_path, [], ()):
        with pytest.raises(ValueError, match="Invalid checkpoints provided for TracIn class: "):
            kind(setting.network, setting.train, none, **setting.options)


def test_a_loader_of_checkpoints_that_returns_no_number_is_refused(ours, setting):
    silent = setting.make(type(ours), checkpoints_load_func=lambda network, position: None)
    with pytest.raises(InputError, match=r"returned None, expected the step size .* of 0"):
        silent.influence(setting.queries)
