"""Pictures of every kind become the values that their pixels mean."""

import numpy as np
import pytest
import torch
from PIL import Image

from retrac_plugin.data.image_files import read_examples
from retrac_plugin.data.pictures import read_picture
from retrac_plugin.errors import InputError

RAMP = np.linspace(0, 65535, 64).reshape(8, 8)


def save(path, pixels, mode=None):
    image = Image.fromarray(pixels) if mode is None else Image.fromarray(pixels).convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_levels(tmp_path, suffix):
    grey = RAMP.astype(np.uint16)
    got = read_picture(save(tmp_path / f"a.{suffix}", grey))
    expected = torch.from_numpy(grey.astype(np.float32) / 65535)[None] * 2 - 1
    assert torch.equal(got, expected)
    assert (got.shape, got.min(), got.max()) == ((1, 8, 8), -1, 1)


def test_fractions_are_black_at_0_and_white_at_1(tmp_path):
    fractions = (RAMP / 65535).astype(np.float32)
    got = read_picture(save(tmp_path / "a.tif", fractions))
    assert torch.equal(got, torch.from_numpy(fractions)[None] * 2 - 1)


@pytest.mark.parametrize("pixels", [RAMP.astype(np.float32), RAMP.astype(np.int32)])
def test_numbers_whose_white_is_not_known_are_refused(tmp_path, pixels):
    path = save(tmp_path / "a.tif", pixels)
    with pytest.raises(InputError, match="from 0 to 65535: expected 8 or 16 bits, or fractions"):
        read_picture(path)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_bytes_of_every_mode_are_grey_or_rgb(tmp_path, mode, channels):
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:4] = 255
    suffix = "tif" if mode == "CMYK" else "png"
    got = read_picture(save(tmp_path / f"a.{suffix}", colours, mode))
    assert torch.equal(got, torch.ones(channels, 8, 8).index_fill(1, torch.arange(4, 8), -1))


def test_pictures_are_turned_upright(tmp_path):
    wide = np.arange(12 * 8 * 3, dtype=np.uint8).reshape(8, 12, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(wide).save(tmp_path / "a.png", exif=exif)
    upright = torch.from_numpy(wide).permute(2, 0, 1).rot90(-1, (1, 2)) / 127.5 - 1
    assert torch.equal(read_examples(tmp_path / "a.png")[0]["sample"], upright)


def test_hidden_files_are_no_images_of_a_folder(tmp_path):
    hidden = (".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/1.png", "._0.png")
    for name in ("0.png", "1.png", *hidden):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert read_examples(tmp_path).names == ["0.png", "1.png"]
