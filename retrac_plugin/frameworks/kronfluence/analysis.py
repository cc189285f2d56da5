"""How kronfluence is called: in a folder that is removed, on the right device, without a word."""

from __future__ import annotations

import gc
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from kronfluence import Analyzer, FactorArguments, ScoreArguments, prepare_model
from kronfluence.factor import config
from kronfluence.utils.constants import ALL_MODULE_NAME
from kronfluence.utils.state import State
from torch import Tensor, nn
from torch.utils.data import DataLoader

from retrac_plugin.frameworks.kronfluence.fisher import WithResiduals
from retrac_plugin.frameworks.kronfluence.job import Job
from retrac_plugin.frameworks.kronfluence.layers import tracked_layers
from retrac_plugin.frameworks.kronfluence.task import DrawsTask

QUERY_BYTES = 2**30
"""Room for the queries' gradients: as many as fit share one pass over the training samples."""


def influence(job: Job, *, strategy: str, fisher: str, relative_damping: float) -> Tensor:
    """Return ``g_q^T (F + lambda I)^-1 g_i``, layer by layer and summed, ``[query, train]``.

    Args:
        job: What is scored.
        strategy: ``"ekfac"`` or ``"kfac"``, how ``F`` is approximated.
        fisher: ``"true"`` or ``"empirical"``, what ``F`` is.
        relative_damping: ``lambda`` of each layer over the mean eigenvalue of its ``F``.
    """
    network = job.model.network
    dtype = torch.promote_types(next(network.parameters()).dtype, torch.float32)
    draws = WithResiduals(job.train) if fisher == "true" else job.train.by_draw()
    task = DrawsTask(job.model, job.conditions, _layers(job))
    size = sum(_bytes_of(network.get_submodule(name)) for name in task.layers)
    with _at_home(job.device, relative_damping) as folder, torch.enable_grad():
        analyzer = Analyzer(
            "influence",
            prepare_model(network, task),
            task,
            disable_tqdm=not job.show_progress,
            output_dir=folder,
        )
        analyzer.fit_all_factors(
            "factors",
            draws,
            per_device_batch_size=job.train.batch_size,
            factor_args=_factor_arguments(dtype, strategy, fisher),
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            job.queries.examples(),
            job.train.examples(),
            per_device_query_batch_size=job.queries.at_once,
            per_device_train_batch_size=job.train.at_once,
            score_args=_score_arguments(dtype, size, job.queries.at_once),
        )
        # Cloned, since what is loaded may be the file itself, which is removed.
        scores: Tensor = analyzer.load_pairwise_scores("scores")[ALL_MODULE_NAME].clone()
    return scores


def _layers(job: Job) -> list[str]:
    loader = DataLoader(job.train.by_draw(), batch_size=2)
    batch = [part.to(job.device) for part in next(iter(loader))]
    network, task = job.model.network, DrawsTask(job.model, job.conditions, [])
    return tracked_layers(
        network, job.attributed, lambda: task.compute_train_loss(batch, network), len(batch[0])
    )


def _bytes_of(layer: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in layer.parameters())


def _factor_arguments(dtype: torch.dtype, strategy: str, fisher: str) -> FactorArguments:
    return FactorArguments(
        strategy=strategy,
        use_empirical_fisher=fisher == "empirical",
        has_shared_parameters=True,  # else the last call of a layer is taken for all of them
        covariance_max_examples=None,
        lambda_max_examples=None,
        activation_covariance_dtype=dtype,
        gradient_covariance_dtype=dtype,
        per_sample_gradient_dtype=dtype,
        lambda_dtype=dtype,
    )


def _score_arguments(dtype: torch.dtype, size: int, at_once: int) -> ScoreArguments:
    return ScoreArguments(
        damping_factor=None,  # in proportion to the mean eigenvalue, see _at_home
        query_gradient_accumulation_steps=max(1, QUERY_BYTES // (size * at_once)),
        query_gradient_svd_dtype=dtype,
        per_sample_gradient_dtype=dtype,
        precondition_dtype=dtype,
        score_dtype=dtype,
    )


@contextmanager
def _at_home(device: torch.device, relative_damping: float) -> Iterator[str]:
    """Within, kronfluence computes on ``device``, with this damping; yields a folder for it.

    It has no arguments for either: it takes a graphics card wherever there is one, keeps that for
    as long as the process lives, and its damping in proportion has a fixed factor. It also collects
    garbage ten times, which takes seconds unless what was there before is left out.
    """
    state, logger = dict(State._shared_state), logging.getLogger("kronfluence")
    level, factor = logger.level, config.HEURISTIC_DAMPING_SCALE
    thaw = gc.get_freeze_count() == 0
    gc.freeze()
    State._reset_state()
    State(cpu=True).device = device  # not cpu=False: that might join a process group
    logger.setLevel(logging.ERROR)
    config.HEURISTIC_DAMPING_SCALE = relative_damping
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.filterwarnings("ignore", message=".*GradScaler", category=FutureWarning)
            yield folder
    finally:
        State._reset_state()
        State._shared_state.update(state)
        logger.setLevel(level)
        config.HEURISTIC_DAMPING_SCALE = factor
        if thaw:
            gc.unfreeze()
