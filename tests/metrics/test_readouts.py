"""What readouts do to the linear datamodelling score, against loops over queries and subsets."""

import pytest
import torch
from scipy.stats import spearmanr

from retrac_plugin.metrics import Evidence
from retrac_plugin.metrics.lds import lds
from retrac_plugin.metrics.readouts import lds_of_largest, lds_squared

TRAIN, QUERIES, SUBSETS = 40, 3, 12


@pytest.fixture(scope="module")
def known():
    generator = torch.Generator().manual_seed(3)
    subsets = torch.rand(SUBSETS, TRAIN, generator=generator) < 0.5
    return Evidence(
        subsets=subsets, subset_losses=torch.rand(2, SUBSETS, QUERIES, generator=generator)
    )


@pytest.fixture(scope="module")
def values():
    return torch.randn(QUERIES, TRAIN, generator=torch.Generator().manual_seed(4)).double()


def by_loops(values, known, read):
    found = []
    for q, own in enumerate(values.tolist()):
        kept = read(own)
        sums = [sum(v for v, inside in zip(kept, row, strict=True) if inside)
                for row in known.subsets.tolist()]  # fmt: skip
        found.append(spearmanr(sums, (-known.subset_losses.mean(0)[:, q]).tolist()).statistic)
    return sum(found) / len(found)


def test_squares(values, known):
    expected = by_loops(values, known, lambda own: [v * v for v in own])
    assert lds_squared(values, known) == pytest.approx(expected)
    assert lds_squared(values, known) != pytest.approx(lds(values, known))


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_largest_alone(values, known, share):
    def read(own):
        least = sorted(map(abs, own))[-round(share * len(own))]
        return [v if abs(v) >= least else 0.0 for v in own]

    expected = by_loops(values, known, read)
    assert lds_of_largest(values, known, share) == pytest.approx(expected)


def test_all_of_them_are_the_scores_themselves(values, known):
    assert lds_of_largest(values, known, 1.0) == pytest.approx(lds(values, known))


def test_at_least_one_is_kept(values, known):
    assert lds_of_largest(values, known, 1e-9) == lds_of_largest(values, known, 1 / TRAIN)
