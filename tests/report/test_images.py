import io

import numpy as np
import pytest
import torch

from retrac_plugin.report.images import data_uri, pixels, png

Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (1, 1, 1), (3, 40, 3)])
def test_a_png_reader_gets_the_pixels_back(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    levels = pixels(image, largest_side=64)
    read = np.asarray(Image.open(io.BytesIO(png(levels)))).reshape(levels.shape)
    np.testing.assert_array_equal(read, levels)
    np.testing.assert_allclose(levels / 127.5 - 1, image.permute(1, 2, 0), atol=1 / 255)


def test_values_outside_the_range_are_clipped():
    image = torch.tensor([[[-3.0, -1.0, 1.0, 7.0]]])
    assert pixels(image, 8).flatten().tolist() == [0, 0, 255, 255]


def test_large_images_are_shrunk_by_averaging():
    stripes = torch.tensor([-1.0, 1.0]).repeat(100).expand(1, 100, 200)
    assert pixels(stripes, 50).shape == (25, 50, 1)
    assert set(pixels(stripes, 50).flatten().tolist()) == {128}  # the grey between


def test_data_uri_is_one():
    assert data_uri(torch.zeros(1, 2, 2), 8).startswith("data:image/png;base64,iVBOR")
