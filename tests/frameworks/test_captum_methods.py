"""Captum's own methods on a diffusion model, each against an explicit computation of what it is."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.draws import Request
from retrac_plugin.errors import GradientError, InputError
from retrac_plugin.frameworks import captum_methods
from retrac_plugin.frameworks.captum.methods import RECIPES, method
from retrac_plugin.randomness import content_key
from tests.frameworks.hessian_textbook import Textbook
from tests.small import small_case
from tests.tiny import tiny_case

TRAIN_DRAWS = retrac.Uniform(1, seed=1)
QUERY_DRAWS = retrac.Strided(3, noise_draws=2, seed=2)
DRAWS = {"train_draws": TRAIN_DRAWS, "query_draws": QUERY_DRAWS, "progress": False}
EXACT = {"rtol": 1e-10, "atol": 1e-14}
QUICK = {
    "captum-arnoldi-if": {"arnoldi_dim": 6, "projection_dim": 3, "arnoldi_tol": 1e-6},
    "captum-similarity": {"layers": ["enter", "leave"]},
}
"""Settings with which a method works on the small denoiser, and costs little."""

every = pytest.mark.parametrize("name", RECIPES)


def scores(name, case, **options):
    settings = {**DRAWS, **options}
    attributor = method(name)(case.model, case.checkpoints, **settings)
    return attributor.attribute(case.train, case.queries).values


def quick(name, case, **options):
    return scores(name, case, **{**QUICK.get(name, {}), **options})


def single(case):
    return dataclasses.replace(case, checkpoints=case.checkpoints[-1:])


def the_book(case):
    return Textbook(case, TRAIN_DRAWS, QUERY_DRAWS)


def gradients(book, k, parameter):
    """``[query, p], [train, p]`` of one parameter alone."""
    names = [name for name, _ in book.network.named_parameters()]
    sizes = [p.numel() for p in book.network.parameters()]
    sides = (book.gradients(side, k).split(sizes, 1) for side in (book.queries, book.train))
    return tuple(dict(zip(names, parts, strict=True))[parameter] for parts in sides)


class TestDefinitions:
    def test_tracin(self):
        case, expected = small_case(), 0
        book = the_book(case)
        for k, checkpoint in enumerate(case.checkpoints):
            train, queries = book.gradients(book.train, k), book.gradients(book.queries, k)
            expected = expected + checkpoint.step_size * queries @ train.T
        torch.testing.assert_close(scores("captum-tracin", small_case()), expected, **EXACT)

    @pytest.mark.parametrize("name", ["captum-tracin-fast", "captum-tracin-rand-proj"])
    def test_fast_classes_see_the_last_layers_weight(self, name):
        case, expected = small_case(), 0
        book = the_book(case)
        for k, checkpoint in enumerate(case.checkpoints):
            queries, train = gradients(book, k, "leave.weight")
            expected = expected + checkpoint.step_size * queries @ train.T
        torch.testing.assert_close(scores(name, small_case()), expected, **EXACT)

    def test_a_random_projection(self):
        """A random matrix on each side of the weight's gradient, the same at every checkpoint."""
        book, expected = the_book(small_case()), 0
        with torch.random.fork_rng():
            torch.manual_seed(5)
            next(iter(DataLoader([0])))  # which Captum does first, and draws a number
            left = torch.normal(torch.zeros(1, 1, dtype=torch.float64), 1.0)
            right = torch.normal(torch.zeros(36, 4, dtype=torch.float64), 0.5)
        for k, checkpoint in enumerate(small_case().checkpoints):
            queries, train = (
                (left.T @ part.view(-1, 1, 36) @ right).flatten(1)
                for part in gradients(book, k, "leave.weight")
            )
            expected = expected + checkpoint.step_size * queries @ train.T
        ours = scores("captum-tracin-rand-proj", small_case(), projection_dim=16, seed=5)
        torch.testing.assert_close(ours, expected, **EXACT)

    def test_a_linear_layer_on_vectors(self):
        """Where Captum's fast class is right by itself."""
        case = vector_case()
        exact = retrac.DiffusionTracIn(
            case.model.attributing("2.weight"), case.checkpoints, **DRAWS
        ).attribute(case.train, case.queries)
        torch.testing.assert_close(scores("captum-tracin-fast", case), exact.values, **EXACT)

    def test_naive_influence_functions(self):
        """The Hessian of the sum of losses, where it curves upwards by more than the tolerance."""
        case = small_case()
        case.model = case.model.attributing("leave.*")
        book = the_book(small_case())
        rows = slice(-37, None)
        found = [book.gradients(side, 1)[:, rows] for side in (book.queries, book.train)]
        hessian = len(case.train) * book.hessian(1)[rows, rows]
        values, vectors = torch.linalg.eigh(hessian + 1e-6 * torch.eye(37, dtype=torch.float64))
        kept = values > 1e-3
        inverse = vectors[:, kept] / values[kept] @ vectors[:, kept].T
        ours = scores("captum-naive-if", small_case(), hessian_inverse_tol=1e-3)
        torch.testing.assert_close(ours, found[0] @ inverse @ found[1].T, rtol=1e-7, atol=1e-10)

    def test_arnoldi_with_the_top_eigenvector(self):
        book = the_book(small_case())
        values, vectors = torch.linalg.eigh(len(small_case().train) * book.hessian(1))
        queries, train = (
            book.gradients(side, 1) @ vectors[:, -1] for side in (book.queries, book.train)
        )
        settings = {"projection_dim": 1, "arnoldi_dim": 40, "arnoldi_tol": 1e-6}
        ours = scores("captum-arnoldi-if", small_case(), hessian_reg=0.5, **settings)
        torch.testing.assert_close(
            ours, torch.outer(queries, train) / (values[-1] + 0.5), rtol=1e-6, atol=1e-9
        )

    def test_similarity(self):
        case = small_case()
        case.network.load_state_dict(case.checkpoints[-1].parameters)
        train, queries = (
            [[activations(case, side, i, x, d) for d in range(6)] for i, x in enumerate(data)]
            for side, data in (("train", case.train), ("query", case.queries))
        )
        expected = torch.zeros(3, 7, dtype=torch.float64)
        for q, own in enumerate(queries):
            for i, others in enumerate(train):
                cosines = [
                    torch.dot(a, b) / (a.norm() * b.norm())
                    for mine, theirs in zip(own, others, strict=True)
                    for a, b in zip(mine, theirs, strict=True)
                ]
                expected[q, i] = torch.stack(cosines).mean()
        ours = scores("captum-similarity", small_case(), layers=["enter", "leave"])
        torch.testing.assert_close(ours, expected, **EXACT)


def activations(case, side, i, x, draw):
    """What two layers return for one sample at one of its draws."""
    step = case.checkpoints[-1].step
    request = Request([i], [content_key(x)], x.shape, side, 0, 1, step, 100)
    timesteps, noise, _ = QUERY_DRAWS.draw(request)
    t, eps = timesteps[0, draw // 2], noise[0, draw // 2, draw % 2].double()
    bar = case.schedule.alphas_cumprod[t].double()
    noisy = (bar.sqrt() * x + (1 - bar).sqrt() * eps)[None]
    entered = case.network.enter(noisy)
    left = case.network(noisy, t[None])
    return entered.flatten().detach(), left.flatten().detach()


class VectorDenoiser(nn.Sequential):
    """A denoiser of points, which ends in a linear layer."""

    def forward(self, noisy, timesteps):
        shifted = torch.cat([noisy, timesteps[:, None].to(noisy) / 100], dim=1)
        return super().forward(shifted)


def vector_case():
    generator = torch.Generator().manual_seed(0)
    case = small_case()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = VectorDenoiser(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double().eval()
    points = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    checkpoints = [retrac.Checkpoint(network.state_dict(), 0.3, 10)]
    case = dataclasses.replace(case, network=network, checkpoints=checkpoints)
    return dataclasses.replace(case, train=list(points[:6]), queries=list(points[6:]))


class TestEveryMethod:
    @every
    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_batch_size_changes_no_score(self, name, batch_size):
        ours = quick(name, small_case(), batch_size=batch_size)
        torch.testing.assert_close(ours, quick(name, small_case()), rtol=1e-8, atol=1e-12)

    @every
    def test_repeating_a_call_repeats_its_scores_and_touches_nothing_global(self, name):
        case, state = small_case(), torch.get_rng_state()
        weights = {n: v.clone() for n, v in case.network.state_dict().items()}
        assert torch.equal(quick(name, case), quick(name, case))
        assert torch.equal(state, torch.get_rng_state())
        assert torch.get_default_dtype() == torch.float32
        assert all(torch.equal(v, weights[n]) for n, v in case.network.state_dict().items())

    @every
    def test_loaders_of_a_subset_and_conditions(self, name):
        """Draws belong to a sample's index in the data set, and the last checkpoint's to it."""
        case, rows = small_case(classes=3), [5, 0, 2]
        noise = torch.randn(2, 7, 1, 4, 4, generator=torch.Generator().manual_seed(3))
        steps = torch.arange(14).view(2, 7) * 7
        settings = {**QUICK.get(name, {}), "query_draws": QUERY_DRAWS, "progress": False}
        whole, part = (
            method(name)(
                case.model,
                case.checkpoints,
                train_draws=retrac.Given(steps[:, own], noise[:, own]),
                **settings,
            )
            for own in (list(range(7)), rows)
        )
        loader = DataLoader(case.train, batch_size=2, sampler=SubsetSampler(rows))
        torch.testing.assert_close(
            whole.attribute(loader, DataLoader(case.queries)).values,
            part.attribute([case.train[i] for i in rows], case.queries).values,
            rtol=1e-8,
            atol=1e-10,
        )

    @every
    def test_only_attributed_parameters_take_part(self, name):
        case = small_case()
        case.model = case.model.attributing("leave.*")
        for parameter in case.network.enter.parameters():
            parameter.requires_grad_(False)
        assert quick(name, case).std(1).min() > 0

    @every
    def test_runs_on_a_unet_with_attention(self, name):
        case = single(tiny_case())
        settings = {**QUICK.get(name, {}), "query_draws": retrac.Strided(2)}
        settings.pop("layers", None)
        values = scores(name, case, **settings)
        assert values.shape == (3, 7)
        assert values.isfinite().all()
        assert (values.std(1) > 0).all()

    @every
    def test_another_setting_than_it_has(self, name):
        with pytest.raises(InputError, match=f"{name}: unknown temperature, its settings are: "):
            scores(name, small_case(), temperature=1.0)

    @every
    def test_scaled_steps_are_refused(self, name):
        case = small_case()
        scaled = dataclasses.replace(case.checkpoints[1], preconditioner=dict)
        case.checkpoints[1] = scaled
        with pytest.raises(InputError, match=f"{name}: checkpoint 1 has a preconditioner"):
            quick(name, case)

    @every
    @pytest.mark.skipif("TQDM_DISABLE" in os.environ, reason="tqdm is silenced by TQDM_DISABLE")
    @pytest.mark.parametrize("progress", [True, False])
    def test_progress_is_shown_on_request(self, name, progress, capfd):
        quick(name, small_case(), progress=progress)
        captured = capfd.readouterr()
        assert bool(captured.out + captured.err) is progress


class SubsetSampler:
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)


class TestRefusals:
    def test_a_hessian_that_is_too_large(self):
        case = tiny_case()
        with pytest.raises(InputError, match=r"the Hessian of mid_block, .* has .* rows"):
            scores("captum-naive-if", case, layers=["mid_block", "up_blocks"])

    def test_a_hessian_that_curves_upwards_nowhere(self):
        with pytest.raises(
            GradientError, match=r"NaiveInfluenceFunction with the settings .*no pos"
        ):
            scores("captum-naive-if", small_case(), hessian_inverse_tol=1e9)

    def test_a_network_that_changes_what_its_last_layer_returns(self):
        case = small_case()
        case.network.leave.register_forward_hook(lambda layer, inputs, output: 2 * output)
        with pytest.raises(InputError, match="SmallDenoiser does not"):
            scores("captum-tracin-fast", case)

    def test_a_convolution_that_is_no_linear_layer_on_patches_of_zeros(self):
        case = small_case()
        case.network.leave.padding_mode = "circular"
        with pytest.raises(InputError, match="padded by zeros"):
            scores("captum-tracin-fast", case)

    def test_a_last_layer_that_is_frozen(self):
        case = small_case()
        case.network.leave.requires_grad_(False)
        with pytest.raises(InputError, match="that of SmallDenoiser is frozen"):
            scores("captum-tracin-rand-proj", case)

    def test_a_layer_that_is_not_there(self):
        with pytest.raises(
            InputError, match=r"SmallDenoiser has no module 'mid_block'.*such as en"
        ):
            scores("captum-similarity", small_case())


def test_every_method_is_registered():
    entries = list(captum_methods.retrac_register_attributors())
    assert {entry.name for entry in entries} == set(RECIPES)
    assert all(entry.needs == ("captum",) and entry.source for entry in entries)
    assert all(isinstance(entry.load(), type) for entry in entries)


def test_registering_them_imports_nothing_heavy():
    statement = (
        "import sys; from retrac_plugin.frameworks import captum_methods as m;"
        "list(m.retrac_register_attributors());"
        "assert not {'torch', 'captum'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", statement], check=True)
