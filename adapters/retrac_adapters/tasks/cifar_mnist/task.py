"""The CIFAR-MNIST task: do zeros intrude among the proponents of airplanes?

Nothing is retrained, so there is no LDS; what is measured is specificity, the share of zeros, image
tracing and norm bias, as in the paper.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo.generating import generate
from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.starting import from_scratch
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.cifar_mnist.data import find, load
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence

QUERY_DRAWS = retrac.Strided(10, noise_draws=4, seed=0)
SHARED_DRAWS = retrac.Shared(10, seed=0)
"""Of methods that take both sides at the same timesteps: four noise draws would take hours."""


@dataclass(frozen=True)
class CifarMnist:
    """A ``benchmarks.TaskSource``.

    Attributes:
        name: What users type.
        data: The ``.npz``; None: where ``RETRAC_SHARED`` says.
        airplanes: In the training set.
        zeros: In the training set; 3.85% as in the paper.
        side: Height and width the images are shrunk to.
        channels: Of the U-Net's levels.
        epochs: Passes over the training set.
        checkpoints: Saved after equal stretches.
        learning_rate: Adam's, constant after a twelfth of the steps, as the paper's is.
        queries: Queries of each kind.
        loss: What the model is trained and attributed by: ``"mse"``, or ``"l1"`` as the paper's.
    """

    name: str = "cifar-mnist"
    data: Path | None = None
    airplanes: int = 5000
    zeros: int = 200
    side: int = 16
    channels: tuple[int, ...] = (16, 32, 64)
    epochs: int = 48
    checkpoints: int = 3
    learning_rate: float = 2e-3
    queries: int = 32
    loss: str = "mse"

    def prepare(self, directory: Path) -> Task:
        """Train the model, or read it where it was; see ``TaskSource``."""
        images, is_zero = load(find(self.data), self.airplanes, self.zeros, self.side)
        recipe = self.recipe()
        start = from_scratch(recipe, self.loss)
        train_once(images, recipe, directory / "run", start)
        run = start.read(directory / "run")
        generated = generate(directory / "run", recipe, self.queries, seed=0)
        return Task(
            name=self.name,
            model=run.model,
            checkpoints=run.checkpoints,
            train=images,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            queries=(
                self._traced("airplanes", images, is_zero, 0),
                self._traced("zeros", images, is_zero, self.airplanes),
                Queries("generated", generated, _generated(generated, images, is_zero)),
            ),
            batch_size=80,
            shared_draws=SHARED_DRAWS,
            about={
                "training set": f"{self.airplanes} of the paper's 5,000 airplanes and {self.zeros} "
                f"of its 200 zeros, shrunk from 32x32 to {self.side}x{self.side}",
                "parameters": sum(p.numel() for p in run.model.network.parameters()),
                "recipe": asdict(recipe),
                "query draws": repr(QUERY_DRAWS),
                "shared draws": repr(SHARED_DRAWS),
                "loss": self.loss,
                "unlike the paper, which trains with l1": "a smaller network, fewer steps",
            },
        )

    def regenerate(self, directory: Path) -> Path:
        """Refuse: nothing is retrained.

        Raises:
            InputError: Always.
        """
        raise InputError("the CIFAR-MNIST task has no ground truth of retraining to regenerate")

    def recipe(self) -> Recipe:
        """Return how its model is trained."""
        steps = self.epochs * ((self.airplanes + self.zeros) // 50)
        return Recipe(
            network=self._network(),
            scheduler={
                "num_train_timesteps": 1000,
                "beta_schedule": "squaredcos_cap_v2",
                "prediction_type": "epsilon",
                "clip_sample": True,
                "timestep_spacing": "leading",
            },
            steps=steps,
            batch_size=50,
            learning_rate=self.learning_rate,
            warmup_steps=steps // 12,
            decay_start=steps,
            final_learning_rate=self.learning_rate,
            checkpoint_steps=tuple(
                steps * (k + 1) // self.checkpoints for k in range(self.checkpoints)
            ),
            seed=0,
            sampling_steps=100,
        )

    def _network(self) -> dict[str, Any]:
        levels = len(self.channels)
        return {
            "sample_size": self.side,
            "in_channels": 3,
            "out_channels": 3,
            "block_out_channels": self.channels,
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D",) * levels,
            "up_block_types": ("UpBlock2D",) * levels,
            "norm_num_groups": 4,
            "attention_head_dim": 8,
            "dropout": 0.0,
        }

    def _traced(self, name: str, images: Tensor, is_zero: Tensor, first: int) -> Queries:
        """Return evenly spaced training images of one kind as queries."""
        count = self.zeros if first else self.airplanes
        chosen = first + torch.arange(min(self.queries, count)) * count // min(self.queries, count)
        evidence = Evidence(
            train_labels=is_zero.long(),
            query_labels=is_zero[chosen].long(),
            train_is_minority=is_zero,
            query_is_minority=is_zero[chosen],
            query_train_index=chosen,
        )
        return Queries(name, images[chosen], evidence)


def _generated(pictures: Tensor, images: Tensor, is_zero: Tensor) -> Evidence:
    """Take each picture for what its pixels are nearer to, the mean zero or the mean airplane."""
    means = torch.stack([images[~is_zero].mean(0), images[is_zero].mean(0)])
    nearest = torch.cdist(pictures.flatten(1), means.flatten(1)).argmin(1)
    return Evidence(
        train_labels=is_zero.long(),
        query_labels=nearest,
        train_is_minority=is_zero,
        query_is_minority=nearest.bool(),
    )


REDUCED = CifarMnist()
"""What ``retrac benchmark cifar-mnist`` runs: the whole set at half the resolution."""

REDUCED_L1 = CifarMnist(name="cifar-mnist-l1", loss="l1")
"""What ``retrac benchmark cifar-mnist-l1`` runs: the same, trained with the absolute error."""

WHOLE = CifarMnist(
    name="cifar-mnist-whole",
    side=32,
    channels=(64, 128, 256),
    epochs=500,
    checkpoints=10,
    learning_rate=1e-4,
)
"""The paper's set at its resolution, for a GPU."""
