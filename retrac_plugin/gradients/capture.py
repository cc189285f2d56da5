"""Watches a forward pass for calls that use a parameter, and takes over their backward pass.

A call is recognised by the tensor it is given, not by the module it comes from: so weights that are
used functionally, twice in one pass, by several modules, or through low-rank adapters are all seen.
A call that is taken over computes only the gradient of its *input* natively; the gradient of its
parameters, summed over the batch, is never formed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from retrac_plugin.errors import GradientError
from retrac_plugin.gradients.rules import READERS
from retrac_plugin.gradients.rules.broadcast import POINTWISE, samples_first, with_samples
from retrac_plugin.gradients.taps import Receiver, tap_broadcast, tap_layer
from retrac_plugin.gradients.tracking import Tracked, Watched

Signature = tuple[str, int]
"""A use of a parameter: the function, and its entries per sample."""


class Capture(TorchFunctionMode):
    """Sees every torch function that a forward pass calls.

    Args:
        watched: The tensors to look out for.
        samples: Samples in the batch.

    Attributes:
        anchor: A scalar that every call taken over depends on; differentiate with respect to it.
        uses: How often each watched tensor was used.
        signatures: How each parameter was used, by name.
        refused: Parameters used in a way for which there is no rule, with the reason.
        receiver: Where gradients go; to be set before the backward pass.
    """

    receiver: Receiver

    def __init__(self, watched: Watched, samples: int, device: torch.device) -> None:
        super().__init__()
        self.watched, self.samples = watched, samples
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        self.uses: Counter[Tracked] = Counter()
        self.signatures: dict[str, list[Signature]] = {}
        self.refused: dict[str, str] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func``, taking over its backward pass if it uses a watched tensor."""
        kwargs = kwargs or {}
        parameters, others = self.watched.among(args, kwargs)
        if not parameters:
            return func(*args, **kwargs)
        if not others:
            return self.watched.derive(func, args, kwargs)
        if func in POINTWISE:
            return self._broadcast(func, args, kwargs, parameters, others)
        if func in READERS:
            return self._call_layer(func, args, kwargs, parameters)
        return self._refuse(func, args, kwargs, parameters)

    def _call_layer(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parameters: list[Tracked],
    ) -> Any:
        read = READERS[func](*args, **kwargs)
        if read is None or not self._note(func, parameters, read[1]):
            return self._refuse(func, args, kwargs, parameters)
        call, inputs = read
        return tap_layer(self.anchor, self, call, inputs)

    def _broadcast(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parameters: list[Tracked],
        others: list[Tensor],
    ) -> Any:
        shape = samples_first([each.value for each in parameters], others)
        if shape is None or not self._note(func, parameters, torch.empty(shape, device="meta")):
            return self._refuse(func, args, kwargs, parameters)

        def explicit(value: Any) -> Any:
            tracked = self.watched.find(value)
            if tracked is None:
                return value
            return tap_broadcast(self.anchor, self, tracked, with_samples(value, shape))

        return func(*map(explicit, args), **{n: explicit(value) for n, value in kwargs.items()})

    def _note(self, func: Callable[..., Any], parameters: list[Tracked], inputs: Tensor) -> bool:
        """Write a use down, unless the first dimension cannot be that of the samples."""
        entries, rest = divmod(inputs.shape[0], self.samples)
        if rest or not entries or self.watched.find(inputs):
            return False
        if not torch.is_grad_enabled():
            raise GradientError(
                f"{_names(parameters)} is used where gradients are switched off. If that is "
                "gradient checkpointing, switch it off (for models of diffusers: "
                "network.disable_gradient_checkpointing()); otherwise attribute other parameters"
            )
        for tracked in parameters:
            self.uses[tracked] += 1
            for name in tracked.roots:
                self.signatures.setdefault(name, []).append((_name(func), entries))
        return True

    def _refuse(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        parameters: list[Tracked],
    ) -> Any:
        """Run a call as it is and remember that its parameters need another way."""
        for name in (name for tracked in parameters for name in tracked.roots):
            self.refused[name] = f"no rule for this use in {_name(func)}"
        return func(*args, **kwargs)


@functools.cache
def _name(func: Callable[..., Any]) -> str:
    return str(resolve_name(func) or getattr(func, "__name__", func))


def _names(parameters: list[Tracked]) -> str:
    return ", ".join(repr(name) for tracked in parameters for name in tracked.roots)
