"""Whether a run and its training set fit together: the loss of one sample."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.data.image_files import FileExamples
from retrac_plugin.draws import Request, draw_within
from retrac_plugin.errors import InputError
from retrac_plugin.runs.run import Run


def try_one(run: Run, examples: FileExamples) -> float:
    """Return the loss of the first sample at the first checkpoint.

    Raises:
        RetracError: If the training set is not the recorded one, or the sample cannot be used.
        InputError: If the denoiser fails on it, or its loss is not finite.
    """
    block = next(ExampleSource(examples, "train").blocks(1))
    checkpoint, device = run.checkpoints[0], torch.device("cpu")
    state = load_into(run.model.network, checkpoint, device)
    dtype = next(value.dtype for value in state.values() if value.is_floating_point())
    at = 0, checkpoint.step_at(0)
    request = Request.of(block, "train", len(examples), at, run.model.drawing)
    draw = draw_within(run.train_draws, request)
    samples = block.samples if draw.samples is None else draw.samples[:, 0]
    try:
        batch = run.model.diffuse(
            samples.to(dtype),
            draw.timesteps[:, 0],
            draw.noise[:, 0, 0].to(dtype),
            {name: _floating(value, dtype) for name, value in block.conditions.items()},
        )
        with torch.no_grad():
            loss = float(run.model.losses(state, {}, batch)[0])
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        fields = ", ".join(["sample", *block.conditions])
        raise InputError(
            f"the denoiser fails on the first example, which has {fields}, its sample "
            f"{list(block.samples.shape[1:])}: {error}"
        ) from error
    if not torch.isfinite(torch.tensor(loss)):
        raise InputError(f"the loss of the first example is {loss} at {checkpoint.name}")
    return loss


def _floating(value: Tensor | dict[str, Tensor], dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    if isinstance(value, dict):
        return {
            name: part.to(dtype) if part.is_floating_point() else part
            for name, part in value.items()
        }
    return value.to(dtype) if value.is_floating_point() else value
