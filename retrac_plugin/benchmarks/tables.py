"""Writes a benchmark's rows: CSV, JSON with the configuration, and Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from retrac_plugin.benchmarks.csv_files import write_records
from retrac_plugin.benchmarks.differences import Difference, comparisons
from retrac_plugin.benchmarks.rows import Row, reasons_of
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import reading
from retrac_plugin.files import write_atomically

COLUMNS_EACH = 5
"""Metrics in one Markdown table; more would not fit a page."""


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write one line a row."""
    records = (
        {**asdict(row), "options": json.dumps(row.options) if row.options else ""} for row in rows
    )
    write_records(Row, records, path)


def write_json(rows: Sequence[Row], about: Mapping[str, Any], path: Path) -> None:
    """Write the rows and how they were made."""
    text = json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=1)
    write_atomically(path, lambda file: file.write_text(text + "\n"))


def read_rows(path: str | Path) -> list[Row]:
    """Read the rows of a benchmark, such as ``results/rows.json``.

    Raises:
        InputError: If they cannot be read.
    """
    return read_json(Path(path))[0]


def read_json(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """Read what ``write_json`` wrote: the rows, and how they were made.

    Raises:
        InputError: If they cannot be read.
    """
    with reading(path, InputError, "the rows"):
        held = json.loads(path.read_text(encoding="utf-8"))
        return [Row(**row) for row in held["rows"]], dict(held["about"])


def write_markdown(rows: Sequence[Row], differences: Sequence[Difference], path: Path) -> None:
    """Write tables for people.

    Cost, then each kind of query, then which method is clearly above which, then what is missing
    and why.
    """
    parts = ["## Cost", "", *_cost(rows)]
    for queries in dict.fromkeys(row.queries for row in rows):
        own = [row for row in rows if row.queries == queries]
        names = list(dict.fromkeys(row.metric for row in own if row.value is not None))
        for start in range(0, len(names), COLUMNS_EACH):
            chunk = names[start : start + COLUMNS_EACH]
            parts += ["", f"## Queries: {queries}", "", *_metrics(own, chunk)]
        if of_kind := [each for each in differences if each.queries == queries]:
            parts += [
                "",
                "By LDS, with queries and subsets resampled together, each method is:",
                "",
            ]
            parts += _clear(of_kind)
    parts += ["", "## Not measured", "", *_missing(rows)]
    write_atomically(path, lambda file: file.write_text("\n".join(parts) + "\n"))


def _cost(rows: Sequence[Row]) -> list[str]:
    by_method = {row.method: row for row in rows if row.seconds is not None}
    body = [
        [
            name,
            f"{row.seconds:.1f}",
            "" if row.passes is None else f"{row.passes:,}",
            "" if row.peak_mib is None else f"{row.peak_mib:.0f}",
            ", ".join(f"{k} {v:g}" for k, v in (row.options or {}).items()),
        ]
        for name, row in by_method.items()
    ]
    return _table(["method", "seconds", "passes", "peak MiB", "chosen"], body)


def _metrics(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    cells = {(row.method, row.metric): _cell(row) for row in rows if row.value is not None}
    methods = dict.fromkeys(row.method for row in rows)
    body = [
        [method, *(cells.get((method, name), "") for name in names)]
        for method in methods
        if any((method, name) in cells for name in names)
    ]
    directions = {row.metric: row.higher_is_better for row in rows}
    return _table(["method", *(f"{name}{_arrow(directions[name])}" for name in names)], body)


def _clear(differences: Sequence[Difference]) -> list[str]:
    """Return a table of how many methods each is clearly above and below, and which it is not."""
    body = [
        [each.method, str(len(each.above)), str(len(each.below)), ", ".join(sorted(each.unclear))]
        for each in comparisons(differences)
    ]
    return _table(["method", "above", "below", "not told apart from"], body)


def _missing(rows: Sequence[Row]) -> list[str]:
    return [
        f"- {reason} ({cases[0]}{f' and {len(cases) - 1} more' if len(cases) > 1 else ''})"
        for reason, cases in reasons_of(rows).items()
    ] or ["Nothing."]


def _cell(row: Row) -> str:
    if row.low is None or row.high is None:
        return f"{row.value:.3g}"
    return f"{row.value:.3g} [{row.low:.2g}, {row.high:.2g}]"


def _arrow(higher_is_better: bool | None) -> str:
    return {True: " ↑", False: " ↓", None: ""}[higher_is_better]


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(line) + " |" for line in lines]
