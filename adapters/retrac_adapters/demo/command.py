"""``retrac demo``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrac_plugin.cli.examples import example
from retrac_plugin.cli.output import check_output
from retrac_plugin.cli.telling import tell
from retrac_plugin.cli.voice import answer, as_json, quiet
from retrac_plugin.extras import requires

if TYPE_CHECKING:
    from retrac_plugin.report import Report


@click.command(epilog=example("retrac demo --out retrac-demo"))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-demo"),
    show_default=True,
    help="Folder for the run, the pictures, the scores and the page.",
)
@click.option(
    "--recipe",
    type=click.Choice(["demo", "quick"]),
    default="demo",
    show_default=True,
    help="quick trains for a second, to see whether everything works; its pictures are noise.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the generated pictures.")
@quiet
@as_json
def demo(out: Path, recipe: str, seed: int) -> None:
    """Train a small model on pieces of photographs and see which of them made its pictures.

    Trains a U-Net on 1,152 pieces of three photographs, which scikit-learn and matplotlib bring,
    and a planted minority of 48 digits, recording every timestep; generates 16 pictures; attributes
    them with Diffusion-TracIn and Diffusion-ReTrac; writes a page. Four minutes on one CPU core; a
    second call trains nothing.
    """
    with requires("retrac demo", "demo"):
        from retrac_adapters.demo.pipeline import run_demo

        check_output(out / "index.html")  # what fails at the end is told of before the work
        check_output(out / "scores" / "diffusion-retrac.safetensors")
        report = run_demo(out, recipe, seed, command=" ".join(["retrac", *sys.argv[1:]]))
    tell(f"\nThe page: {(out / 'index.html').resolve().as_uri()}")
    answer(lambda: _answer(out, report))


def _answer(out: Path, report: Report) -> dict[str, Any]:
    methods = [method.name for method in report.methods]
    return {
        "page": out / "index.html",
        "run": out / "run",
        "metrics": [
            {
                "name": row.name,
                "values": dict(zip(methods, row.values, strict=True)),
                "chance": row.chance,
            }
            for row in report.rows
        ],
    }
