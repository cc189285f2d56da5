"""Leave-one-out: do scores predict what training without one sample does?"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.correlation import spearman_rows
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.values import checked


def leave_one_out(values: Tensor, evidence: Evidence) -> float:
    """Return Spearman's correlation of scores with the loss after leaving a sample out.

    Per query over the samples that were left out, the loss being the mean over retraining seeds;
    mean over queries. Source: Koh and Liang, ICML 2017. The effect of one sample is soon smaller
    than that of the seed, so a low value need not be the method's fault.

    Args:
        values: Scores ``[query, train]``; all equal, they get 0.
        evidence: ``left_out`` and ``left_out_losses``.

    Raises:
        InputError: If the evidence is missing or the scores cannot be used.
        MissingDependencyError: If scipy is not installed.
    """
    scores = checked(values)
    queries, train = scores.shape
    why = "to compare scores with training without a sample"
    losses = evidence.required("left_out_losses", why, (None, None, queries)).double()
    left_out = evidence.required("left_out", why, (losses.shape[1],)).long()
    outside = left_out[(left_out < 0) | (left_out >= train)]
    if len(outside):
        raise InputError(
            f"evidence left_out: expected positions from 0 to {train - 1}, got {outside[0].item()}"
        )
    return spearman_rows(scores[:, left_out], losses.mean(0).T).mean().item()
