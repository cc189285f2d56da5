"""The demo from training set to page."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

import retrac_plugin as retrac
from retrac_adapters.demo import data as demo_data
from retrac_adapters.demo.generating import generate
from retrac_adapters.demo.labelling import label
from retrac_adapters.demo.outcome import Outcome
from retrac_adapters.demo.recipe import RECIPES
from retrac_adapters.demo.showing import print_table, show
from retrac_adapters.demo.training import train_once
from retrac_plugin.attribution.attributors import DiffusionAttributor
from retrac_plugin.attribution.breakdown import break_together
from retrac_plugin.attribution.pairs import strongest
from retrac_plugin.cli.telling import tell
from retrac_plugin.files import write_atomically
from retrac_plugin.report import Report
from retrac_plugin.runs.run import Run

PICTURES = 16
"""How many are generated and explained."""

BROKEN_DOWN = 3
"""Proponents, and as many opponents, whose scores are split over checkpoints and timesteps."""

QUERY_DRAWS = retrac.Strided(10, noise_draws=4, seed=0)
BATCH_SIZE = 128


def run_demo(out: Path, recipe_name: str, seed: int, command: str) -> Report:
    """Train, generate, attribute, write everything below ``out``; return what the page shows."""
    # One thread: so small images leave little to share, and threads that contend are far slower.
    torch.set_num_threads(1)
    outcome = _find_out(out, recipe_name, seed)
    for scores, breakdown in zip(outcome.scores, outcome.breakdowns, strict=True):
        name = scores.about["method"].lower()
        scores.save(out / "scores" / f"{name}.safetensors")
        breakdown.save(out / "scores" / f"{name}-breakdown.safetensors")
    _save_images(out / "train.safetensors", outcome.data.images)
    _save_images(out / "generated.safetensors", outcome.pictures)
    report = show(outcome, out, command, seed)
    print_table(report)
    return report


def _find_out(out: Path, recipe_name: str, seed: int) -> Outcome:
    recipe, data = RECIPES[recipe_name], demo_data.load()
    seconds, start = {}, time.perf_counter()
    if not train_once(data.images, recipe, out / "run"):
        tell(f"using the run that is already in {out / 'run'}")
    seconds["training"] = time.perf_counter() - start

    start = time.perf_counter()
    pictures = generate(out / "run", recipe, PICTURES, seed)
    labels, accuracy = label(pictures, data)
    seconds["generating"] = time.perf_counter() - start

    start = time.perf_counter()
    run = retrac.read_run(out / "run")
    tell(run.description)
    attributors = _attributors(run)
    scores = [
        replace(each, train_names=data.names)
        for each in retrac.attribute_together(attributors, data.images, pictures)
    ]
    pairs = strongest(scores, BROKEN_DOWN)
    breakdowns = break_together(attributors, data.images, pictures, pairs)
    seconds["attributing"] = time.perf_counter() - start
    return Outcome(data, run, pictures, labels, accuracy, scores, breakdowns, seconds)


def _attributors(run: Run) -> list[DiffusionAttributor]:
    return [
        method(
            run.model,
            run.checkpoints,
            train_draws=run.train_draws,
            query_draws=QUERY_DRAWS,
            batch_size=BATCH_SIZE,
        )
        for method in (retrac.DiffusionTracIn, retrac.DiffusionReTrac)
    ]


def _save_images(path: Path, images: Tensor) -> None:
    write_atomically(path, lambda file: save_file({"sample": images.contiguous()}, file))
