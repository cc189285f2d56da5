"""What a run's optimiser did with gradients, and how much of it the attribution follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from retrac_adapters.runs.training_state import OPTIMIZER
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.checkpoints.preconditioners import Preconditioner, adam
from retrac_plugin.checkpoints.weight_files import read_safely
from retrac_plugin.errors import InputError
from retrac_plugin.runs.findings import FOUND, NOT_MODELLED, Finding


def read_optimizer(
    folders: Mapping[int, Path], wanted: str, network: nn.Module, arguments: Arguments
) -> tuple[Sequence[Preconditioner | None], list[Finding]]:
    """Return each checkpoint's preconditioner, and what of the optimiser is not followed.

    Args:
        folders: Checkpoint folders by step, oldest first.
        wanted: ``"plain"`` or ``"adam"``.
        network: What was trained.
        arguments: The training script's.

    Raises:
        InputError: If Adam's steps are wanted and a checkpoint does not keep its moments.
        CheckpointError: If a file is damaged, or a pickle that would run code.
    """
    files = [folder / OPTIMIZER for folder in folders.values()]
    if wanted == "plain":
        return [None] * len(files), _describe_rest(_has_moments(files[-1]), arguments)
    without = [file for file in files if not _has_moments(file)]
    if without:
        raise InputError(
            f"optimizer='adam': {str(without[0])!r} does not exist or keeps no second moments. Use "
            "optimizer='plain'"
        )
    used = Finding(FOUND, "optimiser", "gradients are scaled by Adam's second moments")
    return [adam(file, network) for file in files], [used, *_describe_rest(False, arguments)]


def _describe_rest(scaled: bool, arguments: Arguments) -> list[Finding]:
    left_out = ["steps were Adam's, scaled by parameter (optimizer='adam' follows that)"] * scaled
    if arguments.get("max_grad_norm"):
        left_out.append(f"gradients were clipped to norm {arguments.get('max_grad_norm')}")
    return [Finding(NOT_MODELLED, "optimiser", text) for text in left_out]


def _has_moments(file: Path) -> bool:
    if not file.is_file():
        return False
    state: Any = read_safely(file)
    try:
        moments = list(state["state"].values())
        return bool(moments) and all("exp_avg_sq" in moment for moment in moments)
    except (KeyError, TypeError, AttributeError):
        return False
