"""The tensors whose uses are watched: parameters, and what a model makes of parameters alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor


class Tracked:
    """A watched tensor.

    Attributes:
        value: The tensor as the model sees it.
        roots: The parameters it was computed from, by name; a parameter is its own root.
        name: The parameter's name, or None if the tensor is derived from parameters.
    """

    def __init__(
        self, value: Tensor, roots: Mapping[str, Tracked], graph: Tensor | None = None
    ) -> None:
        self.value, self._roots, self._graph = value, roots, graph
        self.name: str | None = None

    @property
    def roots(self) -> Mapping[str, Tracked]:
        """See above; made anew, since a circle would hold the weights until it is searched for."""
        return self._roots if self.name is None else {self.name: self}

    @cached_property
    def graph(self) -> Tensor:
        """The same tensor with its history from the roots, for autograd."""
        return self.value.detach().requires_grad_() if self._graph is None else self._graph


class Watched:
    """Finds watched tensors by identity.

    A model may reshape, split, cast or combine its parameters before they meet a sample. Such
    *derived* tensors are watched in place of the parameters: their gradients are taken row by row
    as if they were parameters, and then led back through what the model did.

    Args:
        parameters: The parameters to watch, by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._by_id: dict[int, Tracked] = {}
        for name, value in parameters.items():
            self._by_id[id(value)] = tracked = Tracked(value, {})
            tracked.name = name

    def find(self, value: Any) -> Tracked | None:
        """Return what is known of a tensor, or None if it is not watched."""
        return self._by_id.get(id(value))

    def among(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Tracked], list[Tensor]]:
        """Return the watched tensors among a function's arguments, and the other tensors."""
        watched, others = [], []
        for value in _tensors(args, kwargs):
            tracked = self._by_id.get(id(value))
            if tracked is None:
                others.append(value)
            else:
                watched.append(tracked)
        return watched, others

    def derive(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a function whose tensors are all watched, and watch what it returns."""
        roots = {n: r for each in self.among(args, kwargs)[0] for n, r in each.roots.items()}
        with torch.enable_grad():
            output = function(
                *map(self._with_history, args),
                **{name: self._with_history(value) for name, value in kwargs.items()},
            )
        if isinstance(output, Tensor):
            return self._watch(output, roots)
        if type(output) in (tuple, list):
            return type(output)(self._watch(each, roots) for each in output)
        return output

    def _with_history(self, value: Any) -> Any:
        if type(value) in (tuple, list):
            return type(value)(map(self._with_history, value))
        tracked = self._by_id.get(id(value))
        return value if tracked is None else tracked.graph

    def _watch(self, output: Any, roots: Mapping[str, Tracked]) -> Any:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return output
        value = output.detach()
        self._by_id[id(value)] = Tracked(value, roots, output)
        return value


def _tensors(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors among arguments, also those in lists."""
    for value in chain(args, kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from (each for each in value if isinstance(each, Tensor))
