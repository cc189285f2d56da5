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

from retrac_plugin.gradients.contributions import Contribution
from retrac_plugin.gradients.packing import shaped_by_values
from retrac_plugin.gradients.rules import READERS
from retrac_plugin.gradients.rules.broadcast import POINTWISE, samples_first, with_samples
from retrac_plugin.gradients.rules.call import LayerCall
from retrac_plugin.gradients.surroundings import Autocast, computing
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

    def __init__(self, watched: Watched, samples: int, device: torch.device) -> None:
        super().__init__()
        self.watched, self.samples = watched, samples
        self.anchor = torch.zeros((), device=device, requires_grad=True)
        self.uses: Counter[Tracked] = Counter()
        self.signatures: dict[str, list[Signature]] = {}
        self.refused: dict[str, str] = {}
        self.receiver: Receiver = _TooEarly()
        self._by_values = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run ``func``, taking over its backward pass if it uses a watched tensor."""
        kwargs = kwargs or {}
        self._by_values |= shaped_by_values(func, args)
        parameters, others = self.watched.among(args, kwargs)
        # Without gradients: such as the first pass of self-conditioning.
        if not parameters or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        real = not any(tracked.value.is_complex() for tracked in parameters)
        if not others and real:
            return self.watched.derive(func, args, kwargs)
        if func in POINTWISE and real:
            return self._broadcast(func, args, kwargs, parameters, others)
        if func in READERS and real:
            if Autocast.of(self.anchor.device) is None:
                return self._call_layer(func, args, kwargs, parameters)
            with computing(self.anchor.device):  # autocast would choose another type
                args, kwargs = self._in_own_type(args, kwargs, parameters[0].value.dtype)
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
        if read is None or not _holds(read[0], parameters):
            return self._refuse(func, args, kwargs, parameters)
        call, inputs = read
        if not self._note(func, parameters, inputs):
            return self._refuse(func, args, kwargs, parameters)
        return tap_layer(self.anchor, self, call, inputs)

    def _in_own_type(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a layer's arguments in the type of its parameters."""

        def cast(value: Any) -> Any:
            others = isinstance(value, Tensor) and value.is_floating_point()
            return value.to(dtype) if others and self.watched.find(value) is None else value

        return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}

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
        """Write a use down, unless the first dimension may not be that of the samples."""
        entries, rest = divmod(inputs.shape[0], self.samples)
        if rest or not entries or self.watched.find(inputs):
            return False
        if entries > 1 and self._by_values:  # packed: which of them are a sample's may change
            return False
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


class _TooEarly:
    """Stands for the receiver while the forward pass still runs."""

    @property
    def rows(self) -> int:
        """Refuse: a network that differentiates as it goes asks for gradients of gradients."""
        raise RuntimeError("the network takes gradients in its forward pass")

    def add(self, tracked: Tracked, contribution: Contribution) -> None:
        """See ``Receiver.add``; never reached."""


def _holds(call: LayerCall, parameters: list[Tracked]) -> bool:
    """Return whether a call has all of these for its own; others went into its inputs.

    A call that does not hold a parameter can name no contribution to it, and its reader may have
    padded or joined it, so that nobody finds it in the inputs either.
    """
    own = {id(value) for value in vars(call).values()}
    return all(id(tracked.value) in own for tracked in parameters)


@functools.cache
def _name(func: Callable[..., Any]) -> str:
    return str(resolve_name(func) or getattr(func, "__name__", func))
