"""Checks and measures on a GPU: ``python -m retrac_adapters.measuring.gpu_check --device cuda``.

Checks: the scores of float64 and float32 against the CPU's, those of bfloat16 against float32's,
with TF32 as torch has it and without, at two batch sizes, and from run to run. Measures: samples a
second of an attribution against a plain forward and backward pass over as many samples, at several
batch and block sizes, and the peak of memory, at one and three checkpoints against the law of
``attribution.budget``. Prints one line a fact, writes them as a table and as JSON on request, and
exits with 1 if a check fails.

``--device cpu --size tiny`` tries the script itself on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from retrac_adapters.measuring.gpu_check.measures import (
    check,
    measure,
    measure_blocks,
    measure_memory,
)
from retrac_adapters.measuring.gpu_check.setting import SIZES, setting_of
from retrac_plugin.model.devices import usable_device


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="cifar")
    parser.add_argument("--json", type=Path, help="where to write the facts")
    parser.add_argument("--table", type=Path, help="where to write them as a table")
    chosen = parser.parse_args(arguments)
    device, facts, failed = str(usable_device(chosen.device)), {}, []
    setting = setting_of(chosen.size)

    def report(what: str, value: float, bound: float | None = None) -> None:
        facts[what] = value
        wrong = bound is not None and not value <= bound
        failed.extend([what] * wrong)
        told = "" if bound is None else f"  (at most {bound:g}){'  FAILED' if wrong else ''}"
        print(f"{what}: {value:.4g}{told}", flush=True)

    for part in (check, measure, measure_memory, measure_blocks):
        part(setting, device, report)
    if chosen.json:
        chosen.json.write_text(json.dumps(facts, indent=1))
    if chosen.table:
        lines = [f"| {what} | {value:.4g} |" for what, value in facts.items()]
        chosen.table.write_text("\n".join([f"| {device} | |", "| --- | --- |", *lines, ""]))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
