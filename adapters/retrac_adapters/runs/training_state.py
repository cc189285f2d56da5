"""What accelerate keeps of a training besides the weights: ``scheduler.bin``, ``optimizer.bin``.

Its ``random_states_N.pkl`` hold pickles; they are counted, one a process, and never opened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.checkpoints.weight_files import read_safely
from retrac_plugin.errors import CheckpointError, InputError
from retrac_plugin.runs.findings import CONTRADICTION, FOUND, NOT_RECORDED, Finding
from retrac_plugin.runs.series import step_sizes_of_rates

OPTIMIZER, SCHEDULER = "optimizer.bin", "scheduler.bin"


def read_step_sizes(
    folders: Mapping[int, Path], arguments: Arguments
) -> tuple[list[float], list[Finding]]:
    """Return the step size of each checkpoint of a run without a trace, and what is known of them.

    Args:
        folders: Checkpoint folders by step, oldest first.
        arguments: The training script's.

    Raises:
        CheckpointError: If a file is damaged, or a pickle that would run code.
        InputError: If all step sizes would be 0.
    """
    scheduled = [_rate_of_scheduler(folder) for folder in folders.values()]
    optimized = [_rate_of_optimizer(folder) for folder in folders.values()]
    rates = [b if a is None else a for a, b in zip(scheduled, optimized, strict=True)]
    findings = [
        Finding(
            CONTRADICTION,
            "learning rate",
            f"{folder.name}: {SCHEDULER} says {a:g}, {OPTIMIZER} {b:g}; the former is taken",
        )
        for folder, a, b in zip(folders.values(), scheduled, optimized, strict=True)
        if a is not None and b is not None and abs(a - b) > 1e-6 * max(a, b)
    ]
    rates, of_zeros = _not_all_zero(rates, arguments)
    known = [rate for rate in rates if rate is not None]
    stated = float(arguments.get("learning_rate", 1.0))
    complete = len(known) == len(rates)
    findings += of_zeros or [_describe_rates(rates, complete, arguments)]
    visits, about = _visits_per_step(next(iter(folders.values())), arguments)
    used = known if complete else [stated] * len(rates)
    return step_sizes_of_rates(used, list(folders), visits), [*findings, about]


def _not_all_zero(
    rates: list[float | None], arguments: Arguments
) -> tuple[list[float | None], list[Finding]]:
    """Return other rates than those of a schedule that had ended at all of its checkpoints.

    Raises:
        InputError: If nothing says what the rate was before.
    """
    if any(rate != 0 for rate in rates):
        return rates, []
    stated = arguments.get("learning_rate")
    if not stated:
        raise InputError(
            "the learning rate is 0 at every checkpoint that is left, where its schedule had "
            "ended, so that every score would be 0: state what it was before, as "
            "--argument learning_rate=1e-4 or arguments={'learning_rate': 1e-4}; base_lrs in "
            f"the checkpoint's {SCHEDULER} are where the schedule began"
        )
    text = f"0 at every checkpoint, where the schedule had ended; {stated} is taken, as argued"
    return [float(stated)] * len(rates), [Finding(NOT_RECORDED, "learning rates", text)]


def _rate_of_scheduler(folder: Path) -> float | None:
    return _read_rate(folder / SCHEDULER, lambda state: state["_last_lr"][0])


def _rate_of_optimizer(folder: Path) -> float | None:
    return _read_rate(folder / OPTIMIZER, lambda state: state["param_groups"][0]["lr"])


def _read_rate(path: Path, pick: Any) -> float | None:
    if not path.is_file():
        return None
    state = read_safely(path)
    try:
        rate = float(pick(state))
    except Exception as error:  # what a damaged file holds may raise anything
        raise CheckpointError(f"{str(path)!r} holds no learning rate: {error!r}") from error
    if not (math.isfinite(rate) and rate >= 0):
        raise CheckpointError(f"{str(path)!r} holds the learning rate {rate}, expected 0 or more")
    return rate


def _describe_rates(rates: list[float | None], complete: bool, arguments: Arguments) -> Finding:
    if complete:
        shown = ", ".join(f"{rate:g}" for rate in rates)
        return Finding(FOUND, "learning rates", f"at the checkpoints: {shown}")
    if arguments.get("learning_rate"):
        rate = arguments.get("learning_rate")
        return Finding(NOT_RECORDED, "learning rates", f"taken as {rate} throughout, as argued")
    return Finding(NOT_RECORDED, "learning rates", "taken as equal throughout")


def _visits_per_step(folder: Path, arguments: Arguments) -> tuple[float, Finding]:
    """Return how often a sample is visited in an average step, or 1 where that is not known."""
    batch, samples = arguments.get("train_batch_size"), arguments.get("num_samples")
    if batch is None or samples is None:
        return 1.0, Finding(
            NOT_RECORDED,
            "visits",
            "batch size or training-set size (argument num_samples), so step sizes lack a factor "
            "common to all checkpoints: ranks are right, the scale of scores is not",
        )
    processes = len(list(folder.glob("random_states_*.pkl"))) or 1
    per_step = int(batch) * int(arguments.get("gradient_accumulation_steps", 1)) * processes
    text = f"{per_step} samples a step of {samples}, over {processes} process(es)"
    return per_step / int(samples), Finding(FOUND, "visits", text)
