"""Scores by several methods, those of one kind together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
    source: FromStore | None = None,
) -> Iterator[tuple[str, Scores]]:
    """Yield the scores of each method, by name; ours share gradients, and are repeated.

    Args:
        attributors: By the name of the method.
        train: The training set.
        queries: The images to explain.
        run: The training run.
        repeats: How often to draw; None: what each kind does unless told otherwise.
        source: The store that answers; None: everything is computed.
    """
    if source is not None:
        yield from source.scored(attributors, train, queries, repeats)
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


@dataclass(frozen=True)
class FromStore:
    """Answers from a store.

    Attributes:
        folder: Where it lies.
        exact: How many images at either end of each list are computed exactly; None: none.
    """

    folder: Path
    exact: int | None

    def scored(
        self, attributors: Mapping[str, Any], train: Any, queries: Any, repeats: int | None
    ) -> Iterator[tuple[str, Scores]]:
        """Yield the scores of each method, by name."""
        from retrac_plugin.store.attributing import attribute_from
        from retrac_plugin.store.exact import check_exact, with_exact
        from retrac_plugin.store.store import Store

        if repeats is not None and repeats > 1:
            tell("scored once: a store has one draw of what training did not record")
        if self.exact is not None:
            for attributor in attributors.values():
                check_exact(attributor)
        store = Store.open(self.folder)
        for name, scores in attribute_from(store, attributors, train, queries):
            if self.exact is None:
                yield name, scores
                continue
            found = with_exact(scores, attributors[name], train, queries, self.exact)
            tell(_told(found))
            yield name, found


def from_store(folder: Path | None, exact: int | None, breakdown: bool) -> FromStore | None:
    """Return where answers come from, None if they are computed.

    Raises:
        InputError: If exact scores are asked for without a store, or a breakdown of what are none.
    """
    from retrac_plugin.errors import InputError

    if folder is None and exact is not None:
        raise InputError("--exact goes with --store: without one every score is exact")
    if folder is not None and breakdown and exact is None:
        raise InputError(
            "--breakdown splits exact scores, and a store has estimates: add --exact, or leave "
            "--store out"
        )
    return None if folder is None else FromStore(folder, exact)


def _told(scores: Scores) -> str:
    about = scores.about
    return (
        f"{about['exact_scores']} images of the short lists have exact scores; those of the others "
        f"are estimates, with a standard error of {about['standard_error_of_others']:.2g}. Of each "
        f"picture's {about['of_highest']} highest, {about['expected_missing']:.2g} are expected to "
        "be among those"
    )
