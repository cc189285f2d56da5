"""The figures of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.scoring import Outcome
from retrac_plugin.benchmarks.task import Task


def draw_figures(
    task: Task, outcomes: Sequence[Outcome], rows: Sequence[Row], out: Path
) -> list[Path]:
    """X."""
    return []
