"""Leave-one-out without the noise of retraining: a recorded run continued without one image.

From a late checkpoint on, the very steps of the run are taken again, with the batches, timesteps
and noise that its trace recorded, but for one image. Nothing else differs, so whatever changes is
that image's doing, and continuing with all images ends, bit by bit, at the recorded weights.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from retrac_adapters.tasks.retrained.looking import losses_of
from retrac_adapters.tasks.retrained.procedure import Procedure
from retrac_plugin import Checkpoint, Run
from retrac_plugin.errors import InputError
from retrac_plugin.files import write_atomically
from retrac_plugin.progress import over
from retrac_plugin.trace.trace import Trace


class Continued(NamedTuple):
    """What continuing without single images did to the queries' losses."""

    changes: Tensor
    """``[image, query]``: the loss without the image minus that with all."""
    rounding: Tensor
    """``[query]``: what all images in batches of reverse order do, rounding alone."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded run that can be taken up again.

    Attributes:
        images: The training set ``[N, C, H, W]``.
        run: Its checkpoints, and its trace: what each step saw, at which timesteps and noise.
        procedure: How it was trained.
    """

    images: Tensor
    run: Run
    procedure: Procedure

    @property
    def trace(self) -> Trace:
        """What training recorded.

        Raises:
            InputError: If nothing.
        """
        if self.run.trace is None:
            raise InputError("a run without a trace cannot be taken up again: record it")
        return self.run.trace

    def visits_of(self, start: int, stop: int) -> list[Tensor]:
        """Return the visits of each of the steps ``[start, stop)``, in the batch's order."""
        bounds = torch.searchsorted(self.trace.steps, torch.arange(start, stop + 1))
        return [torch.arange(a, b) for a, b in pairwise(bounds.tolist())]


class Moment:
    """A training between two steps: its network, and what the optimiser remembers.

    Args:
        recording: The run.
    """

    def __init__(self, recording: Recording) -> None:
        recipe, self.recording = recording.procedure.recipe, recording
        self.network = recording.procedure.start.network(recipe.seed).train()
        self.scheduler = DDPMScheduler(**recipe.scheduler)
        own = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(own, lr=recipe.learning_rate)
        self.step = 0

    def advance(self, visits: Sequence[Tensor], without: int | None = None) -> None:
        """Take a step for each of some sets of visits.

        Args:
            visits: Positions in the trace of what each step sees.
            without: An image whose visits are left out. The sum of the others' losses is divided
                by the batch's full size: to leave a term out is not to weigh the others more.

        Raises:
            InputError: If a step saw that image alone.
        """
        recording, recipe = self.recording, self.recording.procedure.recipe
        trace, images = recording.trace, recording.images
        for batch in visits:
            kept = batch if without is None else batch[trace.ids[batch] != without]
            if not len(kept):
                raise InputError(f"step {self.step} saw image {without} alone: nothing is left")
            ids, timesteps = trace.ids[kept], trace.timesteps[kept]
            noise = trace.noise(kept, images.shape[1:])
            noised = self.scheduler.add_noise(images[ids], noise, timesteps)
            predicted = self.network(noised, timesteps).sample
            loss = recording.procedure.start.criterion(predicted, noise)
            self.optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(self.step)
            self.optimizer.zero_grad()
            torch.autograd.backward(loss * (len(kept) / len(batch)))
            self.optimizer.step()
            self.step += 1

    def keep(self) -> dict[str, Any]:
        """Return all that ``restore`` takes this training back to."""
        network, memory = self.network.state_dict(), self.optimizer.state_dict()
        return copy.deepcopy({"network": network, "memory": memory, "step": self.step})

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go back to a moment that was kept."""
        self.network.load_state_dict(kept["network"])
        self.optimizer.load_state_dict(copy.deepcopy(kept["memory"]))  # or steps would change it
        self.step = kept["step"]

    def check(self, checkpoint: Checkpoint) -> None:
        """Refuse weights that are not exactly a checkpoint's.

        Raises:
            InputError: If any number differs.
        """
        own = self.network.state_dict()
        off = {n: float((own[n] - v).abs().max()) for n, v in checkpoint.load().items()}
        if any(off.values()):
            raise InputError(
                f"the run taken up again is not the recorded one: at step {self.step} weights "
                f"differ by up to {max(off.values()):.2g}, expected 0. Other images, another "
                "recipe, or a run that was trained by another machine, number of threads or "
                "version of PyTorch: remove its folder, and it is trained anew"
            )


def continue_without(
    recording: Recording, left_out: Sequence[int], queries: Tensor, directory: Path
) -> Continued:
    """Continue a run from its last checkpoint but one, once without each of some images.

    Args:
        recording: The run. It is taken up from its first step, and checked at both checkpoints.
        left_out: Positions of the images in the training set.
        queries: ``[query, C, H, W]``, whose losses are taken at the procedure's draws, the same
            for all models.
        directory: Where losses are kept, a file an image; what is there already is not done again.

    Raises:
        InputError: If the recorded weights do not come out again.
    """
    late, end = recording.run.checkpoints[-2:]
    first, last = (int(checkpoint.step or 0) for checkpoint in (late, end))
    moment = Moment(recording)
    moment.advance(recording.visits_of(0, first))
    moment.check(late)
    kept, ahead = moment.keep(), recording.visits_of(first, last)
    losses = partial(losses_of, queries=queries, procedure=recording.procedure)

    def after(visits: Sequence[Tensor], without: int | None = None) -> Tensor:
        moment.restore(kept)
        moment.advance(visits, without)
        return losses(_trained(moment.network))

    whole = after(ahead)
    moment.check(end)
    folder = directory / "continued" / _fingerprint(end, queries, recording.procedure)
    backwards = [batch.flip(0) for batch in ahead]
    rounding = _once(folder / "backwards.safetensors", partial(after, backwards)) - whole
    found = []
    for image in over(left_out, "continuing", "run"):
        path = folder / f"without-{image}.safetensors"
        found.append(_once(path, partial(after, ahead, image)) - whole)
    return Continued(torch.stack(found), rounding)


def _fingerprint(end: Checkpoint, queries: Tensor, procedure: Procedure) -> str:
    """Name what the losses depend on; what a run was trained on shows in where it ended."""
    digest = hashlib.sha256(repr(procedure.loss_draws).encode())
    for tensor in (queries, *end.load().values()):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _trained(network: Any) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in network.named_parameters() if p.requires_grad}


def _once(path: Path, compute: Callable[[], Tensor]) -> Tensor:
    if not path.is_file():
        losses = compute()
        write_atomically(path, lambda file: save_file({"losses": losses}, file))
    return load_file(path)["losses"]
