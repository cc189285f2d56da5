"""Model randomisation: do the scores hang on what the model has learned?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked


def model_randomisation(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation with the scores of an untrained model, mean over queries.

    Source: the randomisation test of Hanawa et al. (ICLR 2021), after Adebayo et al. (NeurIPS
    2018).

    Args:
        values: Scores ``[query, train]``; a query's scores that are all equal get 0.
        evidence: ``untrained``.

    Raises:
        InputError: If those scores are missing, or either cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    scores = checked(values)
    why = "to compare with a model that has learned nothing"
    untrained = checked(evidence.required("untrained", why, tuple(scores.shape)))
    return spearman_rows(scores, untrained).mean().item()
