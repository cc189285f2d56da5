"""--preserve_input_precision: squares of numbers, not of bytes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from retrac_adapters.images.precise import PreciseFraming


@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)]
)
def test_a_grey_picture_keeps_its_precision(tmp_path, dtype, largest):
    grey = np.linspace(0, largest, 64).reshape(8, 8).astype(dtype)
    Image.fromarray(grey).save(tmp_path / "a.tif")
    expected = torch.from_numpy(grey.astype(np.float32)) / largest
    got = PreciseFraming(8).read(tmp_path / "a.tif")
    torch.testing.assert_close(got, ((expected - 0.5) / 0.5).expand(3, 8, 8), rtol=0, atol=2e-7)
    assert got[0].unique().numel() == 64


def test_alpha_is_left_out_and_the_second_of_two_channels_is_not(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., :2], "LA").save(tmp_path / "b.png")
    values = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - 0.5) / 0.5
    for name, channels in (("a.png", [0, 1, 2]), ("b.png", [0, 1, 0])):
        got = PreciseFraming(8).read(tmp_path / name)
        torch.testing.assert_close(got, values[channels], rtol=0, atol=2e-7)


def test_numbers_are_resized_with_antialiasing_and_cropped(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    resized = interpolate(whole, (8, 12), mode="bilinear", antialias=True)
    expected = (resized[0, :, :, 2:10] - 0.5) / 0.5
    torch.testing.assert_close(PreciseFraming(8).read(tmp_path / "a.png"), expected)
