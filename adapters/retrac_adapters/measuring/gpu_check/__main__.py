"""Checks and measures on a GPU: ``python -m retrac_adapters.measuring.gpu_check --device cuda``.

Checks scores against those of plain loops, of the CPU, of other batches and of the same call again,
and memory against its law; measures what TF32 does to the demo's scores, and how fast attributions
are beside plain passes, by size, type, batch and block. Each part has its own time, all together
ten minutes: one that takes longer is cut, and says so; one that fails lets the others go on. Prints
every fact, writes them as tables and as JSON on request, and exits with 1 if a check or a part
failed.

``--device cpu --scale tiny`` tries the command itself on a machine without a GPU, ``--patience 10``
gives each part ten times its time.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from retrac_adapters.measuring.engine_benchmark.writing import machine
from retrac_adapters.measuring.gpu_check.parts import PARTS, Outcome, run
from retrac_adapters.measuring.gpu_check.setting import SCALES
from retrac_plugin.files import write_atomically
from retrac_plugin.model.devices import name_of, usable_device


def main(arguments: list[str] | None = None) -> int:
    """Run, print, write, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--patience", type=float, default=1.0, help="times each part's time")
    parser.add_argument("--json", type=Path, help="where to write the facts")
    parser.add_argument("--table", type=Path, help="where to write them as tables")
    chosen = parser.parse_args(arguments)
    device = usable_device(chosen.device)
    scale = SCALES[chosen.scale]
    outcomes = [run(name, scale, device, chosen.patience) for name in chosen.part]
    about = {"device": name_of(device), **machine()}
    if chosen.json:
        found = {"about": about, "parts": [asdict(outcome) for outcome in outcomes]}
        write_atomically(chosen.json, lambda path: path.write_text(json.dumps(found, indent=1)))
    if chosen.table:
        page = _page(outcomes, about)
        write_atomically(chosen.table, lambda path: path.write_text(page))
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _page(outcomes: list[Outcome], about: dict[str, object]) -> str:
    lines = [f"- {name}: {value}" for name, value in about.items()]
    return "\n\n".join([*map(str, outcomes), "### Where\n\n" + "\n".join(lines)]) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
