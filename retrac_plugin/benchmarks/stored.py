"""Methods on features, scored from a store, which is filled with what it lacks first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retrac_plugin.attribution.scores import Scores
from retrac_plugin.data.examples import Examples
from retrac_plugin.methods.attributor import (
    FeatureAttributor,
    attribute_in_turn,
    scores_by_itself,
)
from retrac_plugin.store.answering import side_from
from retrac_plugin.store.attributing import fill
from retrac_plugin.store.store import Store

COST = ("seconds", "scoring_seconds", "passes")
"""What is not known of scores from a store, where the training set was led through before."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Scores methods from a store.

    Attributes:
        store: The store.
    """

    store: Store

    def answers(self, attributor: Any) -> bool:
        """Say whether a method is scored from it: on features; the paper's two stay exact."""
        return isinstance(attributor, FeatureAttributor) and not scores_by_itself(attributor)

    def together(
        self, attributors: Sequence[Any], train: Examples, queries: Examples
    ) -> Iterator[Scores]:
        """Yield the scores of some methods that it answers by; see ``Candidate.together``."""
        fill(self.store, {str(n): each for n, each in enumerate(attributors)}, train)
        read = side_from(self.store)
        for scores in attribute_in_turn(attributors, train, queries, read):
            about = {key: value for key, value in scores.about.items() if key not in COST}
            yield replace(scores, about={**about, "store": str(self.store.folder)})
