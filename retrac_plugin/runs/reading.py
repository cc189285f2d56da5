"""``read_run``: asks the plugins to read a training run from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrac_plugin import plugins
from retrac_plugin.errors import InputError, PluginError
from retrac_plugin.hookspecs import RunRequest
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.model.losses import Loss
from retrac_plugin.runs.run import Run

WEIGHTS = ("raw", "ema")
"""Which weights of a run to attribute: as trained, or their moving average."""

OPTIMIZERS = ("plain", "adam")
"""By which steps: those of the plain gradient, or as Adam scaled them."""


def read_run(
    directory: str | Path,
    loss: Loss = "mse",
    *,
    weights: str = "raw",
    query_weights: str | None = None,
    base: str | Path | None = None,
    model: DiffusionModel | None = None,
    arguments: Mapping[str, Any] | None = None,
    optimizer: str = "plain",
) -> Run:
    """Read a training run: network, schedule, checkpoints, step sizes, and trace if it has one.

    Args:
        directory: The run's folder.
        loss: The loss the run was trained with, as in ``wrap``.
        weights: ``"raw"`` for the weights that were trained, ``"ema"`` for their moving average.
        query_weights: The same for the gradients of the queries alone; default: ``weights``.
        base: The model that was fine-tuned, where the folder does not hold it: a folder, or a name
            in the Hugging Face cache. Needed for low-rank adapters.
        model: The model, from ``wrap``, where the folder does not describe it.
        arguments: Arguments of the training script by name, such as ``{"snr_gamma": 5.0}``; they
            complete, and overrule, those that the run kept. ``num_samples`` is the size of the
            training set.
        optimizer: ``"plain"`` for influence by plain gradient steps, as in the paper; ``"adam"`` to
            scale gradients as Adam did, by the second moments that the run kept.

    Raises:
        InputError: If the folder does not exist, or more must be told to read it.
        CheckpointError: If a checkpoint is damaged or unsafe.
        PluginError: If no installed plugin can read it.
    """
    path = Path(directory)
    if not path.is_dir():
        raise InputError(f"expected a training run's folder, got {str(path)!r}, which is none")
    for name, value, known in (
        ("weights", weights, WEIGHTS),
        ("query_weights", query_weights or weights, WEIGHTS),
        ("optimizer", optimizer, OPTIMIZERS),
    ):
        if value not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    stated = dict(arguments or {})
    request = RunRequest(path, loss, weights, base, model, stated, optimizer, query_weights)
    run = plugins.first_answer("retrac_read_run", Run, request=request)
    if run is None:
        raise PluginError(
            f"no plugin can read {str(path)!r} as a training run. Expected a denoiser's "
            "unet/config.json, scheduler/scheduler_config.json, and checkpoint-STEP folders"
        )
    return run
