"""Who is in the top K of each query, when scores may be equal.

Equal scores at the edge of the top K leave open who is in. Taking the first by index would make the
answer depend on the order of the training set, and a method that scores everything alike would name
the same "first" images by accident. So each of the tied samples is in with the share of the free
places that falls to it: the probability of being in if ties were broken at random.
"""

from __future__ import annotations

from torch import Tensor

from retrac_plugin.errors import InputError
from retrac_plugin.metrics.values import checked


def membership(values: Tensor, k: int) -> Tensor:
    """Return how far each training sample is in each query's top ``k``.

    Args:
        values: Scores ``[query, train]``.
        k: Number of places.

    Returns:
        ``[query, train]``, float64: 1 for in, 0 for out, between for ties over the last places;
        every row sums to ``k``.

    Raises:
        InputError: If ``k`` does not lie between 1 and the number of training samples, or the
            scores are not finite ``[query, train]``.
    """
    scores = checked(values)
    if not 1 <= k <= scores.shape[1]:
        raise InputError(
            f"k must lie between 1 and the {scores.shape[1]} training samples, got {k}"
        )
    last = scores.topk(k, dim=1).values[:, -1:]
    above = (scores > last).double()
    tied = (scores == last).double()
    free_places = k - above.sum(dim=1, keepdim=True)
    return above + tied * free_places / tied.sum(dim=1, keepdim=True)
