"""Runs the training script under the recorder, and reads what the script says it did."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from click.testing import CliRunner

from retrac_plugin.cli import main

SCRIPT = Path(__file__).with_name("train.py")


def record(run, *arguments, keep="noise", script=SCRIPT):
    """Run ``retrac record`` in this process, as a fresh one would."""
    with fresh_process():
        command = ["record", "--keep", keep, str(script), "--output_dir", str(run)]
        result = CliRunner().invoke(main, [*command, *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result


@contextlib.contextmanager
def fresh_process():
    """Give accelerate, the random numbers and the interpreter the state they have at the start."""
    argv, path = sys.argv, sys.path
    sys.argv, sys.path = [*argv], [*path]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        sys.argv, sys.path = argv, path
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()


def facts_of(log, process="*"):
    """Return what the script logged: a mapping for each visit, in order; by process."""
    paths = sorted(log.parent.glob(f"{log.name}.{process}"))
    return [fact for path in paths for fact in _read(path)]


def _read(path):
    batches = [json.loads(line) for line in path.read_text().splitlines()]
    names = ("ids", "timesteps", "losses", "corners", "noise")
    return [
        {"step": batch["step"], "rate": batch["rate"], **dict(zip(names, values, strict=True))}
        for batch in batches
        for values in zip(*(batch[name] for name in names), strict=True)
    ]


def visits_of(trace):
    """Return the visits of a trace as tuples that can be compared with ``told_of``."""
    columns = (trace.steps, trace.ids, trace.timesteps, trace.step_sizes)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def told_of(facts):
    """Return what the script logged, as ``visits_of`` returns it."""
    return [(f["step"], f["ids"], f["timesteps"], f["rate"]) for f in facts]
