"""dattri's own methods on a diffusion model, each against an explicit computation of what it is."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.errors import GradientError, InputError, RetracError
from retrac_plugin.frameworks import dattri_methods
from retrac_plugin.frameworks.dattri.methods import RECIPES, REFUSALS, method
from tests.frameworks.dattri_tools import DRAWS, EXACT, QUERY_DRAWS, TRAIN_DRAWS, task_of
from tests.frameworks.hessian_textbook import Textbook
from tests.small import small_case
from tests.tiny import tiny_case

# Behind ours, which silences what dattri's import warns of.
from dattri.algorithm import IFAttributorEKFAC, tracin, trak  # isort: skip
from dattri.benchmark.utils import SubsetSampler  # isort: skip

QUICK = {
    "dattri-if-cg": {"max_iter": 3, "regularization": 2.0},
    "dattri-if-lissa": {"recursion_depth": 3},
    "dattri-if-arnoldi": {"max_iter": 6},
    "dattri-trak": {"proj_dim": 64},
    "dattri-dtrak": {"proj_dim": 64},
    "dattri-logra": {"proj_dim": 16},
    "dattri-factgrass": {"proj_dim": 16},
}
"""Settings with which a method costs little, where the claim does not depend on them."""

every = pytest.mark.parametrize("name", RECIPES)


def scores(name, case, **options):
    settings = {**DRAWS, **options}
    return method(name)(case.model, case.checkpoints, **settings).attribute(
        case.train, case.queries
    )


def quick(name, case, **options):
    return scores(name, case, **{**QUICK.get(name, {}), **options}).values


def the_book(case, output=None):
    return Textbook(case, TRAIN_DRAWS, QUERY_DRAWS, output)


class TestDefinitions:
    @pytest.mark.parametrize(
        ("name", "weights", "normalised"),
        [
            ("dattri-tracin", (0.1, 0.2), False),
            ("dattri-grad-dot", (1, 1), False),
            ("dattri-grad-cos", (1, 1), True),
        ],
    )
    def test_first_order(self, name, weights, normalised):
        case = small_case()
        book, expected = the_book(case), 0
        for k, weight in enumerate(weights):
            train, queries = book.gradients(book.train, k), book.gradients(book.queries, k)
            if normalised:
                train, queries = (nn.functional.normalize(g) for g in (train, queries))
            expected = expected + weight * queries @ train.T
        torch.testing.assert_close(scores(name, small_case()).values, expected, **EXACT)

    @pytest.mark.parametrize("name", ["dattri-trak", "dattri-dtrak"])
    def test_trak(self, name):
        case = small_case()
        book = the_book(case, mean_square(case) if name == "dattri-dtrak" else None)
        train = [book.gradients(book.train, k) for k in range(2)]
        damping = 0.1 * torch.stack(train).square().sum(-1).mean() * len(case.train) / 85**2
        expected = 0
        for k in range(2):
            phi, phi_q = train[k] / 85**0.5, book.gradients(book.queries, k) / 85**0.5
            kernel = phi.T @ phi + damping * torch.eye(85, dtype=torch.float64)
            expected = expected + phi_q @ torch.linalg.solve(kernel, phi.T) / 2
        ours = scores(name, small_case(), proj_type="identity").values
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)

    def test_trak_projected_comes_near_trak(self):
        case = small_case(train=30)
        exact = scores("dattri-trak", case, proj_type="identity", relative_damping=100.0)
        settings = {"proj_dim": 1000, "relative_damping": 100.0 * 1000 / 85}  # the same damping
        projected = scores("dattri-trak", case, **settings).values
        assert (projected - exact.values).norm() < 0.2 * exact.values.norm()

    def test_conjugate_gradients(self):
        ours = scores("dattri-if-cg", small_case(), max_iter=60, regularization=2.0).values
        expected = the_book(small_case()).influence(2.0)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)

    def test_lissa(self):
        """Its fixed point is damped by ``damping * scaling``."""
        settings = {"batch_size": 7, "recursion_depth": 80, "damping": 0.3, "scaling": 12.0}
        ours = scores("dattri-if-lissa", single(small_case()), **settings).values
        expected = the_book(single(small_case())).influence(3.6)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)

    def test_arnoldi_with_the_top_eigenvector(self):
        case, book, expected = small_case(), the_book(small_case()), 0
        for k in range(2):
            eigenvalues, eigenvectors = torch.linalg.eigh(book.hessian(k))
            train, queries = (book.gradients(side, k) for side in (book.train, book.queries))
            top = eigenvectors[:, -1]
            expected = (
                expected + torch.outer(queries @ top, train @ top) / (eigenvalues[-1] + 0.5) / 2
            )
        ours = scores("dattri-if-arnoldi", case, proj_dim=1, max_iter=20).values
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)

    def test_arnoldi_leaves_out_where_the_hessian_does_not_curve_upwards(self):
        """All its Ritz values are asked for, the negative and the spurious ones among them."""
        ours = scores("dattri-if-arnoldi", small_case(), proj_dim=85, max_iter=86).values
        assert ours.abs().max() < 10 * the_book(small_case()).influence(2.0).abs().max()

    def test_datainf(self):
        """Per layer: the mean over samples of the inverses of single samples' Fisher matrices."""
        case, book, expected = small_case(), the_book(small_case()), 0
        layers = {}
        for name, parameter in case.network.named_parameters():
            layer = name.rpartition(".")[0]
            layers[layer] = layers.get(layer, 0) + parameter.numel()
        train = [book.gradients(book.train, k) for k in range(2)]
        damping = 0.1 * torch.stack(train).square().mean()
        for k in range(2):
            queries = book.gradients(book.queries, k)
            sizes = list(layers.values())
            for g, h in zip(train[k].split(sizes, 1), queries.split(sizes, 1), strict=True):
                inverse = torch.stack(
                    [
                        torch.linalg.inv(
                            torch.outer(one, one) + damping * torch.eye(len(one), dtype=g.dtype)
                        )
                        for one in g
                    ]
                ).mean(0)
                expected = expected + h @ inverse @ g.T / 2
        ours = scores("dattri-datainf", small_case()).values
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)

    def test_ekfac(self):
        ours = scores("dattri-ekfac", small_case()).values
        torch.testing.assert_close(ours, ekfac_by_the_book(small_case()), rtol=1e-8, atol=1e-10)

    def test_ekfac_as_dattri_has_it_is_not_ekfac(self):
        """When this fails, dattri has been mended, and our version can go."""
        case = small_case()
        task = task_of(single(case))
        attributor = IFAttributorEKFAC(task, damping=0.01)
        train = DataLoader(task.drawn(case.train, TRAIN_DRAWS, "train"), batch_size=7)
        queries = DataLoader(task.drawn(case.queries, TRAIN_DRAWS, "query"), batch_size=3)
        attributor.cache(train)
        theirs = attributor.attribute(train, queries).T.detach()
        ours = scores("dattri-ekfac", single(case), query_draws=TRAIN_DRAWS).values
        assert (theirs / theirs.norm() - ours / ours.norm()).norm() > 0.1

    @pytest.mark.parametrize("name", ["dattri-logra", "dattri-factgrass"])
    def test_linear_layers_projected(self, name):
        """Without a Hessian, near the inner products of the linear layers' gradients."""
        case = small_case(train=20, queries=5)
        exact = retrac.DiffusionTracIn(
            case.model.attributing("time.*"), case.checkpoints[-1:], **DRAWS
        ).attribute(case.train, case.queries)
        ours = scores(name, case, hessian="Identity", proj_dim=4096).values.double()
        pair = torch.stack([ours.flatten(), exact.values.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.9


def mean_square(case):
    def output_of(example, t, eps):
        alpha = case.schedule.alphas_cumprod[t].double()
        noisy = alpha.sqrt() * example["sample"] + (1 - alpha).sqrt() * eps
        return case.network(noisy[None], torch.tensor([t])).square().mean()

    return output_of


def single(case):
    return dataclasses.replace(case, checkpoints=case.checkpoints[-1:])


def ekfac_by_the_book(case):
    """Kronecker factors' eigenbasis, and in it the mean squares of the gradients' coordinates."""
    book = the_book(case)
    k = len(book.states) - 1
    names = [name for name, _ in case.network.named_parameters()]
    sizes = [p.numel() for p in case.network.parameters()]
    matrices = []
    for gradients in (book.gradients(book.train, k), book.gradients(book.queries, k)):
        parts = dict(zip(names, gradients.split(sizes, 1), strict=True))
        matrices.append(torch.stack([parts["time.weight"], parts["time.bias"]], dim=-1))
    train, queries = matrices  # [sample, out, in + 1]
    steps = torch.tensor([draws[0][1] for draws in book.train[k]], dtype=torch.float64)
    inputs = torch.stack([steps / 100, torch.ones_like(steps)], dim=-1)
    outputs = train[..., 1]  # the gradient of a bias is that of the layer's output
    _, u_a = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
    _, u_s = torch.linalg.eigh(outputs.T @ outputs / len(outputs))
    eigenvalues = (u_s.T @ train @ u_a).square().mean(0)
    damped = eigenvalues + 0.1 * eigenvalues.mean()
    return torch.einsum("qab,iab->qi", u_s.T @ queries @ u_a / damped, u_s.T @ train @ u_a)


class TestEveryMethod:
    @every
    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_batch_size_changes_no_score(self, name, batch_size):
        expected = quick(name, small_case())
        tolerance = {"rtol": 2e-3, "atol": 1e-4} if "float32" in str(expected.dtype) else EXACT
        ours = quick(name, small_case(), batch_size=batch_size)
        torch.testing.assert_close(ours, expected, **tolerance)

    @every
    def test_repeating_a_call_repeats_its_scores_and_touches_nothing_global(self, name):
        case, state = small_case(), torch.get_rng_state()
        settings = [dict(vars(m).get("DEFAULT_PROJECTOR_KWARGS", {})) for m in (tracin, trak)]
        weights = {n: v.clone() for n, v in case.network.state_dict().items()}
        first = quick(name, case)
        assert torch.equal(first, quick(name, case))
        assert torch.equal(state, torch.get_rng_state())
        assert torch.get_default_dtype() == torch.float32
        assert settings == [vars(m).get("DEFAULT_PROJECTOR_KWARGS", {}) for m in (tracin, trak)]
        assert all(torch.equal(v, weights[n]) for n, v in case.network.state_dict().items())

    @every
    def test_loaders_of_a_subset_and_conditions(self, name):
        """Draws belong to a sample's index in the data set, and the last checkpoint's to it."""
        case = small_case(classes=3)
        noise = torch.randn(2, 7, 1, 4, 4, generator=torch.Generator().manual_seed(3))
        draws = retrac.Given(torch.arange(14).view(2, 7) * 7, noise)
        rows = [5, 0, 2]
        settings = {**QUICK.get(name, {}), "query_draws": QUERY_DRAWS}
        train = DataLoader(case.train, batch_size=2, sampler=SubsetSampler(rows))
        whole = method(name)(case.model, case.checkpoints, train_draws=draws, **settings)
        chosen = retrac.Given(draws.timesteps[:, rows], noise[:, rows])
        part = method(name)(case.model, case.checkpoints, train_draws=chosen, **settings)
        torch.testing.assert_close(
            whole.attribute(train, DataLoader(case.queries)).values,
            part.attribute([case.train[i] for i in rows], case.queries).values,
            rtol=1e-6,
            atol=1e-8,
        )

    @every
    def test_runs_on_a_unet(self, name):
        case = single(tiny_case())
        values = quick(name, case, query_draws=retrac.Strided(2))
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
        case.checkpoints[1] = dataclasses.replace(case.checkpoints[1], preconditioner=dict)
        with pytest.raises(InputError, match=f"{name}: checkpoint 1 has a preconditioner"):
            quick(name, case)

    @every
    def test_no_bar_is_shown_where_none_is_wanted(self, name, capfd):
        quick(name, small_case(), progress=False)
        captured = capfd.readouterr()
        assert not captured.out + captured.err


def test_bars_are_shown_on_request_and_dattri_has_its_own_back(capfd):
    theirs = tracin.tqdm
    scores("dattri-tracin", small_case(), progress=True)
    assert "training set" in capfd.readouterr().err
    assert tracin.tqdm is theirs


def test_only_attributed_parameters_take_part():
    case = small_case()
    case.model = case.model.attributing("time.*", "leave.bias")
    expected = retrac.DiffusionTracIn(case.model, case.checkpoints, **DRAWS)
    torch.testing.assert_close(
        scores("dattri-tracin", case).values,
        expected.attribute(case.train, case.queries).values,
        **EXACT,
    )
    for name in ("dattri-logra", "dattri-ekfac"):
        none = dataclasses.replace(case)
        none.model = case.model.attributing("enter.*")
        with pytest.raises(InputError, match="sees linear layers"):
            quick(name, none)


def test_a_recursion_that_diverges_is_no_score():
    with pytest.raises(GradientError, match=r"of 21 scores are not finite .*'scaling': 1e-06"):
        scores("dattri-if-lissa", small_case(), recursion_depth=60, scaling=1e-6)


@pytest.mark.parametrize("name", ["dattri-logra", "dattri-ekfac"])
def test_a_network_without_linear_layers(name):
    class Convolution(nn.Conv2d):
        def forward(self, noisy, timesteps):
            return super().forward(noisy)

    network = Convolution(1, 1, 3, padding=1)
    case = small_case()
    model = retrac.wrap(network, case.schedule)
    checkpoints = [retrac.Checkpoint(network.state_dict())]
    attributor = method(name)(model, checkpoints, **DRAWS)
    with pytest.raises(InputError, match=r"sees linear layers .*Convolution has none"):
        attributor.attribute([x.float() for x in case.train], [x.float() for x in case.queries])


@pytest.mark.parametrize("name", REFUSALS)
def test_what_has_no_meaning_is_refused(name):
    with pytest.raises(RetracError, match=f"{name} cannot score a diffusion model: "):
        method(name)(small_case().model, small_case().checkpoints, train_draws=TRAIN_DRAWS)


def test_every_method_is_registered():
    entries = list(dattri_methods.retrac_register_attributors())
    assert {entry.name for entry in entries} == set(RECIPES) | set(REFUSALS)
    assert all(entry.needs == ("dattri",) and entry.source for entry in entries)
    assert all(isinstance(entry.load(), type) for entry in entries)


def test_registering_them_imports_nothing_heavy():
    statement = (
        "import sys; from retrac_plugin.frameworks import dattri_methods as m;"
        "list(m.retrac_register_attributors());"
        "assert not {'torch', 'dattri'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", statement], check=True)
