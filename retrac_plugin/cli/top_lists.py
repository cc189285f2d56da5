"""The proponents and opponents of each picture, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.numbers import signed

if TYPE_CHECKING:
    from retrac_plugin.attribution.scores import Scores


def top_lists(scores: Scores, k: int) -> Iterator[str]:
    """Yield two lines a query: its strongest proponents, and its strongest opponents.

    A proponent has a score above 0 and an opponent one below; where there is none, the line says
    what the nearest are instead.
    """
    highest, lowest = scores.proponents(k).indices, scores.opponents(k).indices
    for query, picture in enumerate(scores.query_names):
        yield f"{picture}: {_proponents(scores, query, highest[query].tolist())}"
        yield f"{picture}: {_opponents(scores, query, lowest[query].tolist())}"


def _proponents(scores: Scores, query: int, highest: list[int]) -> str:
    found = [i for i in highest if scores.values[query, i] > 0]
    if found:
        return f"proponents {_named(scores, query, found)}"
    return f"no proponents, no score is above 0; the highest {_named(scores, query, highest)}"


def _opponents(scores: Scores, query: int, lowest: list[int]) -> str:
    found = [i for i in lowest if scores.values[query, i] < 0]
    if found:
        return f"opponents {_named(scores, query, found)}"
    return f"no opponents, no score is below 0; the lowest {_named(scores, query, lowest)}"


def _named(scores: Scores, query: int, samples: list[int]) -> str:
    values = signed(scores.values[query, samples].tolist())
    return ", ".join(
        f"{scores.train_names[i]} ({value}{_errors(scores, query, i)})"
        for i, value in zip(samples, values, strict=True)
    )


def _errors(scores: Scores, query: int, sample: int) -> str:
    if scores.standard_errors is None or scores.rank_errors is None:
        return ""
    error, rank = scores.standard_errors[query, sample], scores.rank_errors[query, sample]
    return f" ± {error:.1g}, rank ± {rank:.1f}"


def write_tops(scores: Scores, k: int, path: Path) -> None:
    """Write the ends of each query's list as CSV.

    Raises:
        OutputError: If it cannot be written.
    """
    from retrac_plugin.attribution.top_records import TopRecord, top_records
    from retrac_plugin.benchmarks.csv_files import write_records
    from retrac_plugin.errors.guards import writing

    with writing(path):
        write_records(TopRecord, map(asdict, top_records(scores, k)), path)


def answer_of(
    scores: Mapping[str, Scores], k: int, out: Path, findings: list[str], page: Path | None
) -> dict[str, Any]:
    """Return what `retrac attribute --json` prints.

    Args:
        scores: By the name of the method.
        k: Proponents and opponents of each query.
        out: Folder of the files of scores.
        findings: What was recorded and what was not, a line each.
        page: Where the page lies, or None.
    """
    return {
        "findings": findings,
        "methods": {
            name: {
                "scores": str(out / f"{name}.safetensors"),
                "queries": [_listed(each, query, k) for query in range(len(each.values))],
            }
            for name, each in scores.items()
        },
        "page": page,
    }


def _listed(scores: Scores, query: int, k: int) -> dict[str, Any]:
    """Return a query's proponents, above 0, and opponents, below it, the strongest first."""
    highest, lowest = scores.proponents(k).indices[query], scores.opponents(k).indices[query]
    values = scores.values[query]
    return {
        "query": scores.query_names[query],
        "proponents": [_one(scores, query, i) for i in highest.tolist() if values[i] > 0],
        "opponents": [_one(scores, query, i) for i in lowest.tolist() if values[i] < 0],
    }


def _one(scores: Scores, query: int, sample: int) -> dict[str, Any]:
    places = scores.train_positions
    found = {
        "index": sample if places is None else int(places[sample]),
        "name": scores.train_names[sample],
        "score": scores.values[query, sample].item(),
    }
    errors = {"standard_error": scores.standard_errors, "rank_error": scores.rank_errors}
    told = {name: e[query, sample].item() for name, e in errors.items() if e is not None}
    return {**found, **told}
