"""The page that the measurements are written to."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import Distribution, version

from retrac_plugin import plugins
from tests.attributor_table.measure import Measured
from tests.attributor_table.pairs import Pair
from tests.twins.small_run import QUERIES, TRAIN

PACKAGES = ("torch", "diffusers", "captum", "dattri", "kronfluence", "scikit-learn")

HEAD = f"""# All attributors, measured

Written by `python -m tests.attributor_table --out docs/results/attributors.md --demo DIR`, which
measures whatever `retrac list` shows (`DIR` is what `retrac demo` wrote).
The run: a `UNet2DModel` of 10,709 parameters with attention in its
middle, trained on scikit-learn's first {TRAIN} digits for 40 steps with Adam (seed 0) and
recorded; checkpoints after steps 20 and 40. Queries: the next {QUERIES} digits, at 5 timesteps with
2 noise draws each (`Strided(5, noise_draws=2, seed=0)`). Training samples: at their recorded draws,
or, where a method shares them, at the queries'.

- **error**: the largest difference from the method's own definition, in plain loops over single
  samples and in float64, over the largest score. Both sides then attribute 117 parameters
  (`time_embedding.linear_1` and `conv_out`), so that matrices can be formed whole, and a method
  gets the settings in the last column: no random projection, or enough iterations.
- **seconds** (wall time, the first call, one thread) and **peak MiB** (of the whole process,
  PyTorch included; `random` is what that takes, to which a framework's import adds) are of one call
  with the method's defaults, in float32, with all parameters attributed, each in a process of its
  own.

Machine: {{machine}}. Others were at work on it: seconds are no benchmark.

"""

PAIRS = """
## Side by side

The same run, draws and loaders, all parameters attributed. Difference: the largest in float64, over
the largest score. CPU seconds: medians of {repeats} interleaved calls in float32, one thread.

"""


def page(
    measured: Sequence[Measured],
    pairs: Sequence[Pair],
    others: Sequence[tuple[str, Sequence[Pair]]],
    repeats: int,
) -> str:
    """Return the page as Markdown.

    Args:
        measured: The attributors.
        pairs: Of the small run.
        others: Of other runs, with what to say about each.
        repeats: Calls that a median is of.
    """
    installed = [name for name in PACKAGES if any(Distribution.discover(name=name))]
    packages = ", ".join(f"{name} {version(name)}" for name in installed)
    machine = f"{platform.machine()} CPU, Python {platform.python_version()}, {packages}"
    parts = [
        HEAD.format(machine=machine),
        *map(_line, [_HEADINGS, _rule(7), *map(_cells, measured)]),
    ]
    parts += [PAIRS.format(repeats=repeats), *_pairs(pairs)]
    for about, found in others:
        parts += [f"\n{about}\n\n", *_pairs(found)]
    return "".join(parts)


_HEADINGS = ["attributor", "from", "runs", "error", "seconds", "peak MiB", "settings for the error"]


def _cells(row: Measured) -> list[str]:
    entry, _ = plugins.attributors()[row.name]
    return [
        f"`{row.name}`",
        entry.source,
        row.runs,
        row.why_not if row.error is None else f"{row.error:.0e}",
        "" if row.seconds is None else f"{row.seconds:.2f}",
        "" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        f"`{row.settings}`" if row.settings else "",
    ]


def _pairs(pairs: Sequence[Pair]) -> list[str]:
    head = ["ours", "beside", "difference", "ours, CPU s", "beside, CPU s", "ratio"]
    rows = [
        [
            f"`{pair.ours}`",
            pair.theirs,
            f"{pair.difference:.0e}",
            *(f"{seconds:.2f}" for seconds in pair.seconds),
            f"{pair.seconds[1] / pair.seconds[0]:.1f}",
        ]
        for pair in pairs
    ]
    return [_line(cells) for cells in (head, _rule(len(head)), *rows)]


def _rule(columns: int) -> list[str]:
    return ["---"] * columns


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
