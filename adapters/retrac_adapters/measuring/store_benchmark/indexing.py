"""``python -m retrac_adapters.measuring.store_benchmark.indexing --out FOLDER``: of an index."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from torch import Tensor

from retrac_adapters.measuring.store_benchmark.results import added_to
from retrac_plugin.cli.telling import tell
from retrac_plugin.store.index import FILE, HIGHEST, Index

WIDTH, CENTRES, QUERIES, PIECE = 512, 1000, 100, 4096
SPREADS = {"around 1,000 centres": 1.0, "random": None}
"""How far rows lie from their centre, which is as long; None: there are no centres."""


@click.command()
@click.option("--samples", multiple=True, type=int, default=(10_000, 100_000, 1_000_000))
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(SPREADS)), default=SPREADS)
@click.option("--threads", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For index.json.")
def main(samples: tuple[int, ...], kinds: tuple[str, ...], threads: int, out: Path) -> None:
    """Build indexes of rows of 512, and ask them and a scan for the ten highest of 100 queries."""
    torch.set_num_threads(threads)
    with added_to(out / "index.json") as results:
        for kind, count in product(kinds, samples):
            found = _measure(count, SPREADS[kind])
            results[f"{count} rows, {kind}, {threads} threads"] = found
            tell(f"{count} rows, {kind}: {found}")


def _measure(count: int, spread: float | None) -> dict[str, Any]:
    rows, queries = _drawn(count, spread, seed=1), _drawn(QUERIES, spread, seed=2)
    with tempfile.TemporaryDirectory() as folder:
        index, built = _timed(lambda: Index.build(Path(folder), _pieces(rows), count))
        exact = (queries @ rows.T).topk(HIGHEST).indices
        found = index.highest(queries, HIGHEST).indices
        hits = (found[:, :, None] == exact[:, None]).any(1)
        asked = [_timed(partial(index.highest, q[None], HIGHEST))[1] for q in queries]
        scanned = [_timed(partial(_scanned, rows, q))[1] for q in queries[:10]]
        return {
            "build, CPU seconds": built,
            "bytes": (Path(folder) / FILE).stat().st_size,
            "lists": index.about.lists,
            "lists looked through": index.about.probes,
            "recall@10 of rows in the place of queries": index.about.recall,
            "recall@10": float(hits.double().mean()),
            "a query, CPU milliseconds": median(asked) * 1000,
            "a scan in memory, CPU milliseconds": median(scanned) * 1000,
        }


def _scanned(rows: Tensor, query: Tensor) -> Tensor:
    return (rows @ query).topk(HIGHEST).indices


def _drawn(count: int, spread: float | None, seed: int) -> Tensor:
    own = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    if spread is None:
        return own
    centres = torch.randn(CENTRES, WIDTH, generator=torch.Generator().manual_seed(0))
    which = torch.randint(CENTRES, (count,), generator=torch.Generator().manual_seed(seed + 100))
    return own.mul_(spread).add_(centres[which])


def _pieces(rows: Tensor) -> Callable[[Tensor | None], Iterator[tuple[Tensor, Tensor]]]:
    def pieces(only: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        wanted = torch.arange(len(rows)) if only is None else only
        for start in range(0, len(wanted), PIECE):
            places = torch.arange(start, min(start + PIECE, len(wanted)))
            yield places, rows[wanted[places]]

    return pieces


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work gives, and the CPU's seconds: other work on the machine adds none."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


if __name__ == "__main__":
    main()
