"""The frameworks' own TracIn on the same samples; both need help to run on a U-Net at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, TensorDataset

from retrac_adapters.measuring.engine_benchmark.timing import Contender, Step
from retrac_adapters.measuring.engine_benchmark.workload import Workload
from retrac_plugin.gradients.streamed import StreamedEngine

TRAIN, QUERIES, BATCH = 64, 10, 16


def samples_of(work: Workload) -> tuple[TensorDataset, TensorDataset]:
    """Return the training samples and the queries."""
    return TensorDataset(*work.batch(TRAIN)), TensorDataset(*work.batch(QUERIES, seed=1))


def contender(work: Workload, run: Step) -> Contender:
    """Compare a whole job with a plain pass over its training samples and queries."""
    batches = work.batch(TRAIN), work.batch(QUERIES, seed=1)

    def plain() -> None:
        for batch in batches:
            work.plain(batch)

    samples = TRAIN + QUERIES
    return Contender(run, samples, plain, samples)


def ours(work: Workload) -> Step:
    """The same job here: the queries' gradients, then all products."""
    train, queries = work.batch(TRAIN), work.batch(QUERIES, seed=1)

    def run() -> Tensor:
        engine = StreamedEngine(work.losses, work.parameters)
        vectors = engine.gradients(queries, 1).gradients
        return next(engine.products([train], 1, vectors)).dots.T

    return run


def dattri(work: Workload) -> Step:
    """Run the ``TracInAttributor`` of dattri, without projection."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    def loss(parameters: Any, data: tuple[Tensor, ...]) -> Tensor:
        noisy, timestep, noise = data  # one sample, without a batch dimension
        arguments = (noisy[None], timestep[None])
        output = functional_call(work.network, parameters, arguments).sample[0]
        error: Tensor = (output - noise).square().mean()
        return error

    task = AttributionTask(loss, work.network, work.network.state_dict())
    attributor = TracInAttributor(
        task, torch.ones(1), False, projector_kwargs={"proj_type": "identity"}
    )
    loaders = [DataLoader(data, batch_size=BATCH) for data in samples_of(work)]

    def run() -> Tensor:
        # It keeps graphs alive otherwise, and vmap runs fused attention sample by sample.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            scores: Tensor = attributor.attribute(*loaders)
        return scores.T

    return run


def captum(work: Workload, batch_size: int) -> Step:
    """Run Captum's ``TracInCP`` over all layers."""
    from captum.influence import TracInCP

    class Contiguous(TracInCP):  # type: ignore[misc]  # captum is untyped here
        """It cannot flatten the channels-last gradients that attention leaves behind."""

        def _get_checkpoint_jacobians(self, *args: Any, **kwargs: Any) -> Any:
            found = super()._get_checkpoint_jacobians(*args, **kwargs)
            return [tuple(part.contiguous() for part in parts) for parts in found]

        def _basic_computation_tracincp(self, *args: Any, **kwargs: Any) -> Any:
            found = super()._basic_computation_tracincp(*args, **kwargs)
            return tuple(part.contiguous() for part in found)

    class Prediction(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = work.network

        def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
            prediction: Tensor = self.network(noisy, timesteps).sample
            return prediction

    def loss(prediction: Tensor, noise: Tensor) -> Tensor:
        return (prediction - noise).square().flatten(1).mean(1)

    train, queries = samples_of(work)
    attributor = Contiguous(
        Prediction().eval(),
        train,
        ["the weights as they are"],
        checkpoints_load_func=lambda model, path: 1.0,
        loss_fn=loss,
        batch_size=batch_size,
    )

    def run() -> Tensor:
        scores: Tensor = attributor.influence(DataLoader(queries, batch_size=batch_size))
        return scores

    return run


STEPS: dict[str, Callable[[Workload], Step]] = {
    "this engine": ours,
    "dattri TracInAttributor": dattri,
    f"Captum TracInCP, batches of {BATCH}": lambda work: captum(work, BATCH),
    "Captum TracInCP, batches of 1": lambda work: captum(work, 1),
}
"""What to time, by name; ours first."""
