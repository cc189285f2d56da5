"""Captum's own methods on a diffusion model, each against an explicit computation of what it is."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.draws import Request
from retrac_plugin.randomness import content_key
from tests.frameworks.hessian_textbook import Textbook
from tests.frameworks.method_table import DRAWS, QUERY_DRAWS, TRAIN_DRAWS, scores
from tests.small import small_case

EXACT = {"rtol": 1e-10, "atol": 1e-14}


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
