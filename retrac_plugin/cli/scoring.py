"""Scores by several methods, those of one kind together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.drawing import repeats_of
from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.runs.run import Run


def scored(
    attributors: Mapping[str, Any],
    train: Any,
    queries: Any,
    run: Run,
    repeats: int | None,
    store: Path | None = None,
) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of each method, by name; ours share gradients, and are repeated.

    Args:
        attributors: By the name of the method.
        train: The training set.
        queries: The images to explain.
        run: The training run.
        repeats: How often to draw; None: what each kind does unless told otherwise.
        store: Where the training set's features are; None: they are computed.
    """
    if store is not None:
        yield from _from_store(store, attributors, train, queries, repeats)
        return
    from retrac_plugin.attribution import repeats as of_paper
    from retrac_plugin.attribution.attributors import DiffusionAttributor
    from retrac_plugin.methods import repeats as on_features
    from retrac_plugin.methods.attributor import FeatureAttributor

    kinds: tuple[tuple[type[Any], Callable[..., list[Scores]], int], ...] = (
        (DiffusionAttributor, of_paper.attribute_repeatedly, repeats_of(run, repeats)),
        (FeatureAttributor, on_features.attribute_repeatedly, repeats or 1),
    )
    left = dict(attributors)
    for kind, together, times in kinds:
        own = {name: left.pop(name) for name in list(left) if isinstance(left[name], kind)}
        if own:
            yield from zip(own, together(list(own.values()), train, queries, times), strict=True)
    for name, attributor in left.items():
        if repeats is not None and repeats > 1:
            tell(f"{name} is scored once: it does not say how its draws are repeated")
        yield name, attributor.attribute(train, queries)


def _from_store(
    folder: Path, attributors: Mapping[str, Any], train: Any, queries: Any, repeats: int | None
) -> Iterator[tuple[str, Scores]]:
    from retrac_plugin.store.attributing import attribute_from
    from retrac_plugin.store.store import Store

    if repeats is not None and repeats > 1:
        tell("scored once: a store has one draw of what training did not record")
    yield from attribute_from(Store.open(folder), attributors, train, queries)
