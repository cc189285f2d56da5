"""The figures of a benchmark, each in a file of its own; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.benchmarks.figures.cost import draw_cost
from retrac_plugin.benchmarks.figures.generated import draw_generated
from retrac_plugin.benchmarks.figures.lds import draw_lds
from retrac_plugin.benchmarks.figures.norms import draw_norms
from retrac_plugin.benchmarks.figures.proponents import draw_proponents
from retrac_plugin.benchmarks.figures.specificity import draw_specificity
from retrac_plugin.benchmarks.figures.timesteps import draw_timesteps
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.task import Task


def draw_figures(
    task: Task, outcomes: Sequence[Outcome], rows: Sequence[Row], out: Path
) -> list[Path]:
    """Draw every figure that the results allow; return where they were written.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    drawn = (
        draw_lds(rows, out / "lds.png"),
        draw_cost(rows, out / "cost.png"),
        draw_specificity(task, outcomes, out / "specificity.png"),
        draw_norms(task, outcomes, out / "norms.png"),
        draw_timesteps(task, outcomes, out / "timesteps.png"),
        draw_generated(task, out / "generated.png"),
        draw_proponents(task, outcomes, out / "proponents.png"),
    )
    return [path for path in drawn if path is not None]
