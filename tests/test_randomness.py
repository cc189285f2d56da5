import numpy as np
import pytest
import torch

from retrac_plugin.randomness import content_key, normal, uniforms


def test_noise_depends_on_the_key_alone():
    keys = [(0, 1, k) for k in range(5)]
    together = normal(keys, (3, 4))
    assert together.shape == (5, 3, 4)
    assert together.dtype == torch.float32
    alone = torch.cat([normal([key], (3, 4)) for key in reversed(keys)]).flip(0)
    assert torch.equal(together, alone)


def test_noise_is_the_same_on_every_machine_and_version():
    expected = [-0.802623, -0.34197, 0.018212, 1.26738]
    assert normal([(0, 0, 0, 0)], (4,))[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_different_keys_give_independent_standard_normal_noise():
    noise = normal([(7, k) for k in range(2000)], (11,)).double()
    assert abs(noise.mean()) < 0.02
    assert abs(noise.var() - 1) < 0.03
    assert abs((noise**4).mean() - 3) < 0.15
    correlation = np.corrcoef(noise.numpy(), rowvar=False) - np.eye(11)
    assert np.abs(correlation).max() < 0.1


def test_uniforms_are_uniform():
    drawn = uniforms([(1, k) for k in range(3000)], 2)
    assert drawn.dtype == torch.float64
    assert 0 <= drawn.min() <= drawn.max() < 1
    counts = torch.bincount((drawn * 10).long().flatten(), minlength=10)
    assert len(counts) == 10
    chi_square = ((counts - 600) ** 2 / 600).sum()
    assert chi_square < 28  # 0.1% point with 9 degrees of freedom


def test_content_key_sees_values_and_nothing_else():
    image = torch.rand(3, 4, 4)
    assert content_key(image) == content_key(image.double())
    assert content_key(image) == content_key(image.permute(0, 2, 1).contiguous().permute(0, 2, 1))
    changed = image.clone()
    changed[0, 0, 0] += 1e-3
    assert content_key(image) != content_key(changed)
    assert 0 < content_key(image) < 2**63
