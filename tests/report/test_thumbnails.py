import base64
import io

import pytest
import torch

from retrac_plugin.report.thumbnails import SIDES, thumbnails

Image = pytest.importorskip("PIL.Image")


def noise(count, side):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def opened(source):
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_small_pictures_are_kept_pixel_by_pixel():
    images = noise(4, 8)
    found = thumbnails(images, [2])
    assert found.as_blocks
    assert list(found.sources) == [2]
    image = opened(found.sources[2])
    assert (image.format, image.size) == ("PNG", (8, 8))
    red = (images[2, 0, 0, 0] + 1) * 127.5
    assert image.getpixel((0, 0))[0] == pytest.approx(float(red), abs=0.5)


def test_large_ones_are_shrunk_and_look_the_same():
    ramp = torch.linspace(-1, 1, 512).expand(3, 512, 512)
    found = thumbnails([ramp], [0])
    image = opened(found.sources[0])
    assert not found.as_blocks
    assert image.size == (SIDES[0], SIDES[0])
    left, right = image.getpixel((0, 9))[0], image.getpixel((SIDES[0] - 1, 9))[0]
    assert left < 8
    assert right > 247


def test_many_are_made_smaller_so_that_they_weigh_what_they_may():
    images = noise(40, 128)
    most = 40 * 3000
    found = thumbnails(images, range(40), most)
    assert sum(map(len, found.sources.values())) <= most * 1.05
    assert opened(found.sources[0]).size[0] < 128
    assert opened(thumbnails(images, [0], most).sources[0]).size == (128, 128)
