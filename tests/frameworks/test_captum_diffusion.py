"""The Captum classes with a diffusion model: the core's scores, in whatever form the data comes."""

import dataclasses

import pytest
import torch
from captum.influence import TracInCP
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.frameworks.captum import DiffusionReTracCP, DiffusionTracInCP
from tests import golden
from tests.small import small_case
from tests.tiny import tiny_case

CORES = {DiffusionTracInCP: retrac.DiffusionTracIn, DiffusionReTracCP: retrac.DiffusionReTrac}
EXACT = {"rtol": 1e-9, "atol": 1e-13}
DRAWS = {"train_draws": retrac.Uniform(1, seed=1), "query_draws": retrac.Strided(2, seed=2)}

both_classes = pytest.mark.parametrize("kind", CORES, ids=lambda c: c.__name__)


def make(kind, case, train=None, **options):
    options = {"batch_size": 4, **DRAWS, **options}
    train = case.train if train is None else train
    return kind(options.pop("model", case.model), train, case.checkpoints, **options)


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


class TestCheckpoints:
    """As Captum's users keep them."""

    @pytest.fixture
    def case(self):
        return small_case(train=3, queries=2)

    @pytest.fixture
    def expected(self, case):
        """Without step sizes, which files do not hold."""
        plain = [dataclasses.replace(c, step_size=1.0, step=None) for c in case.checkpoints]
        core = retrac.DiffusionReTrac(case.model, plain, **DRAWS)
        return core.attribute(case.train, case.queries).values

    @staticmethod
    def scores(case, checkpoints, **options):
        ours = DiffusionReTracCP(
            case.model, case.train, checkpoints, batch_size=4, **DRAWS, **options
        )
        return ours.influence(case.queries)

    @pytest.fixture
    def folder(self, case, tmp_path):
        torch.save(case.checkpoints[0].parameters, tmp_path / "epoch-1.pt")
        save_file(dict(case.checkpoints[1].parameters), tmp_path / "epoch-2.safetensors")
        return tmp_path

    @pytest.mark.parametrize("form", [str, lambda folder: folder, lambda f: sorted(f.iterdir())])
    def test_files_are_read_safely(self, case, expected, folder, form):
        torch.testing.assert_close(self.scores(case, form(folder)), expected, **EXACT)

    def test_a_pickle_is_refused(self, case, folder):
        torch.save(case.network, folder / "epoch-1.pt")
        with pytest.raises(CheckpointError, match="refused to unpickle"):
            self.scores(case, str(folder))

    def test_a_function_of_the_user_s_says_the_step_size(self, case, folder):
        def load(network, path):
            position = int(path.split("epoch-")[1][0]) - 1
            network.load_state_dict(case.checkpoints[position].parameters)
            return torch.tensor(case.checkpoints[position].step_size)

        unnumbered = [dataclasses.replace(c, step=None) for c in case.checkpoints]
        scores = self.scores(case, str(folder), checkpoints_load_func=load)
        expected = self.scores(case, unnumbered)
        torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-9)  # 0.1 as a float32

    def test_lists_keep_their_order(self, case, folder):
        """Captum sorts lists, but a checkpoint's position chooses its draws."""
        names = [str(folder / "epoch-2.safetensors"), str(folder / "epoch-1.pt")]
        flipped = [dataclasses.replace(c, step_size=1.0, step=None) for c in case.checkpoints[::-1]]
        torch.testing.assert_close(self.scores(case, names), self.scores(case, flipped), **EXACT)

    def test_ours_may_stand_beside_theirs(self, case, expected, folder):
        mixed = [str(folder / "epoch-1.pt"), retrac.Checkpoint(case.checkpoints[1].parameters)]
        torch.testing.assert_close(self.scores(case, mixed), expected, **EXACT)

    def test_what_only_captum_s_loader_takes_goes_through_it(self, case, expected, folder):
        mixed = [(folder / "epoch-1.pt").open("rb"), folder / "epoch-2.safetensors"]
        with mixed[0]:
            torch.testing.assert_close(self.scores(case, mixed), expected, **EXACT)


class TestLayers:
    def test_choose_what_is_attributed(self):
        case = small_case()
        ours = make(DiffusionReTracCP, case, layers=["enter", "time"])
        model = case.model.attributing("enter.*", "time.*")
        expected = make(DiffusionReTracCP, case, model=model).influence(case.queries)
        torch.testing.assert_close(ours.influence(case.queries), expected, **EXACT)

    def test_named_twice_count_once(self):
        case = small_case()
        once, twice = (
            make(DiffusionTracInCP, case, layers=layers).influence(case.queries)
            for layers in (["enter"], ["enter", "enter"])
        )
        assert torch.equal(once, twice)

    def test_change_nothing_in_the_network(self):
        case = small_case()
        case.network.enter.requires_grad_(False)
        make(DiffusionTracInCP, case, layers=["leave"]).influence(case.queries)
        needed = {n: p.requires_grad for n, p in case.network.named_parameters()}
        assert needed == {n: not n.startswith("enter") for n in needed}

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            (["middle"], "SmallDenoiser has no module 'middle'. Expected .* such as enter, time"),
            ([""], "has no module ''"),
            ([], "expected a list of module names"),
            (("enter",), "expected a list of module names"),
        ],
    )
    def test_unknown_ones_are_refused(self, layers, message):
        with pytest.raises(InputError, match=message):
            make(DiffusionTracInCP, small_case(), layers=layers)

    def test_with_frozen_parameters_alone_are_refused(self):
        case = small_case()
        case.network.enter.requires_grad_(False)
        with pytest.raises(InputError, match="no parameter to attribute"):
            make(DiffusionTracInCP, case, layers=["enter"])


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


class TestRefused:
    def test_shuffled_loaders(self):
        case = small_case()
        shuffled = DataLoader(case.train, batch_size=2, shuffle=True)
        with pytest.raises(InputError, match="train: the DataLoader shuffles"):
            make(DiffusionReTracCP, case, train=shuffled)
        with pytest.raises(InputError, match="queries: the DataLoader shuffles"):
            make(DiffusionReTracCP, case).influence(shuffled)

    def test_an_empty_training_set(self):
        with pytest.raises(InputError, match="train is empty"):
            make(DiffusionReTracCP, small_case(), train=TensorDataset(torch.zeros(0, 1, 4, 4)))

    def test_batches_without_names(self):
        case = small_case()
        with pytest.raises(InputError, match=r"got a tuple.*names the fields"):
            make(DiffusionReTracCP, case).influence((torch.stack(case.queries), torch.zeros(3)))

    def test_batches_of_unequal_fields(self):
        case = small_case(classes=4)
        batch = {"sample": torch.zeros(3, 1, 4, 4), "class_labels": torch.zeros(2)}
        with pytest.raises(InputError, match=r"inputs: .*as many samples each, got 3, 2 in 'samp"):
            make(DiffusionReTracCP, case).influence(batch)

    @pytest.mark.parametrize("name", ["loss_fn", "test_loss_fn"])
    def test_a_second_loss(self, name):
        with pytest.raises(InputError, match=f"^{name}: a diffusion model has its own loss"):
            make(DiffusionReTracCP, small_case(), **{name: torch.nn.MSELoss()})

    @pytest.mark.parametrize("extra", [{"scheduler": DDPMScheduler()}, {"loss": "l1"}])
    def test_a_second_wrapping(self, extra):
        with pytest.raises(InputError, match=r"pass scheduler and loss to retrac_plugin\.wrap"):
            make(DiffusionReTracCP, small_case(), **extra)

    @pytest.mark.parametrize(
        "ours",
        [
            {"loss": "l1"},
            {"train_draws": retrac.Uniform(1)},
            {"query_draws": retrac.Strided(2)},
            {"device": "cpu"},
        ],
    )
    def test_what_plain_tracin_has_no_use_for(self, ours):
        case = small_case()
        (name,) = ours
        with pytest.raises(InputError, match=f"^{name} needs a diffusion model: pass scheduler="):
            DiffusionReTracCP(case.network, case.train, ["a"], **ours)
        with pytest.raises(InputError, match=r"^a retrac_plugin\.Checkpoint needs a diffusion"):
            DiffusionReTracCP(case.network, case.train, case.checkpoints)
