"""How scores from a store split over checkpoints and the query's timesteps.

The terms are those of ``attribution.breakdown``, of sketches instead of whole gradients:
``c[k, t] = eta_k r(|g_i^k|) <S g_i^k, S r(gbar_t^k(q))> / |T|``, whose sum is the score that the
store gives. The queries pass the network once more, the training set does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.attribution.breakdown import about_terms
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.pairs import Pairs, check_pairs
from retrac_plugin.data.examples import Examples, ExampleSource
from retrac_plugin.errors import InputError
from retrac_plugin.store.answering import Keys, rows_of
from retrac_plugin.store.questions import OfPaper, question_of
from retrac_plugin.store.store import Store


def broken_from(
    store: Store, attributors: Sequence[Any], train: Examples, queries: Examples, pairs: Pairs
) -> list[Breakdown]:
    """Return how the scores that a store gives to a few pairs split, by each of some methods.

    Args:
        store: Where the training set's rows are.
        attributors: Diffusion-TracIn, Diffusion-ReTrac, or both.
        train: The training set.
        queries: The images to explain.
        pairs: Positions of a query and of a training sample each.

    Raises:
        InputError: If a method's scores are no such sums, a pair is outside of the scores, or there
            is none.
        RetracError: See ``answering.open_features``.
    """
    sources = ExampleSource(train, "train"), ExampleSource(queries, "queries")
    check_pairs(pairs, *map(len, sources))
    questions, wanted = [_question(each) for each in attributors], torch.tensor(pairs)
    return [_of_method(store, question, *sources, wanted) for question in questions]


def _question(attributor: Any) -> OfPaper:
    question = question_of(attributor)
    if not isinstance(question, OfPaper):
        raise InputError(
            f"a breakdown from a store: expected diffusion-tracin or diffusion-retrac, got a "
            f"{type(attributor).__name__}"
        )
    return question


def _of_method(
    store: Store, question: OfPaper, train: ExampleSource, queries: ExampleSource, pairs: Tensor
) -> Breakdown:
    setting, needs, keys = question.setting, question.needs(), Keys()
    asked, samples = pairs.T
    values, timesteps = [], []
    with setting.bar(len(needs) * len(queries), "breakdown") as bar:
        for feature in needs:
            at = feature.at(setting)
            rows, places = rows_of(store, at, feature, train, keys)
            own = rows.side(places[samples])
            theirs, own_timesteps = question.by_timestep(at, feature, queries)
            features, norms = (part.to(theirs) for part in (own.features, own.norms))
            products = torch.einsum("ptd,pd->pt", theirs[asked], features)
            step_size = setting.checkpoints[feature.checkpoint].step_size
            rescaled = products * question.attributor.method.rescale(norms)[:, None]
            values.append(step_size * rescaled / theirs.shape[1])
            timesteps.append(own_timesteps[asked])
            bar.update(len(queries))
            del at  # or this checkpoint's weights stay while the next one loads
    about = {**about_terms(question.attributor, 1), "projection": repr(question.projection)}
    terms, of = (torch.stack(each, 1).cpu() for each in (values, timesteps))
    return Breakdown(pairs, terms, of, about)
