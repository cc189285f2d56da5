"""``python -m retrac_adapters.measuring.store_benchmark --out FOLDER --scratch FOLDER``."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch

from retrac_adapters.measuring.store_benchmark.results import added_to
from retrac_adapters.measuring.store_benchmark.synthetic import ask, fill, plainly, reading
from retrac_plugin.cli.telling import tell

SHAPES = {"10 timesteps of 512": (10, 512), "one row of 4096": (4096,)}


@click.command()
@click.option("--samples", multiple=True, type=int, default=(10_000, 100_000, 1_000_000))
@click.option("--shape", "shapes", multiple=True, type=click.Choice(list(SHAPES)), default=SHAPES)
@click.option("--rows", default="float16", type=click.Choice(["float32", "float16", "int8"]))
@click.option("--rounds", default=3, show_default=True, help="Each question is asked so often.")
@click.option("--threads", default=1, show_default=True)
@click.option("--scratch", type=click.Path(path_type=Path), required=True, help="For the stores.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For results.json.")
def main(
    samples: tuple[int, ...],
    shapes: tuple[str, ...],
    rows: str,
    rounds: int,
    threads: int,
    scratch: Path,
    out: Path,
) -> None:
    """Ask stores of random rows for top lists, and compare with reading their files plainly."""
    torch.set_num_threads(threads)
    with added_to(out / "results.json") as results:
        for name, count in product(shapes, samples):
            folder = scratch / f"{count}-{name.replace(' ', '-')}-{rows}"
            found = _measure(folder, count, SHAPES[name], rows, rounds)
            results[f"{count} samples, {name}, {rows}, {threads} threads"] = found
            tell(f"{count} samples, {name}: {found}")


def _measure(
    folder: Path, samples: int, shape: tuple[int, ...], rows: str, rounds: int
) -> dict[str, Any]:
    """Return medians of rounds in which plain reading and the questions take turns."""
    filled = fill(folder, samples, shape, rows)
    plain, one, hundred = [], [], []
    for _ in range(rounds):
        plain.append(reading(plainly, filled))
        one.append(ask(filled, shape, 1))
        hundred.append(ask(filled, shape, 100))
    seconds = [median(asked.seconds for asked in each) for each in (one, hundred)]
    cpu_seconds = [median(asked.cpu_seconds for asked in each) for each in (one, hundred)]
    plain_seconds, plain_cpu_seconds = map(median, zip(*plain, strict=True))
    return {
        "bytes": sum(shard.path.stat().st_size for shard in filled.shards()),
        "one query, seconds": seconds[0],
        "one query, CPU seconds": cpu_seconds[0],
        "100 queries, seconds": seconds[1],
        "100 queries, CPU seconds": cpu_seconds[1],
        "read plainly, seconds": plain_seconds,
        "read plainly, CPU seconds": plain_cpu_seconds,
        "of plain reading": plain_seconds / seconds[0],
        "of plain reading, CPU seconds": plain_cpu_seconds / cpu_seconds[0],
        "peak memory, bytes": max(asked.peak or 0 for asked in [*one, *hundred]),
    }


if __name__ == "__main__":
    main()
