"""Whether a training set is the recorded one: by its values, or, where encoded, by likeness."""

import pytest
import torch

from retrac_plugin.errors import TraceError
from retrac_plugin.trace.likeness import alike, likeness
from retrac_plugin.trace.matching import check_encoded, check_kept
from retrac_plugin.trace.parts import CHANGING, UNKNOWN

LATENTS = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
ALIKE = torch.stack([likeness(latent) for latent in LATENTS])
RECORDED = torch.full((5,), 12345)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_rounding_leaves_a_sample_alike(dtype):
    for latent in LATENTS:
        assert alike(likeness(latent.to(dtype)), likeness(latent))


def test_other_samples_are_not_alike():
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    assert not any(alike(ALIKE[i], ALIKE[j]) for i, j in pairs)
    for other in (LATENTS[0].flip(2), -LATENTS[0], 1.1 * LATENTS[0], LATENTS[0] + 0.1):
        assert not alike(likeness(other), ALIKE[0])


def test_a_sample_may_be_of_any_size():
    for shape in ((1,), (3, 5), (1, 7, 9), (3, 160, 160)):
        sample = torch.ones(shape)
        assert alike(likeness(sample), likeness(sample.double() * 1.001))


def test_encoded_samples_are_compared_by_likeness():
    check_encoded([3, 1], LATENTS[[3, 1]] * 1.0001, RECORDED, ALIKE)
    with pytest.raises(TraceError, match="sample 1, as encoded here, is not the one"):
        check_encoded([3, 1], LATENTS[[3, 2]], RECORDED, ALIKE)


@pytest.mark.parametrize("key", [UNKNOWN, CHANGING])
def test_samples_that_changed_in_training_are_not_compared(key):
    check_encoded([1], LATENTS[[2]], torch.full((5,), key), ALIKE)
    check_kept([0, 1], LATENTS[:2], LATENTS[[1, 0]], torch.full((5,), key))


def test_a_trace_without_likenesses_cannot_tell_rounding_from_another_image():
    with pytest.raises(
        TraceError, match=r"sample 1, as encoded here.*--keep samples.*Uniform\(1\)"
    ):
        check_encoded([1], LATENTS[[1]], RECORDED, None)


def test_kept_samples_lie_nearest_to_their_own_images():
    """They were drawn around them, once."""
    drawn = LATENTS + 0.3 * torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    check_kept(range(5), LATENTS, drawn, RECORDED)
    with pytest.raises(TraceError, match="saw as sample 2 is sample 4 of this dataset"):
        check_kept(range(5), LATENTS, drawn[[0, 1, 4, 3, 2]], RECORDED)


def test_a_wide_posterior_does_not_take_images_for_others():
    noise = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    check_kept(range(5), LATENTS, LATENTS + 10 * noise, RECORDED)
