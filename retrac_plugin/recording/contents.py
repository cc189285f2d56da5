"""A sample's content as a visit notes it down."""

from __future__ import annotations

import torch
from torch import Tensor

from retrac_plugin.randomness import content_key
from retrac_plugin.trace.parts import HASHED_LOOKS

_WHOLE = (torch.float32, torch.float64)


def noted_content(sample: Tensor) -> int:
    """Return the content key of a sample as it was diffused.

    In half precision it is not the dataset's own, but still tells whether it is the same at every
    visit: it is given as a number below ``CHANGING`` then.
    """
    key = content_key(sample)
    return key if sample.dtype in _WHOLE else -(key >> 1) - 2


class Contents:
    """Notes down the contents of samples on their first visits.

    Args:
        size: How many samples there are.
    """

    def __init__(self, size: int) -> None:
        self._looks = torch.zeros(size, dtype=torch.uint8)

    def of(self, ids: Tensor, samples: Tensor) -> Tensor:
        """Return a number for each sample of a batch; 0 where it was looked at often enough."""
        keys = torch.zeros(len(ids), dtype=torch.int64)
        rows = (self._looks[ids] < HASHED_LOOKS).nonzero().squeeze(1)
        if len(rows):
            looked_at = samples.detach()[rows.to(samples.device)].cpu()
            keys[rows] = torch.tensor([noted_content(sample) for sample in looked_at])
            self._looks[ids[rows]] += 1
        return keys
