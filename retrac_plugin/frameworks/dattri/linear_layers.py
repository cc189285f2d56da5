"""LoGra and FactGraSS: the gradients of linear layers alone, projected factor by factor.

dattri hooks into the modules themselves, so these see a network that returns its own loss, single
draws, and the last checkpoint.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from dattri import algorithm
from dattri.task import AttributionTask
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri.job import Job
from retrac_plugin.frameworks.dattri.task import DiffusionAttributionTask
from retrac_plugin.frameworks.side_loaders import Side

FIELDS = ("samples", "timesteps", "noise")


class WithLoss(nn.Module):
    """The task's network, called with a batch of single draws, returns the mean of their losses.

    The mean, since dattri multiplies what it captures by the size of the batch.
    """

    def __init__(self, task: DiffusionAttributionTask) -> None:
        super().__init__()
        self.network = task.get_model()
        self.loss = task.get_loss_func(flatten=False)
        self.load = partial(task.get_param, 0)

    def forward(self, **batch: Tensor) -> SimpleNamespace:
        """Return an object with ``loss``, as dattri wants it of a batch that is a mapping."""
        parameters = {n: p for n, p in self.network.named_parameters() if p.requires_grad}
        data = tuple(batch.values())
        return SimpleNamespace(loss=self.loss(parameters, data))


def score(job: Job, *, attributor: str, hessian: str, damping: float, proj_dim: int) -> Tensor:
    """Return the mean over draws of the scores of single draws, ``[train, query]``.

    Raises:
        InputError: If the network has no linear layer.
    """
    network = WithLoss(job.task)
    names = list(linear_layers(network))
    if not names:
        raise InputError(
            f"{attributor} sees linear layers only, and {type(network.network).__name__} has none "
            "that is attributed"
        )
    task = AttributionTask(
        _loss_of, network, job.task.get_checkpoints(), checkpoints_load_func=_load
    )
    train, queries = _loader(job.train), _loader(job.queries)
    with torch.enable_grad(), _at_home() as folder:
        made = getattr(algorithm, attributor)(
            task,
            names,
            hessian=hessian,
            damping=damping,
            device=job.device,
            cache_dir=folder,
            **_projection(getattr(algorithm, attributor), proj_dim),
        )
        made.cache(train)
        scores = made.attribute(train_dataloader=train, test_dataloader=queries)
    each = job.train.draws_each, job.queries.draws_each
    return torch.as_tensor(scores).view(-1, each[0], len(job.queries.ids), each[1]).mean((1, 3))


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers whose weights are attributed, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad
    }


@contextmanager
def _at_home() -> Iterator[str]:
    """Let dattri work without a compiler, an accelerator, or leave to write where it is run."""
    with (
        torch.compiler.set_stance("force_eager"),
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,  # it writes down how large its batches were
    ):
        warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true")
        yield folder


def _loss_of(model: WithLoss, batch: Mapping[str, Tensor], device: str) -> Tensor:
    loss: Tensor = model(**{name: part.to(device) for name, part in batch.items()}).loss
    return loss


def _load(network: WithLoss, _: Any) -> WithLoss:
    network.load()
    return network


def _loader(side: Side) -> DataLoader[Any]:
    """Return a loader of single draws as mappings, which dattri hands to the network whole."""

    def collate(items: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
        parts = default_collate(items)
        names = [*FIELDS, *(".".join(("condition", *path)) for path in side.drawn.paths)]
        return dict(zip(names, parts, strict=True))

    return DataLoader(side.by_draw(), batch_size=side.batch_size, collate_fn=collate)


def _projection(attributor: type, proj_dim: int) -> dict[str, Any]:
    """Return the projection's setting in the layout that is here."""
    if "proj_params" not in inspect.signature(attributor).parameters:
        return {"proj_dim": proj_dim}
    from dattri.params import projection

    name = attributor.__name__.removesuffix("Attributor").replace("GraSS", "Grass")
    params = getattr(projection, f"{name}ProjectionParams")
    return {"proj_params": params(proj_dim_per_layer=proj_dim)}
