import numpy as np
import pytest
import torch
from PIL import Image

from retrac_adapters.images.framing import Framing
from retrac_plugin.errors import InputError


def write(path, width, height, mode="RGB", **more):
    random = np.random.default_rng(0)
    shape = (height, width) if mode == "L" else (height, width, 3)
    Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8), mode).save(path, **more)
    return path


@pytest.mark.parametrize(("width", "height"), [(8, 8), (13, 8), (8, 15)])
def test_the_centre_is_taken_as_torchvision_takes_it(tmp_path, width, height):
    path = write(tmp_path / "image.png", width, height)
    framed = Framing(8).read(path)
    # the shorter side is 8 already, so that nothing is resized; rounding is to the even number
    left, top = {(8, 8): (0, 0), (13, 8): (2, 0), (8, 15): (0, 4)}[width, height]
    whole = np.array(Image.open(path))[top : top + 8, left : left + 8]
    expected = (torch.from_numpy(whole).permute(2, 0, 1) / 255.0 - 0.5) / 0.5
    assert torch.equal(framed, expected)


def test_the_shorter_side_is_resized(tmp_path):
    path = write(tmp_path / "image.png", 31, 20)
    resized = Image.open(path).resize((12, 8), Image.Resampling.LANCZOS).crop((2, 0, 10, 8))
    expected = (torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255.0 - 0.5) / 0.5
    assert torch.equal(Framing(8).read(path), expected)
    assert not torch.equal(Framing(8, "bilinear").read(path), expected)


def test_grey_and_turned_images_become_upright_rgb(tmp_path):
    grey = Framing(8).read(write(tmp_path / "grey.png", 8, 8, "L"))
    assert torch.equal(grey[0], grey[2])
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = Framing(8).read(write(tmp_path / "turned.png", 8, 8, exif=exif))
    plain = Framing(8).read(write(tmp_path / "plain.png", 8, 8))
    assert torch.equal(turned, plain.rot90(-1, (1, 2)))


def test_what_is_no_image_is_refused(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"not an image")
    with pytest.raises(InputError, match="cannot read the image"):
        Framing(8).read(path)


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(InputError, match=r"expected one of nearest, .* got 'cubic'"):
        Framing(8, "cubic")
