"""dattri's own methods as the tests' oracle: without projection, and in float64."""

from __future__ import annotations

import inspect
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader

from retrac_plugin.frameworks.dattri import DiffusionAttributionTask
from tests.frameworks.method_table import QUERY_DRAWS, TRAIN_DRAWS

# Behind ours, which silences what dattri's import warns of.
from dattri.algorithm import TracInAttributor  # isort: skip

EXACT = {"rtol": 1e-10, "atol": 1e-14}
DRAWS = {"train_draws": TRAIN_DRAWS, "query_draws": QUERY_DRAWS}


@contextmanager
def float64():
    """dattri's TracIn makes its result in torch's default type, whatever the model's."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def their_tracin(task, train, queries, normalized_grad, weights=None, layer_name=None):
    """dattri's TracIn (or, normalised, Grad-Cos) ``[train, query]`` on drawn examples."""
    if weights is None:
        weights = [checkpoint.step_size for checkpoint in task.get_checkpoints()]
    attributor = TracInAttributor(
        task, torch.tensor(weights), normalized_grad, layer_name=layer_name
    )
    if "projector_kwargs" in inspect.signature(TracInAttributor).parameters:
        attributor.projector_kwargs = None
    else:
        attributor.proj_params.proj_type = "identity"
    with torch.no_grad():
        return attributor.attribute(
            train_dataloader=DataLoader(train, batch_size=4),
            test_dataloader=DataLoader(queries, batch_size=5),
        )


def task_of(case, **options):
    return DiffusionAttributionTask(case.model, case.checkpoints, **options)


def loader(examples, batch_size=3, **options):
    return DataLoader(examples, batch_size=batch_size, **options)
