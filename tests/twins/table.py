"""Every method by its own formula, from a ``Book``: what its scores should be, ``[query, train]``.

Formulas are in the docs, on the pages of methods, of Captum, of dattri and of kronfluence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.methods.setting import Gradients
from tests.twins import kernels
from tests.twins.curved import (
    captum_arnoldi,
    captum_naive,
    das,
    datainf,
    dattri_arnoldi,
    dattri_trak,
    ekfac,
    hessian_inverse,
    journey,
    trak,
)
from tests.twins.kronecker import kronfluence, stratified
from tests.twins.layered import layered, part_of
from tests.twins.plain_loops import Book, Output, loss
from tests.twins.unlearned import unlearning


@dataclass(frozen=True)
class Twin:
    """What a method's scores are held against.

    Attributes:
        scores: Returns them.
        settings: What the method is given so that its definition is exact: no projection, say.
    """

    scores: Callable[[Book], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


OUTPUTS: dict[str, Output] = {
    "d-trak": lambda f, eps, weight: f.square().mean(),
    "d-trak-mean": lambda f, eps, weight: f.mean(),
    "d-trak-l1": lambda f, eps, weight: f.abs().sum(),
    "d-trak-l2": lambda f, eps, weight: f.square().sum().sqrt(),
    "d-trak-linf": lambda f, eps, weight: f.abs().max(),
    "d-trak-weighted-mse": lambda f, eps, weight: weight * (f - eps).square().mean(),
}


def over_checkpoints(book: Book, of: Callable[[int], Tensor], weighted: bool = True) -> Tensor:
    """Return the sum over checkpoints of their products, weighted by step size."""
    weights = book.step_sizes if weighted else [1.0] * len(book.step_sizes)
    return torch.stack([weight * of(k) for k, weight in enumerate(weights)]).sum(0)


def tracin(book: Book, train: str = "train", weighted: bool = True) -> Tensor:
    """``sum_k eta_k <g_q, g_i>``."""
    return over_checkpoints(book, lambda k: book.mean("query", k) @ book.mean(train, k).T, weighted)


def cosines(book: Book, train: str = "train", weighted: bool = True) -> Tensor:
    """The same of directions, norms taken away after the mean over draws."""
    return over_checkpoints(
        book,
        lambda k: normalize(book.mean("query", k)) @ normalize(book.mean(train, k)).T,
        weighted,
    )


def of_last(book: Book, treat: Callable[[Tensor], Tensor]) -> Tensor:
    """``<r(g_q), r(g_i)>`` at the last checkpoint, both at the same timesteps."""
    return treat(book.mean("query", book.last)) @ treat(book.mean("shared", book.last)).T


def per_timestep(gradients: Tensor) -> Tensor:
    """``1/T sum_t r(1/S sum_s g)``, ``[sample, p]``."""
    return normalize(gradients.mean(2), dim=-1).mean(1)


def retrac(book: Book) -> Tensor:
    """Diffusion-ReTrac."""

    def of(k: int) -> Tensor:
        return per_timestep(book.gradients("query", k)) @ normalize(book.mean("train", k)).T

    return over_checkpoints(book, of)


def replayed(book: Book) -> Tensor:
    """Diffusion-ReTrac over every recorded visit."""

    def of(k: int) -> Tensor:
        visits = [torch.stack([normalize(g, dim=0) for g in own]) for own in book.visits(k)]
        train = torch.stack([own.mean(0) for own in visits])
        return per_timestep(book.gradients("query", k)) @ train.T

    return over_checkpoints(book, of)


def per_draw(book: Book) -> Tensor:
    """ReTrac, each draw normalised on its own."""

    def of(k: int) -> Tensor:
        query, train = (
            normalize(book.gradients(side, k), dim=-1).mean((1, 2)) for side in ("query", "shared")
        )
        return query @ train.T

    return over_checkpoints(book, of)


def last_weight(book: Book) -> Tensor:
    """TracIn of ``conv_out.weight`` alone."""
    first = sum(book.sizes.values()) - book.sizes["conv_out.weight"] - book.sizes["conv_out.bias"]
    own = slice(first, first + book.sizes["conv_out.weight"])
    return over_checkpoints(
        book, lambda k: book.mean("query", k)[:, own] @ book.mean("train", k)[:, own].T
    )


def pixels(book: Book) -> Tensor:
    """Cosines of pixels."""
    return normalize(book.queries.flatten(1)) @ normalize(book.train.flatten(1)).T


def components(book: Book) -> Tensor:
    """Cosines of the whitened principal components that hold 90% of the variance."""
    train, queries = book.train.flatten(1), book.queries.flatten(1)
    centred, theirs = train - train.mean(0), queries - train.mean(0)
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(centred.T @ centred))
    held, kept = 0.0, 0
    while held < 0.9 * float(values.sum()):
        held, kept = held + float(values[kept]), kept + 1
    basis = vectors[:, :kept] / values[:kept].sqrt()
    return normalize(theirs @ basis) @ normalize(centred @ basis).T


def losses(book: Book) -> Tensor:
    """The training images' losses, at the draws that they would get as queries."""
    return book.value("train as query", book.last).expand(len(book.queries), -1)


def activations(book: Book) -> Tensor:
    """Mean cosine of the middle block's activations, draw by draw."""
    book.load(book.last)
    seen: list[Tensor] = []
    handle = book.network.get_submodule("mid_block").register_forward_hook(
        lambda module, inputs, output: seen.append(output.flatten())
    )

    def of(side: str) -> Tensor:
        samples = []
        for x, timesteps, noises in book.items(side):
            seen.clear()
            for t, eps in zip(timesteps[book.last], noises[book.last], strict=True):
                for e in eps:
                    book.output(x, int(t), e)
            samples.append(normalize(torch.stack(seen)))
        return torch.stack(samples)

    with torch.no_grad():
        query, train = of("query"), of("shared")
    handle.remove()
    return torch.einsum("qdp,idp->qi", query, train) / query.shape[1]


EXACT = Gradients(projection=CountSketch(2**16))
"""More buckets than activations: nothing is projected away."""

TWINS: dict[str, Twin] = {
    "diffusion-tracin": Twin(tracin),
    "diffusion-retrac": Twin(retrac),
    "gradient-dot": Twin(partial(of_last, treat=lambda g: g)),
    "gradient-cosine": Twin(partial(of_last, treat=normalize)),
    "tracincp": Twin(partial(tracin, train="shared")),
    "gas": Twin(partial(cosines, train="shared")),
    "retrac-per-draw": Twin(per_draw),
    "retrac-replay": Twin(replayed),
    "trak": Twin(trak),
    "relative-influence": Twin(
        partial(trak, scale=lambda g, inverse: 1 / (g @ inverse).norm(dim=1))
    ),
    "renormalised-influence": Twin(partial(trak, scale=lambda g, inverse: 1 / g.norm(dim=1))),
    "retrac-curvature": Twin(partial(trak, features=per_timestep)),
    **{name: Twin(partial(trak, output=output)) for name, output in OUTPUTS.items()},
    "das": Twin(partial(das, features=per_timestep)),
    "journey-trak": Twin(journey),
    "retrac-paired": Twin(lambda book: over_checkpoints(book, partial(kernels.paired, book))),
    "retrac-kernel": Twin(
        partial(kernels.over_timesteps, known=kernels.of_gradients, kernel=kernels.cubic, damping=1)
    ),
    "retrac-ridge": Twin(
        partial(
            kernels.over_timesteps, known=kernels.of_gradients, kernel=kernels.linear, damping=0.2
        )
    ),
    "trak-layers": Twin(partial(layered, of_group=trak)),
    "retrac-kernel-layers": Twin(
        partial(
            layered,
            of_group=partial(
                kernels.over_timesteps,
                known=partial(part_of, kernels.of_gradients),
                kernel=kernels.cubic,
                damping=1,
            ),
        )
    ),
    "activation-kernel": Twin(
        partial(
            kernels.over_timesteps, known=kernels.of_up_blocks, kernel=kernels.cubic, damping=1
        ),
        {"gradients": EXACT},
    ),
    "unlearning": Twin(partial(unlearning, step=0.01, damping=0.1)),
    "pixel-kernel": Twin(kernels.pixels),
    "pixel-similarity": Twin(pixels),
    "feature-similarity": Twin(components),
    "training-loss": Twin(losses),
    "captum-tracin": Twin(tracin),
    "captum-tracin-fast": Twin(last_weight),
    "captum-tracin-rand-proj": Twin(last_weight),
    "captum-naive-if": Twin(captum_naive),
    "captum-arnoldi-if": Twin(
        captum_arnoldi, {"projection_dim": 1, "arnoldi_dim": 20, "arnoldi_tol": 1e-6}
    ),
    "captum-similarity": Twin(activations),
    "dattri-tracin": Twin(tracin),
    "dattri-grad-dot": Twin(partial(tracin, weighted=False)),
    "dattri-grad-cos": Twin(partial(cosines, weighted=False)),
    "dattri-trak": Twin(partial(dattri_trak, output=loss), {"proj_type": "identity"}),
    "dattri-dtrak": Twin(partial(dattri_trak, output=OUTPUTS["d-trak"]), {"proj_type": "identity"}),
    "dattri-if-cg": Twin(partial(hessian_inverse, damping=10.0), {"max_iter": 12}),
    "dattri-if-lissa": Twin(
        partial(hessian_inverse, damping=20.0),
        {"recursion_depth": 40, "damping": 0.5, "scaling": 40.0},
    ),
    "dattri-if-arnoldi": Twin(dattri_arnoldi, {"proj_dim": 1, "max_iter": 20}),
    "dattri-datainf": Twin(datainf),
    "dattri-ekfac": Twin(ekfac),
    "kronfluence-ekfac": Twin(partial(kronfluence, corrected=True), {"fisher": "empirical"}),
    "kronfluence-ekfac-stratified": Twin(
        partial(stratified, strata=4), {"fisher": "empirical", "strata": 4}
    ),
    "kronfluence-kfac": Twin(partial(kronfluence, corrected=False), {"fisher": "empirical"}),
}
"""By registered name."""

_PROJECTED = "no twin: projected at random, layer by layer, in float32"
NO_TWIN = {
    "random": "no twin: chance",
    "untrained-kernel": "no twin: that of activation-kernel, of weights drawn anew",
    "dattri-logra": _PROJECTED,
    "dattri-factgrass": _PROJECTED,
}
"""Why there is none, by registered name."""
