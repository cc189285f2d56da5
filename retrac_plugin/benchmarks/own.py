"""A person's own run as a task: no retraining, so only metrics that need none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.benchmarks.task import Queries, Task
from retrac_plugin.draws import Shared, Strided
from retrac_plugin.errors import InputError
from retrac_plugin.metrics import Evidence
from retrac_plugin.runs.reading import read_run


@dataclass(frozen=True)
class OwnRun:
    """A ``TaskSource``.

    Attributes:
        run: The folder of the training run.
        train: The training set: what ``retrac attribute --train`` takes.
        queries: The pictures to explain, likewise.
        loss: The loss that the run was trained with.
    """

    run: Path
    train: Path
    queries: Path
    loss: str = "mse"

    def prepare(self, directory: Path) -> Task:
        """Read everything; see ``TaskSource``."""
        run = read_run(self.run, self.loss)
        train, queries = run.train_examples(self.train), run.query_examples(self.queries)
        train.prepare()
        queries.prepare()
        draws = Strided(10, noise_draws=4)
        return Task(
            name=self.run.name,
            model=run.model,
            checkpoints=run.checkpoints,
            train=train,
            train_draws=run.train_draws,
            query_draws=draws,
            shared_draws=Shared(10),
            queries=(Queries("own", queries, Evidence()),),
            about={
                "training set": f"{len(train)} images of {self.train.name}",
                **({"remark": train.remark} if train.remark else {}),
                "query draws": repr(draws),
                "run": run.description.splitlines(),
            },
        )

    def regenerate(self, directory: Path) -> Path:
        """Refuse: retraining is the run's owner's affair.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"{str(self.run)!r} has no recipe to retrain by: a task of your own with ground truth "
            "is a plugin's, see retrac_register_tasks"
        )
