"""Numbers that the results pages commit, for the pages that cite them."""

import csv
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def value(task, method, queries, metric):
    """Return a value of ``results/TASK/rows.csv`` with its interval, as text."""
    with (RESULTS / task / "rows.csv").open() as file:
        wanted = method, queries, metric
        (row,) = (
            r for r in csv.DictReader(file) if (r["method"], r["queries"], r["metric"]) == wanted
        )
    return "{:.2f} [{:.2f}, {:.2f}]".format(
        *(float(row[name]) for name in ("value", "low", "high"))
    )


def curve(method, queries, noise):
    """Return passes a sample and LDS of ``results/digits/curve.csv``."""
    with (RESULTS / "digits" / "curve.csv").open() as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if (r["method"], r["queries"], r["noise"]) == (method, queries, noise)
        ]
    return {int(row["passes_each"]): float(row["value"]) for row in rows}
