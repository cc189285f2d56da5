"""The command: measures, then writes the page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
import torch
from safetensors.torch import load_file

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.extras import missing
from retrac_plugin.files import write_atomically
from retrac_plugin.progress import over
from tests.attributor_table.alone import measure_alone
from tests.attributor_table.measure import Measured
from tests.attributor_table.page import page
from tests.attributor_table.pairs import compare
from tests.twins.small_run import SmallRun, small_run

DEMO_TRAIN, DEMO_QUERIES = 32, 2


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("retrac-attributors"),
    show_default=True,
    help="Folder for the run and what was measured; what is there is not measured again.",
)
@click.option("--only", multiple=True, help="An attributor's name; default: all. Repeat for more.")
@click.option("--repeats", default=5, show_default=True, help="Calls that a median is of.")
@click.option(
    "--limit", default=300, show_default=True, help="Seconds that one attributor may take."
)
@click.option("--demo", type=click.Path(exists=True, path_type=Path), help="Folder of retrac demo.")
def main(
    out: Path, work: Path, only: tuple[str, ...], repeats: int, limit: int, demo: Path | None
) -> None:
    """Measure every registered attributor on a small run, and write the page."""
    torch.set_num_threads(1)
    run = small_run(work / "run")
    names = only or tuple(plugins.attributors())
    rows = [measured(name, work, limit) for name in over(names, "attributors", "attributor")]
    others = []
    if demo is not None:
        demo_run = _demo_run(demo)
        about = (
            f"On a run of `retrac demo`: {len(demo_run.checkpoints)} checkpoints, the first "
            f"{DEMO_TRAIN} of its training samples at their recorded draws, the first "
            f"{DEMO_QUERIES} of its pictures."
        )
        others.append((about, compare(demo_run, repeats)))
    text = page(rows, compare(run, repeats), others, repeats)
    write_atomically(out, lambda path: path.write_text(text))


def measured(name: str, work: Path, limit: int) -> Measured:
    """Return what is found about an attributor, now or before, in a process of its own."""
    entry, _ = plugins.attributors()[name]
    if missing(entry.needs):
        return Measured(name, f"needs {', '.join(missing(entry.needs))}, not installed")
    kept = work / f"{name}.json"
    if not kept.is_file():
        found = measure_alone(name, work / "run", limit)
        write_atomically(kept, lambda path: path.write_text(json.dumps(asdict(found))))
    return Measured(**json.loads(kept.read_text()))


def _demo_run(directory: Path) -> SmallRun:
    """Return the demo's run with a few of its training samples, their recorded draws given."""
    run = retrac.read_run(directory / "run")
    if run.trace is None:
        raise click.ClickException(f"{str(directory)!r} holds no recorded run")
    train = load_file(directory / "train.safetensors")["sample"][:DEMO_TRAIN]
    queries = load_file(directory / "generated.safetensors")["sample"][:DEMO_QUERIES]
    ids = list(range(DEMO_TRAIN))
    visits = torch.stack([run.trace.last_visits(ids, c.step or 0) for c in run.checkpoints])
    noise = run.trace.noise(visits.flatten(), train.shape[1:])
    draws = retrac.Given(run.trace.timesteps[visits], noise.view(len(visits), *train.shape))
    return SmallRun(run.model, list(run.checkpoints), train, queries, draws)
