"""Training runs on disk, as diffusers' example scripts and ``save_pretrained`` leave them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import retrac_plugin
from retrac_adapters.latents.latent_runs import LatentReader
from retrac_adapters.runs.drawing import PipelineDrawer, find_drawer
from retrac_adapters.runs.objective import read_objective
from retrac_adapters.runs.optimizers import read_optimizer
from retrac_adapters.runs.readers import find_reader
from retrac_adapters.runs.series import describe_series, weight_files
from retrac_adapters.runs.training_state import read_step_sizes
from retrac_adapters.scripts.arguments import Arguments, read_arguments
from retrac_adapters.scripts.layout import Layout, find_base
from retrac_adapters.scripts.lora import find_part, read_as_adapter
from retrac_adapters.scripts.networks import build_network, build_scheduler
from retrac_plugin.checkpoints.checkpoint import Checkpoint
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.errors import InputError
from retrac_plugin.hookspecs import RunRequest
from retrac_plugin.model.diffusion import DiffusionModel
from retrac_plugin.runs.findings import Finding
from retrac_plugin.runs.replayed import describe_trace
from retrac_plugin.runs.run import Run
from retrac_plugin.runs.series import checkpoint_folders, find_trace, step_sizes_of_trace
from retrac_plugin.trace.trace import Trace


def read_run(request: RunRequest, layout: Layout) -> Run:
    """Read a run; its network is in evaluation mode and holds no checkpoint's weights.

    Raises:
        InputError: If a configuration names no model or scheduler of diffusers, or the model that
            the run started from is needed and not known.
        CheckpointError: If there is no checkpoint, or a file is damaged or unsafe.
        TraceError: If the trace is damaged.
    """
    if layout.lora is not None:
        layout = replace(layout, part=find_part(layout.lora))
    folders = checkpoint_folders(request.directory)
    files = weight_files(layout, folders, request.weights)
    of_queries: list[Path | None] = [None] * len(files)
    if request.query_weights not in (None, request.weights):
        of_queries = [*weight_files(layout, folders, str(request.query_weights))]
    trace = find_trace(folders)
    command = () if trace is None else trace.command
    arguments = read_arguments(request.directory, request.arguments, command)
    base = _find_base(request, arguments)
    model, findings = _read_model(request, layout, base, arguments, trace)
    reader, of_images = find_reader(request.directory, base, model.network, arguments, trace)
    if trace is None:
        step_sizes, of_steps = read_step_sizes(folders, arguments)
    else:
        step_sizes, of_steps = step_sizes_of_trace(trace, list(folders)), []
    preconditioners, of_optimizer = read_optimizer(
        folders, request.optimizer, model.network, arguments
    )
    read = read_weights if layout.lora is None else read_as_adapter(layout.part)
    checkpoints = [
        Checkpoint(file, step_size, step, read, preconditioner, other)
        for file, step_size, step, preconditioner, other in zip(
            files, step_sizes, folders, preconditioners, of_queries, strict=True
        )
    ]
    taken = request.weights
    if request.query_weights not in (None, taken):
        taken += f" for the training set, {request.query_weights} for queries"
    findings += describe_series(layout, folders, taken, arguments)
    findings += [*of_steps, *describe_trace(trace), *of_optimizer]
    drawer: PipelineDrawer | str = "the model was passed, and did not come from the run"
    if request.model is None:
        side = reader.framing.resolution if isinstance(reader, LatentReader) else None
        drawer = find_drawer(layout, base, model.network, checkpoints[-1], side)
    return Run(model, checkpoints, trace, [*findings, *of_images], reader=reader, drawer=drawer)


def _read_model(
    request: RunRequest,
    layout: Layout,
    base: Path | None,
    arguments: Arguments,
    trace: Trace | None,
) -> tuple[DiffusionModel, list[Finding]]:
    """Return the model, the request's own where it brings one, and what was found of it."""
    if request.model is not None:
        return request.model, list(arguments.findings)
    network, of_network = build_network(layout, base, arguments)
    scheduler, of_scheduler = build_scheduler(layout, base)
    replayed = trace is not None and trace.keeps_samples
    objective = read_objective(scheduler, network, arguments, replayed, request.loss)
    model = retrac_plugin.wrap(network, objective.scheduler, objective.loss, **objective.options)
    return model, [*arguments.findings, *of_network, *of_scheduler, *objective.findings]


def _find_base(request: RunRequest, arguments: Arguments) -> Path | None:
    """Return the folder of the model that a run started from, or None where it is not known."""
    name = request.base or arguments.get("pretrained_model_name_or_path")
    revision = arguments.get("revision") if request.base is None else None
    found = None if name is None else find_base(name, revision=revision)
    if request.base is not None and found is None:
        raise InputError(
            f"base: {str(request.base)!r} is neither a folder nor a model in the Hugging Face cache"
        )
    return found
