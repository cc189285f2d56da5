import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import retrac_plugin as retrac
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.data.keys import keys_of
from retrac_plugin.randomness import content_key
from tests.small import small_case

LEVELS = torch.randint(256, (6, 3, 5, 5), generator=torch.Generator().manual_seed(0))
PICTURES = LEVELS.float() / 127.5 - 1
FRACTIONS = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 2 - 1

SAME_PICTURES = {
    "float64": PICTURES.double(),
    "float16": PICTURES.half(),
    "bfloat16": PICTURES.bfloat16(),
    "computed in float64": torch.from_numpy(LEVELS.numpy() / 127.5 - 1),
    "as torchvision scales it": (LEVELS.float() / 255 - 0.5) / 0.5,
    "as NumPy scales it, in float64": torch.from_numpy(
        LEVELS.numpy().astype(np.float64) / 255 * 2 - 1
    ),
}


@pytest.mark.parametrize("pictures", SAME_PICTURES.values(), ids=SAME_PICTURES)
def test_a_picture_has_one_key_in_every_floating_type(pictures):
    expected = [content_key(picture) for picture in PICTURES]
    assert keys_of(pictures, None, "train") == expected
    assert [
        k for b in ExampleSource(TensorDataset(pictures), "train").blocks(4) for k in b.keys
    ] == (expected)


def test_one_level_more_is_another_picture_in_every_floating_type():
    brighter = LEVELS.clone()
    brighter[:, 0, 0, 0] = (brighter[:, 0, 0, 0] + 1) % 256
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        others = keys_of((brighter.float() / 127.5 - 1).to(dtype), None, "train")
        assert not set(others) & set(keys_of(PICTURES, None, "train"))


def test_a_picture_of_sixteen_bits_is_not_taken_for_one_of_eight():
    fine = PICTURES.double()
    fine[:, 0, 0, 0] = 1 / 65535
    assert keys_of(fine, None, "train") == [content_key(picture) for picture in fine]


def test_samples_that_lost_bits_are_drawn_for_otherwise_and_that_is_said():
    source = ExampleSource(FRACTIONS.bfloat16(), "queries")
    with pytest.warns(UserWarning, match="queries: samples are bfloat16, .* Pass them in float32"):
        list(source.blocks(6))


def test_samples_that_say_their_keys_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keys = keys_of(FRACTIONS.half(), torch.arange(6), "train")
    assert keys == list(range(6))


def test_scores_of_rounded_pictures_are_those_of_the_pictures():
    case = small_case()
    draws = {"train_draws": retrac.Uniform(2), "query_draws": retrac.Strided(3)}
    attributor = retrac.DiffusionReTrac(case.model, case.checkpoints, progress=False, **draws)
    shape = case.train[0].shape
    levels = torch.randint(256, (9, *shape), generator=torch.Generator().manual_seed(2))
    pictures = levels.double() / 127.5 - 1
    exact, rounded = (
        attributor.attribute(x[:7], x[7:]).values for x in (pictures, pictures.bfloat16())
    )
    assert torch.corrcoef(torch.stack([exact.flatten(), rounded.flatten()]))[0, 1] > 0.99
