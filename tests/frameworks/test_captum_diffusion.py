"""The Captum classes with a diffusion model: the core's scores, in whatever form the data comes."""

import pytest
import torch
from captum.influence import TracInCP
from diffusers import DDPMScheduler
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests import golden
from tests.frameworks.captum_cases import CORES, DRAWS, EXACT, make
from tests.small import small_case
from tests.tiny import tiny_case

both_classes = pytest.mark.parametrize("kind", CORES, ids=lambda c: c.__name__)


@pytest.fixture(scope="module")
def conditional():
    """A small case with classes, and the core's scores of it."""
    case = small_case(classes=4)
    scores = {
        kind: core(case.model, case.checkpoints, batch_size=4, **DRAWS)
        .attribute(case.train, case.queries)
        .values
        for kind, core in CORES.items()
    }
    return case, scores


@pytest.fixture(params=golden.NAMES, scope="module")
def golden_case(request):
    return golden.load(request.param)


def made(kind, case):
    draws = {"train_draws": case.train_draws, "query_draws": case.query_draws}
    return kind(case.model, case.train, case.checkpoints, batch_size=10, **draws)


@both_classes
def test_scores_are_golden(kind, golden_case):
    expected = golden_case.tracin if kind is DiffusionTracInCP else golden_case.retrac
    golden.assert_equal(made(kind, golden_case).influence(golden_case.queries), expected)


def test_the_k_most_influential_are_golden(golden_case):
    top = made(DiffusionReTracCP, golden_case).influence(golden_case.queries, 4, proponents=False)
    values, indices = golden_case.retrac.topk(4, dim=1, largest=False)
    assert torch.equal(top.indices, indices)
    golden.assert_equal(top.influence_scores, values)


def test_self_influence_of_tracin_is_golden(golden_case):
    values = made(DiffusionTracInCP, golden_case).self_influence()
    golden.assert_equal(values, golden_case.tracin_self_influence)


@both_classes
def test_a_raw_unet_with_its_scheduler_scores_as_the_core(kind):
    case = tiny_case()
    network = case.model.network
    ours = make(kind, case, model=network, scheduler=DDPMScheduler())
    core = CORES[kind](case.model, case.checkpoints, **DRAWS)
    scores = ours.influence(case.queries)
    expected = core.attribute(case.train, case.queries).values
    torch.testing.assert_close(scores, expected, **EXACT)
    assert ours.model is network


@both_classes
def test_default_draws_are_the_core_s(kind):
    case = small_case(train=2, queries=1, checkpoints=1)
    ours = kind(case.model, case.train, case.checkpoints, batch_size=64)
    expected = CORES[kind](case.model, case.checkpoints).attribute(case.train, case.queries).values
    torch.testing.assert_close(ours.influence(case.queries), expected, **EXACT)


@both_classes
@pytest.mark.parametrize("batch_size", [1, 100])
def test_batch_size_changes_no_score(kind, batch_size, conditional):
    case, scores = conditional
    ours = make(kind, case, batch_size=batch_size)
    torch.testing.assert_close(ours.influence(case.queries), scores[kind], **EXACT)


def batch_of(examples):
    return torch.utils.data.default_collate(examples)


FORMS = {
    "list": lambda examples: examples,
    "mapping": batch_of,
    "mapping in a tuple": lambda examples: (batch_of(examples),),
    "loader": lambda examples: DataLoader(examples, batch_size=2),
    "loader of drawn batches": lambda examples: DataLoader(
        examples, batch_sampler=[range(2), range(2, len(examples))]
    ),
}


@both_classes
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_examples_may_come_in_any_form(kind, form, conditional):
    case, scores = conditional
    ours = make(kind, case, train=form(case.train))
    torch.testing.assert_close(ours.influence(form(case.queries)), scores[kind], **EXACT)


@pytest.mark.parametrize(
    "form",
    [
        torch.stack,
        lambda images: (torch.stack(images),),
        lambda images: TensorDataset(torch.stack(images)),
        lambda images: {"sample": torch.stack(images)},
    ],
)
def test_images_may_come_in_any_form(form):
    case = small_case(train=3, queries=1, checkpoints=1)
    expected = make(DiffusionReTracCP, case).influence(case.queries)
    ours = make(DiffusionReTracCP, case, train=form(case.train))
    torch.testing.assert_close(ours.influence(form(case.queries)), expected, **EXACT)


def test_a_list_of_one_example_is_no_batch():
    case = small_case(train=3, queries=1, checkpoints=1)
    assert make(DiffusionReTracCP, case).influence(case.queries).shape == (1, 3)


def test_captum_s_own_tracin_agrees_where_the_definitions_do():
    """One timestep and one noise a sample: then its batches can hold the noisy samples."""
    case = small_case(checkpoints=1)
    generator = torch.Generator().manual_seed(1)
    draws, batches = {}, {}
    for side, images in (("train", case.train), ("query", case.queries)):
        clean = torch.stack(images)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        timesteps = torch.randint(100, (len(clean),), generator=generator)
        if side == "query":
            timesteps[:] = 30
        batches[side] = case.model.diffuse(clean, timesteps, noise, {})[:3]
        draws[side] = (
            retrac.Given(timesteps[None], noise[None])
            if side == "train"
            else retrac.Given(timesteps[:1], noise[None, :, None, None])
        )

    def load(network, checkpoint):
        network.load_state_dict(checkpoint.parameters)
        return checkpoint.step_size

    def loss(output, target):
        return (output - target).square().flatten(1).mean(1)

    loss.reduction = "none"
    theirs = TracInCP(
        case.network, TensorDataset(*batches["train"]), case.checkpoints, load, loss_fn=loss
    )
    ours = make(DiffusionTracInCP, case, train_draws=draws["train"], query_draws=draws["query"])
    expected = theirs.influence(tuple(batches["query"]))
    torch.testing.assert_close(ours.influence(case.queries), expected, **EXACT)
    torch.testing.assert_close(ours.self_influence(), theirs.self_influence(), **EXACT)


class TestSelfInfluence:
    def test_of_tracin_is_the_squared_norm_at_the_train_draw(self):
        case = small_case()
        values = make(DiffusionTracInCP, case).self_influence()
        core = retrac.DiffusionTracIn(case.model, case.checkpoints, **DRAWS)
        norms = core.attribute(case.train, case.queries).gradient_norms
        etas = torch.tensor([c.step_size for c in case.checkpoints], dtype=torch.float64)
        torch.testing.assert_close(values, etas @ norms**2, **EXACT)

    def test_of_retrac_tells_samples_apart(self):
        case = small_case()
        ours = make(DiffusionReTracCP, case)
        values = ours.self_influence()
        assert values.std() > 0
        torch.testing.assert_close(values, ours.influence(case.train).diagonal(), **EXACT)


class Shapes(TorchDispatchMode):
    """Notes the shape of every tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        leaves = (leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor))
        self.seen |= {tuple(leaf.shape) for leaf in leaves}
        return out


@both_classes
@pytest.mark.parametrize("aggregate", [True, False])
def test_the_k_most_influential_never_need_the_full_matrix(kind, aggregate):
    case = small_case(train=11, queries=5)
    full = {(5, 11), (11, 5)}
    ours = make(kind, case)
    with Shapes() as all_scores:
        ours.influence(case.queries, aggregate=aggregate)
    with Shapes() as k_most:
        ours.influence(case.queries, k=2, aggregate=aggregate)
    assert full & all_scores.seen  # the notes would show it
    assert not full & k_most.seen
