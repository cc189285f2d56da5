"""The task of source injection: an adapter learns faces, and a few images that are none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from retrac_adapters.demo.recipe import Recipe
from retrac_adapters.demo.training import train_once
from retrac_adapters.tasks.faces_injected.data import FOREIGN, INJECTED, Mixed, load
from retrac_adapters.tasks.faces_lora import base as bases
from retrac_adapters.tasks.faces_lora.adapter import adapting
from retrac_adapters.tasks.faces_lora.base import ATTENDING, SIDE
from retrac_adapters.tasks.faces_lora.data import find
from retrac_adapters.tasks.faces_lora.task import PACKAGE, RATES
from retrac_adapters.tasks.retrained import truth
from retrac_adapters.tasks.retrained.recipe import recipe_for
from retrac_adapters.tasks.retrained.task import BATCH_SIZE, QUERY_DRAWS, SHARED_DRAWS
from retrac_plugin.benchmarks import Queries, Task
from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence


@dataclass(frozen=True)
class FacesInjected:
    """A ``benchmarks.TaskSource``. Nothing is retrained: where an image is from, is known.

    Attributes:
        data: The faces' ``.npz``; None: where ``RETRAC_SHARED`` says.
        rank: Of the adapter.
        epochs: Passes over the training set.
        batch_size: Images a step.
        seed: Of the adapter's training, and of what is injected.
        base: Where the base lies.
    """

    data: Path | None = None
    rank: int = 4
    epochs: int = 75
    batch_size: int = 12
    seed: int = 0
    base: Path = field(default_factory=lambda: truth.shipped(PACKAGE).with_name(bases.NAME))

    def prepare(self, directory: Path) -> Task:
        """Train the adapter, or read it where it was; see ``TaskSource``."""
        images = load(find(self.data), SIDE, self.seed)
        start = adapting(bases.read(self.base, ATTENDING), self.rank)
        recipe = self.recipe(len(images.train))
        train_once(images.train, recipe, directory / "run", start)
        run = start.read(directory / "run")
        parameters = dict(run.model.network.named_parameters())
        return Task(
            name="faces-injected",
            model=run.model,
            checkpoints=run.checkpoints,
            train=images.train,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            shared_draws=SHARED_DRAWS,
            queries=queries_of(images),
            batch_size=BATCH_SIZE,
            about={
                "training set": f"{len(images.train)} pictures: {INJECTED} digits, {INJECTED} "
                f"photo patches, the others faces, all {SIDE}x{SIDE}",
                "parameters": sum(parameters[n].numel() for n in run.model.attributed_names()),
                "recipe": asdict(recipe),
                "query draws": repr(QUERY_DRAWS),
                "draws of methods that take both sides alike": repr(SHARED_DRAWS),
                **start.about,
            },
        )

    def regenerate(self, directory: Path) -> Path:
        """Refuse: nothing is retrained.

        Raises:
            InputError: Always.
        """
        raise InputError("the task faces-injected has no ground truth of retraining to regenerate")

    def recipe(self, images: int) -> Recipe:
        """Return how the adapter is trained on so many images."""
        batch, network = self.batch_size, ATTENDING
        return recipe_for(
            images, self.seed, self.epochs, network, batch_size=batch, learning_rates=RATES
        )


def queries_of(images: Mixed) -> tuple[Queries, ...]:
    """Return held-out images of each foreign source, and faces, as kinds of query.

    The minority of a foreign source's queries is what of that source was injected; that of the
    faces is all that was.
    """
    foreign = [*FOREIGN.values()]
    sources = {name: [label] for name, label in FOREIGN.items()}
    kinds = []
    for name, wanted in (*sources.items(), ("faces", foreign)):
        labels = images.held_out_labels
        own = ~_among(labels, foreign) if name == "faces" else _among(labels, wanted)
        known = Evidence(
            train_labels=images.train_labels,
            query_labels=labels[own],
            train_is_minority=_among(images.train_labels, wanted),
            query_is_minority=_among(labels[own], wanted),
        )
        kinds.append(Queries(name, images.held_out[own], known))
    return tuple(kinds)


def _among(labels: torch.Tensor, wanted: list[int]) -> torch.Tensor:
    return torch.isin(labels, torch.tensor(wanted))


FACES_INJECTED = FacesInjected()
"""What ``retrac benchmark faces-injected`` runs."""
