"""dattri's own methods on a diffusion model, each against an explicit computation of what it is."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from tests.frameworks.dattri_tools import EXACT, task_of
from tests.frameworks.hessian_textbook import Textbook
from tests.frameworks.method_table import DRAWS, QUERY_DRAWS, TRAIN_DRAWS, scores
from tests.small import small_case

# Behind ours, which silences what dattri's import warns of.
from dattri.algorithm import IFAttributorEKFAC  # isort: skip


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
        torch.testing.assert_close(scores(name, small_case()), expected, **EXACT)

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
        ours = scores(name, small_case(), proj_type="identity")
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-12)

    def test_trak_projected_comes_near_trak(self):
        case = small_case(train=30)
        exact = scores("dattri-trak", case, proj_type="identity", relative_damping=100.0)
        settings = {"proj_dim": 1000, "relative_damping": 100.0 * 1000 / 85}  # the same damping
        projected = scores("dattri-trak", case, **settings)
        assert (projected - exact).norm() < 0.2 * exact.norm()

    def test_conjugate_gradients(self):
        ours = scores("dattri-if-cg", small_case(), max_iter=60, regularization=2.0)
        expected = the_book(small_case()).influence(2.0)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)

    def test_lissa(self):
        """Its fixed point is damped by ``damping * scaling``."""
        settings = {"batch_size": 7, "recursion_depth": 80, "damping": 0.3, "scaling": 12.0}
        ours = scores("dattri-if-lissa", single(small_case()), **settings)
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
        ours = scores("dattri-if-arnoldi", case, proj_dim=1, max_iter=20)
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)

    def test_arnoldi_leaves_out_where_the_hessian_does_not_curve_upwards(self):
        """All its Ritz values are asked for, the negative and the spurious ones among them."""
        ours = scores("dattri-if-arnoldi", small_case(), proj_dim=85, max_iter=86)
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
        ours = scores("dattri-datainf", small_case())
        torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-10)

    def test_ekfac(self):
        ours = scores("dattri-ekfac", small_case())
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
        ours = scores("dattri-ekfac", single(case), query_draws=TRAIN_DRAWS)
        assert (theirs / theirs.norm() - ours / ours.norm()).norm() > 0.1

    @pytest.mark.parametrize("name", ["dattri-logra", "dattri-factgrass"])
    def test_linear_layers_projected(self, name):
        """Without a Hessian, near the inner products of the linear layers' gradients."""
        case = small_case(train=20, queries=5)
        exact = retrac.DiffusionTracIn(
            case.model.attributing("time.*"), case.checkpoints[-1:], **DRAWS
        ).attribute(case.train, case.queries)
        ours = scores(name, case, hessian="Identity", proj_dim=4096).double()
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
