"""The figures of a benchmark, each in a file of its own; needs matplotlib.

Each is a function that returns a matplotlib figure, or None where the results have not what it
shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.benchmarks.figures.cost import cost_against_quality
from retrac_plugin.benchmarks.figures.generated import generated_pictures
from retrac_plugin.benchmarks.figures.lds import lds_with_controls
from retrac_plugin.benchmarks.figures.norms import influence_of_norms
from retrac_plugin.benchmarks.figures.proponents import proponents_by_method
from retrac_plugin.benchmarks.figures.specificity import specificity_by_length
from retrac_plugin.benchmarks.figures.timesteps import norms_by_timestep
from retrac_plugin.benchmarks.outcome import Outcome
from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.task import Task
from retrac_plugin.report.figures.style import save

__all__ = ["cost_against_quality", "draw_figures", "lds_with_controls"]


def draw_figures(
    task: Task, outcomes: Sequence[Outcome], rows: Sequence[Row], out: Path
) -> list[Path]:
    """Draw every figure that the results allow; return where they were written.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    figures = {
        "lds": lds_with_controls(rows),
        "cost": cost_against_quality(rows),
        "specificity": specificity_by_length(task, outcomes),
        "norms": influence_of_norms(task, outcomes),
        "timesteps": norms_by_timestep(task, outcomes),
        "generated": generated_pictures(task),
        "proponents": proponents_by_method(task, outcomes),
    }
    return [
        save(figure, out / f"{name}.png") for name, figure in figures.items() if figure is not None
    ]
