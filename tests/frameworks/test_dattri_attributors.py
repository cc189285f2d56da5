"""The two attributors as a user of dattri meets them."""

import inspect

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor, DiffusionTracInAttributor
from tests import golden
from tests.frameworks.dattri_tools import DRAWS, EXACT, QUERY_DRAWS, TRAIN_DRAWS, loader, task_of
from tests.small import small_case
from tests.tiny import tiny_case

# Behind ours, which silences what dattri's import warns of.
from dattri.algorithm import TracInAttributor  # isort: skip
from dattri.algorithm.base import BaseAttributor  # isort: skip
from dattri.benchmark.utils import SubsetSampler  # isort: skip

METHODS = {
    DiffusionTracInAttributor: retrac.DiffusionTracIn,
    DiffusionReTracAttributor: retrac.DiffusionReTrac,
}

both = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def by_the_core(method, case, **options):
    attributor = METHODS[method](case.model, case.checkpoints, **{**DRAWS, **options})
    return attributor.attribute(case.train, case.queries).values.T


@pytest.mark.parametrize("name", golden.NAMES)
@pytest.mark.parametrize("cached", [False, True], ids=["streamed", "cached"])
def test_golden_scores(name, cached):
    case = golden.load(name)
    draws = {"train_draws": case.train_draws, "query_draws": case.query_draws}
    train, queries = loader(case.train), loader(case.queries, 2)
    for method, expected in zip(METHODS, (case.tracin, case.retrac), strict=True):
        attributor = method(task_of(case), **draws)
        if cached:
            attributor.cache(train)
        golden.assert_equal(attributor.attribute(train, queries), expected.T)
    itself = DiffusionTracInAttributor(task_of(case), **draws).self_attribute(train)
    golden.assert_equal(itself, case.tracin_self_influence)


@both
@pytest.mark.parametrize("make", [small_case, tiny_case])
def test_scores_are_those_of_the_core_transposed(method, make):
    case = make()
    scores = method(task_of(case), **DRAWS).attribute(loader(case.train), loader(case.queries))
    assert scores.shape == (len(case.train), len(case.queries))
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)


@both
@pytest.mark.parametrize("sizes", [(1, 3), (7, 1), (100, 100)])
def test_no_batch_size_changes_a_score(method, sizes):
    case = small_case()
    attributor = method(task_of(case), **DRAWS, batch_size=sum(sizes))
    scores = attributor.attribute(loader(case.train, sizes[0]), loader(case.queries, sizes[1]))
    torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)


@both
def test_conditional_examples(method):
    case = small_case(classes=4)
    scores = method(task_of(case), **DRAWS).attribute(loader(case.train), loader(case.queries))
    torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)


@both
def test_loaders_of_tuples_of_one(method):
    case = small_case()
    train, queries = (TensorDataset(torch.stack(x)) for x in (case.train, case.queries))
    scores = method(task_of(case), **DRAWS).attribute(loader(train), loader(queries))
    torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)


@both
def test_lists_and_datasets_do_as_well(method):
    case = small_case()
    attributor = method(task_of(case), **DRAWS)
    scores = attributor.attribute(case.train, TensorDataset(torch.stack(case.queries)))
    torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)


@both
@pytest.mark.parametrize("draws", ["content", "index"])
def test_a_sampler_of_a_subset_chooses_rows(method, draws):
    """Recorded and given draws belong to a sample's index in the data set, not in the loader."""
    case, rows = small_case(), [4, 1, 6]
    options = dict(DRAWS)
    if draws == "index":
        noise = torch.randn(2, 7, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        options["train_draws"] = retrac.Given(torch.arange(14).view(2, 7), noise)
    attributor = method(task_of(case), **options)
    whole = attributor.attribute(loader(case.train), loader(case.queries))
    train = loader(case.train, 2, sampler=SubsetSampler(rows))
    queries = loader(case.queries, 2, sampler=SubsetSampler([2, 0]))
    scores = attributor.attribute(train, queries)
    torch.testing.assert_close(scores, whole[rows][:, [2, 0]], **EXACT)


@both
def test_a_subset_has_the_scores_of_its_samples(method):
    case, rows = small_case(), [4, 1, 6]
    attributor = method(task_of(case), **DRAWS)
    scores = attributor.attribute(loader(Subset(case.train, rows)), loader(case.queries))
    torch.testing.assert_close(scores, by_the_core(method, case)[rows], **EXACT)


@both
def test_loaders_for_their_methods_serve_ours(method):
    """The draws of the data are then the attributor's."""
    case = small_case(classes=3)
    task = task_of(case, conditions=["class_labels"])
    train = loader(task.drawn(case.train, TRAIN_DRAWS, "train"))
    queries = loader(task.drawn(case.queries, QUERY_DRAWS, "query"))
    for given in ({}, DRAWS):
        scores = method(task, **given).attribute(train, queries)
        torch.testing.assert_close(scores, by_the_core(method, case), **EXACT)
    rows = loader(train.dataset, 2, sampler=SubsetSampler([5, 0]))
    part = method(task).attribute(rows, queries.dataset)
    torch.testing.assert_close(part, by_the_core(method, case)[[5, 0]], **EXACT)


@both
def test_weights_take_the_place_of_step_sizes(method):
    case = small_case()
    weighted = method(task_of(case), torch.tensor([2.0, -1.0]), **DRAWS)
    parts = [
        method(task_of(case), weights, **DRAWS).attribute(case.train, case.queries)
        for weights in ([1, 0], [0, 1])
    ]
    scores = weighted.attribute(case.train, case.queries)
    torch.testing.assert_close(scores, 2 * parts[0] - parts[1], **EXACT)


@both
@pytest.mark.parametrize("names", ["leave.weight", ["leave.weight", "time.bias"], ["enter.*"]])
def test_layers_are_chosen_by_their_parameters_names(method, names):
    case = small_case()
    scores = method(task_of(case), layer_name=names, **DRAWS).attribute(case.train, case.queries)
    chosen = case.model.attributing(*([names] if isinstance(names, str) else names))
    core = METHODS[method](chosen, case.checkpoints, **DRAWS)
    expected = core.attribute(case.train, case.queries).values.T
    torch.testing.assert_close(scores, expected, **EXACT)


@both
def test_self_attribution_at_other_draws_is_the_diagonal(method):
    case = small_case()
    attributor = method(task_of(case), **DRAWS)
    diagonal = attributor.attribute(case.train, case.train).diagonal()
    values = attributor.self_attribute(loader(case.train), query_draws=QUERY_DRAWS)
    torch.testing.assert_close(values, diagonal, **EXACT)


def test_the_users_network_keeps_weights_gradients_and_mode():
    case = small_case()
    case.network.train()
    case.network.enter.bias.grad = torch.ones(4, dtype=torch.float64)
    before = {name: value.clone() for name, value in case.network.state_dict().items()}
    task = task_of(case)
    task.get_param(1)  # dattri loads in place
    DiffusionReTracAttributor(task, **DRAWS).attribute(case.train, case.queries)
    assert all(torch.equal(v, before[n]) for n, v in case.network.state_dict().items())
    assert torch.equal(case.network.enter.bias.grad, torch.ones(4, dtype=torch.float64))
    assert case.network.training
    assert case.network.leave.training


def test_the_arguments_are_those_of_dattris_tracin_in_its_order():
    projector = {"projector_kwargs", "proj_params"}  # the earlier and the later layout
    theirs = list(inspect.signature(TracInAttributor).parameters)
    ours = list(inspect.signature(DiffusionReTracAttributor).parameters)
    for own, name in zip(ours, theirs, strict=False):
        assert own == name or {own, name} == projector
    assert projector <= set(ours)
    assert "normalized_grad" in ours
    assert issubclass(DiffusionReTracAttributor, BaseAttributor)


@both
def test_single_precision_stays_single(method):
    case = small_case(dtype=torch.float32)
    scores = method(task_of(case), **DRAWS).attribute(case.train, case.queries)
    assert scores.dtype == torch.float32
    assert scores.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@both
def test_a_gpu_gives_the_scores_of_the_cpu(method):
    case = small_case()
    attributor = method(task_of(case), device="cuda", **DRAWS)
    scores = attributor.attribute(case.train, case.queries)
    assert scores.device.type == "cuda"
    torch.testing.assert_close(scores.cpu(), by_the_core(method, case), **EXACT)
