"""Layer rules: how a layer is run, and what its parameters' gradients are, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from retrac_plugin.gradients.rules.call import Reader
from retrac_plugin.gradients.rules.convolution import read_convolution
from retrac_plugin.gradients.rules.embedding import read_embedding
from retrac_plugin.gradients.rules.group_norm import read_group_norm
from retrac_plugin.gradients.rules.layer_norm import read_layer_norm
from retrac_plugin.gradients.rules.linear import read_linear, read_matmul
from retrac_plugin.gradients.rules.rms_norm import read_rms_norm

READERS: dict[Callable[..., Any], Reader] = {
    functional.conv1d: read_convolution,
    functional.conv2d: read_convolution,
    functional.conv3d: read_convolution,
    functional.linear: read_linear,
    torch.matmul: read_matmul,
    torch.Tensor.matmul: read_matmul,
    torch.Tensor.__matmul__: read_matmul,
    functional.group_norm: read_group_norm,
    functional.layer_norm: read_layer_norm,
    functional.rms_norm: read_rms_norm,
    functional.embedding: read_embedding,
}
"""The rule of each function that layers call."""
