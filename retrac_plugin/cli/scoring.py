"""Scores by several methods, those of one kind together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.drawing import repeats_of
from retrac_plugin.cli.methods import by_kind
from retrac_plugin.cli.numbers import size
from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.attribution.breakdown_files import Breakdown
    from retrac_plugin.attribution.scores import Scores
    from retrac_plugin.cli.breaking import Break
    from retrac_plugin.runs.run import Run
    from retrac_plugin.store.index import About
    from retrac_plugin.store.store import Store

MATRIX_BYTES = 2**30
"""Of scores from a store: with more, only those of listed images are kept."""


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
    from retrac_plugin.methods import repeats as on_features

    kinds = by_kind(attributors)
    together: tuple[tuple[dict[str, Any], Callable[..., list[Scores]], int], ...] = (
        (kinds.of_paper, of_paper.attribute_repeatedly, repeats_of(run, repeats)),
        (kinds.on_features, on_features.attribute_repeatedly, repeats or 1),
    )
    for own, attribute, times in together:
        if own:
            yield from zip(own, attribute(list(own.values()), train, queries, times), strict=True)
    for name, attributor in kinds.others.items():
        if repeats is not None and repeats > 1:
            tell(f"{name} is scored once: it does not say how its draws are repeated")
        yield name, attributor.attribute(train, queries)


@dataclass(frozen=True)
class FromStore:
    """Answers from a store.

    Attributes:
        folder: Where it lies.
        exact: How many images at either end of each list are computed exactly; None: none.
        index: Whether the extreme images are found by an index.
        top: How many are printed of either end.
        max_memory: Bytes that scores of all images may take, such as ``"2GB"``; None: 1 GiB.
    """

    folder: Path
    exact: int | None
    index: bool
    top: int
    max_memory: str | None

    @cached_property
    def store(self) -> Store:
        """The store, opened once: what was checked of it is not checked again."""
        from retrac_plugin.store.store import Store

        return Store.open(self.folder)

    def scored(
        self, attributors: Mapping[str, Any], train: Any, queries: Any, repeats: int | None
    ) -> Iterator[tuple[str, Scores]]:
        """Yield the scores of each method, by name."""
        from retrac_plugin.store.attributing import attribute_from
        from retrac_plugin.store.exact import check_exact, with_exact

        if repeats is not None and repeats > 1:
            tell("scored once: a store has one draw of what training did not record")
        if self.exact is not None:
            for attributor in attributors.values():
                check_exact(attributor)
        if self.index or self._is_too_large(attributors, train, queries):
            yield from self._listed(self.store, attributors, train, queries)
            return
        for name, scores in attribute_from(self.store, attributors, train, queries):
            if self.exact is None:
                yield name, scores
                continue
            found = with_exact(scores, attributors[name], train, queries, self.exact)
            tell(_told(found))
            yield name, found

    def break_by(self, scores: Mapping[str, Scores]) -> Break:
        """Return what splits scores as they were made: exactly where they are, else as rows do."""
        from retrac_plugin.attribution.breakdown import break_together
        from retrac_plugin.store.breaking import broken_from

        if self.exact is None:
            return partial(broken_from, self.store)
        told = {one.about["method"]: one.values for one in scores.values()}

        def split(*asked: Any) -> list[Breakdown]:
            ways = zip(break_together(*asked), broken_from(self.store, *asked), strict=True)
            return [
                exact.or_rather(estimated, told[exact.about["method"]]) for exact, estimated in ways
            ]

        return split

    def _is_too_large(self, attributors: Mapping[str, Any], train: Any, queries: Any) -> bool:
        """Whether the scores of all images are not to be held.

        Raises:
            InputError: If they are, and exact ones are asked for, which stand among them.
        """
        from retrac_plugin.attribution.budget import as_bytes
        from retrac_plugin.errors import InputError

        bytes_ = len(attributors) * len(queries) * len(train) * 4
        most = MATRIX_BYTES if self.max_memory is None else as_bytes(self.max_memory)
        if bytes_ > most and self.exact is not None:
            raise InputError(
                f"--exact: the scores of {len(train):,} images for {len(queries):,} pictures take "
                f"{size(bytes_)}, and {size(most)} are allowed. Ask with fewer pictures at a time, "
                "or give --max-memory"
            )
        return bytes_ > most

    def _listed(
        self, store: Store, attributors: Mapping[str, Any], train: Any, queries: Any
    ) -> Iterator[tuple[str, Scores]]:
        from retrac_plugin.report.of_scores import DEPTHS
        from retrac_plugin.store.indexed import by_index
        from retrac_plugin.store.top_lists import listed_from, scanned

        depth = min(max(self.top, DEPTHS[0]), len(train))
        find = by_index(store, _tell_of_index) if self.index else scanned
        found = listed_from(store, attributors, train, queries, depth, find)
        columns = next(iter(found.values())).values.shape[1]
        tell(
            f"{len(train):,} scores for each of {len(queries):,} pictures are not kept: the files "
            f"hold those of the {columns:,} images that are among the {depth} highest or lowest of "
            "a picture"
        )
        yield from found.items()


def from_store(
    folder: Path | None,
    exact: int | None,
    index: bool,
    top: int,
    max_memory: str | None,
) -> FromStore | None:
    """Return where answers come from, None if they are computed; see ``FromStore``.

    Raises:
        InputError: If exact scores, or an index, are asked for without a store.
    """
    from retrac_plugin.errors import InputError

    if folder is None and exact is not None:
        raise InputError("--exact goes with --store: without one every score is exact")
    if index and (folder is None or exact is not None):
        raise InputError("--index goes with --store, and without --exact: it finds a list itself")
    return None if folder is None else FromStore(folder, exact, index, top, max_memory)


def _tell_of_index(about: About) -> None:
    tell(
        f"index: {about.probes} of {about.lists} lists are looked through; of the ten highest of "
        f"training images in the pictures' place that finds {about.recall:.1%}"
    )


def _told(scores: Scores) -> str:
    about = scores.about
    return (
        f"{about['exact_scores']} images of the short lists have exact scores; those of the others "
        f"are estimates, with a standard error of {about['standard_error_of_others']:.2g}. Of each "
        f"picture's {about['of_highest']} highest, {about['expected_missing']:.2g} are expected to "
        "be among those"
    )
