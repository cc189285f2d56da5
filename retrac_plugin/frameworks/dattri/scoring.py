"""How each of dattri's attributors is called, ``(job, **settings) -> [train, query]``.

dattri's own code computes; where it needs help to give what it defines, the function that helps it
says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from dattri import algorithm
from dattri.func.projection import ArnoldiProjector
from torch import Tensor

from retrac_plugin.frameworks.dattri.job import Job
from retrac_plugin.frameworks.dattri.projection import DEFAULTS

IDENTITY = {"proj_type": "identity"}


def tracin(job: Job, *, normalized_grad: bool, weighted: bool) -> Tensor:
    """TracIn, Grad-Dot and Grad-Cos: ``sum_k w_k <g_i, g_q>``, gradients whole."""
    checkpoints = job.task.get_checkpoints()
    weights = [c.step_size if weighted else 1.0 for c in checkpoints]
    attributor = algorithm.TracInAttributor(
        job.task, torch.tensor(weights), normalized_grad, device=job.device
    )
    set_projection(attributor, IDENTITY)
    return _attribute(attributor, job)


def trak(job: Job, *, proj_dim: int, proj_type: str, relative_damping: float) -> Tensor:
    """TRAK: ``phi_q^T (Phi^T Phi + lambda I)^-1 phi_i``, the mean over checkpoints.

    ``lambda`` is ``relative_damping`` times the mean diagonal element of ``Phi^T Phi``. TRAK's last
    factor, one minus the probability of the right label, is 1: a denoiser has no labels.
    """
    dimension = job.num_parameters if proj_type == "identity" else proj_dim
    trace = len(job.train.ids) * job.mean_square()
    attributor = algorithm.TRAKAttributor(
        job.task,
        lambda parameters, data: torch.zeros((), device=job.core.device),
        device=job.device,
        regularization=relative_damping * trace / dimension,
    )
    set_projection(attributor, {"proj_dim": proj_dim, "proj_type": proj_type})
    attributor.cache(job.train.loader())
    return attributor.attribute(test_dataloader=job.queries.loader())  # type: ignore[no-any-return]


def conjugate_gradients(job: Job, **settings: float) -> Tensor:
    """Influence functions: ``g_q^T (H + regularization I)^-1 g_i``, the mean over checkpoints.

    ``H`` is the Hessian of the whole training set in one batch: over several, dattri would sum the
    solutions of each batch's own Hessian, which is no influence function.
    """
    attributor = algorithm.IFAttributorCG(job.task, device=job.device, **settings)
    attributor.cache(job.train.whole())
    return _attribute(attributor, job)


def lissa(job: Job, *, batch_size: int | None, **settings: float) -> Tensor:
    """Influence functions by a recursion whose fixed point is damped by ``damping * scaling``.

    ``batch_size`` None is the whole training set, with which nothing is left to chance. The whole
    set is cached in one batch for the reason given at ``conjugate_gradients``.
    """
    attributor = algorithm.IFAttributorLiSSA(
        job.task, device=job.device, batch_size=batch_size or len(job.train.ids), **settings
    )
    attributor.cache(job.train.whole())
    return _attribute(attributor, job)


def datainf(job: Job, *, relative_damping: float) -> Tensor:
    """DataInf; its damping is ``relative_damping`` times the mean of squared gradient entries.

    dattri's default damping, 0, is a division by zero.
    """
    damping = relative_damping * job.mean_square()
    attributor = algorithm.IFAttributorDataInf(job.task, device=job.device, regularization=damping)
    attributor.cache(job.train.loader())
    return _attribute(attributor, job)


def arnoldi(job: Job, *, proj_dim: int, max_iter: int, regularization: float) -> Tensor:
    """Influence functions in the span of the Hessian's top eigenvectors.

    Its projector is made here, and put in place of what dattri's ``cache`` makes, for two reasons:
    that one differentiates forward through the backward pass, which common layers do not support;
    and it warns of negative eigenvalues but takes their roots all the same. Directions in which the
    Hessian does not curve upwards are left out.
    """
    attributor = algorithm.IFAttributorArnoldi(job.task, device=job.device)
    attributor.full_train_dataloader = job.train.whole()
    (batch,) = attributor.full_train_dataloader
    data = tuple(part.to(job.device) for part in batch)
    attributor.arnoldi_projectors = []
    for position in range(len(job.task.get_checkpoints())):
        parameters, _ = job.task.get_param(position)
        projector = ArnoldiProjector(
            len(parameters),
            proj_dim,
            partial(job.task.get_loss_func(), **{job.task.loss_func_data_key: data}),
            parameters.detach(),
            max_iter=max_iter,
            mode="rev-rev",
            regularization=regularization,
            device=job.device,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Encountered many negative eigenvalues")
            projector.get_eigenspace()
        least = regularization + 1e-6 * projector.eigvals.max()
        upwards = projector.eigvals > least
        projector.eigvals = projector.eigvals[upwards]
        projector.eigvecs = projector.eigvecs[upwards]
        attributor.arnoldi_projectors.append(projector.project)
    return _attribute(attributor, job)


def _attribute(attributor: Any, job: Job) -> Tensor:
    return attributor.attribute(  # type: ignore[no-any-return]
        train_dataloader=job.train.loader(), test_dataloader=job.queries.loader()
    )


def set_projection(attributor: Any, settings: Mapping[str, Any]) -> None:
    """Set an attributor's projection after it was made, in either layout.

    Given to the constructor, dattri 0.3.0 would write them into a dictionary that every attributor
    of the process shares.
    """
    if hasattr(attributor, "projector_kwargs"):
        attributor.projector_kwargs = {"device": attributor.device, **DEFAULTS, **settings}
    else:
        attributor.proj_params = attributor.proj_params.model_copy(update=dict(settings))
