import pytest
import torch
from safetensors.torch import save_file

from retrac_plugin.errors import InputError
from retrac_plugin.report.sources import pictures_at

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("b.png", "sub/a.png")):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 255 * number).save(path)
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    return tmp_path / "images"


def test_a_folder_is_read_by_the_names_of_the_scores_and_not_in_its_own_order(folder):
    found = pictures_at(folder, ("sub/a.png", "b.png"), 2)
    assert [float(found[i].mean()) for i in range(len(found))] == [1.0, -1.0]


def test_a_folder_without_names_is_refused_since_its_order_is_not_known(folder):
    with pytest.raises(InputError, match=r"which image of .* is which is not known"):
        pictures_at(folder, (), 2)


def test_a_folder_that_lacks_a_name_is_refused(folder):
    with pytest.raises(InputError, match=r"the scores are of 'c\.png', which is not in"):
        pictures_at(folder, ("b.png", "c.png"), 2)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname"])
def test_names_lead_out_of_no_folder(folder, name):
    with pytest.raises(InputError, match="lies outside"):
        pictures_at(folder, (name,), 1)


def test_a_file_of_tensors_must_hold_as_many(tmp_path):
    path = tmp_path / "train.safetensors"
    save_file({"sample": torch.zeros(3, 1, 4, 4)}, path)
    assert pictures_at(path, ("0", "1", "2"), 3)[1].shape == (1, 4, 4)
    with pytest.raises(InputError, match=r"of 2 images, the first of them '0', .* holds 3 images"):
        pictures_at(path, ("0", "1"), 2)
    with pytest.raises(InputError, match=r"the first of them 'x\.png'"):
        pictures_at(path, ("x.png", "y.png", "z.png"), 3)


def test_latents_are_no_pictures(tmp_path):
    path = tmp_path / "train.safetensors"
    save_file({"sample": torch.zeros(3, 4, 4, 4)}, path)
    assert pictures_at(path, (), 3)[0] is None
