"""Steps that are scaled by parameter: what Adam makes of a gradient.

Adam moves along ``P m``, with ``P = 1 / (sqrt(v / (1 - beta_2^n)) + epsilon)`` of its second
moments ``v`` after ``n`` steps. With ``P`` of the checkpoint held fixed, a step on sample i changes
the loss of query q in proportion to ``<g_i, P g_q> = <R g_i, R g_q>``, ``R = sqrt(P)``. So every
gradient is multiplied by ``R``; norms, which Diffusion-ReTrac takes away, are those of ``R g``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retrac_plugin.checkpoints.weight_files import read_safely
from retrac_plugin.errors import CheckpointError

Preconditioner = Callable[[], Mapping[str, Tensor]]
"""Returns ``R`` by parameter, each shaped as the parameter; called when it is needed."""


def adam(path: Path, network: nn.Module) -> Preconditioner:
    """Return the preconditioner of torch's Adam or AdamW, from its saved state.

    Args:
        path: The optimiser's state dict, such as accelerate's ``optimizer.bin``.
        network: What it trained: all its trainable parameters, in their order.
    """
    shapes = {name: p.shape for name, p in network.named_parameters() if p.requires_grad}
    return lambda: _read_roots(path, shapes)


def _read_roots(path: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return ``R`` by parameter.

    Raises:
        CheckpointError: If the file is no state of Adam, or of another network.
    """
    saved = read_safely(path)
    try:
        groups = {i: group for group in saved["param_groups"] for i in group["params"]}
        roots = [_root(saved["state"][i], groups[i]) for i in sorted(groups)]
    except (KeyError, TypeError, IndexError) as error:
        raise CheckpointError(f"{str(path)!r} holds no state of Adam: {error!r}") from error
    if [root.shape for root in roots[: len(shapes)]] != list(shapes.values()):
        raise CheckpointError(
            f"{str(path)!r} holds the moments of {len(roots)} tensors that are not shaped as the "
            f"{len(shapes)} trainable parameters of the network"
        )
    return dict(zip(shapes, roots, strict=False))  # a text encoder's may follow


def _root(state: Mapping[str, Tensor], group: Mapping[str, Any]) -> Tensor:
    beta = group["betas"][1]
    corrected = state["exp_avg_sq"] / (1 - beta ** float(state["step"]))
    root: Tensor = (corrected.sqrt() + group["eps"]).rsqrt()
    return root
