"""A diffusion model as kronfluence sees a task: batches of data with their draws, and losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kronfluence.task import Task
from torch import Tensor, nn

from retrac_plugin.errors import GradientError
from retrac_plugin.frameworks.drawn_rows import as_rows
from retrac_plugin.frameworks.kronfluence.fisher import sampled
from retrac_plugin.frameworks.nesting import Keys, nested
from retrac_plugin.model.diffusion import DiffusionModel


class DrawsTask(Task):  # type: ignore[misc]  # kronfluence's types are not read
    """Losses of ``(x0, t, noise, *conditions)``, a batch of what ``DrawnExamples`` yields.

    All draws of a sample share a network pass, as rows side by side, so that kronfluence finds a
    gradient of each row; ``post_process_per_sample_gradient`` makes one of each sample's.

    Args:
        model: The diffusion model.
        conditions: Where each of an item's conditions belongs, see ``nesting``.
        layers: Names of the layers whose parameters take part.
    """

    enable_post_process_per_sample_gradient = True

    def __init__(
        self, model: DiffusionModel, conditions: Sequence[Keys], layers: Sequence[str]
    ) -> None:
        self.model, self.conditions, self.layers = model, conditions, list(layers)
        self.draws = 1

    def compute_train_loss(
        self, batch: Sequence[Tensor], model: nn.Module, sample: bool = False
    ) -> Tensor:
        """Return the sum over samples of the mean loss of their draws, a scalar.

        Args:
            batch: The data; where ``sample`` is true, single draws with residuals behind.
            model: The network that kronfluence has rebuilt.
            sample: Whether targets are those of ``fisher.sampled``, for the true Fisher matrix.

        Raises:
            GradientError: If a loss is not finite.
        """
        data = batch[:-1] if sample else batch
        dtype = next(model.parameters()).dtype
        rows = as_rows(data, 0, dtype)
        self.draws = len(rows.timesteps) // len(data[0])
        conditions = nested(self.conditions, rows.conditions)
        own = replace(self.model, network=model)
        noisy = own.diffuse(rows.samples, rows.timesteps, rows.noise, conditions)
        if sample:
            own, noisy = sampled(own, noisy, batch[-1].to(dtype))
        losses = own.losses({}, {}, noisy)
        if not losses.isfinite().all():
            raise GradientError(
                f"the losses of {int((~losses.isfinite()).sum())} of {len(losses)} draws are not "
                "finite: check the samples and the last checkpoint"
            )
        return losses.sum() / self.draws

    def compute_measurement(self, batch: Sequence[Tensor], model: nn.Module) -> Tensor:
        """Return the same of queries: a sample that lowers their loss gets a positive score."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Return the names of the layers that take part."""
        return self.layers

    def post_process_per_sample_gradient(self, module_name: str, gradient: Tensor) -> Tensor:
        """Return the samples' gradients ``[sample, out, in]`` for those of their draws."""
        return gradient.reshape(-1, self.draws, *gradient.shape[1:]).sum(1)
