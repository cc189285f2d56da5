"""Which sample a row of a batch is, where it is not simply a position."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from retrac_plugin.errors import InputError
from retrac_plugin.recording.identity import TrainingSet, rows_of_each


class Dreambooth(SimpleNamespace):
    """What the datasets of diffusers' DreamBooth scripts have."""

    def __len__(self):
        return self.length


def test_a_sample_is_a_position():
    found = TrainingSet(range(5), kinds=1)
    assert (found.size, found.names) == (5, ())
    assert found.rows(torch.tensor([4, 0])).tolist() == [4, 0]


def test_pairs_are_first_ones_then_second_ones():
    found = TrainingSet(range(5), kinds=2)
    assert found.size == 10
    assert found.rows(torch.tensor([4, 0])).tolist() == [4, 0, 9, 5]


def test_dreambooth_folders_are_counted_by_name():
    """The script reads them in the order of the file system."""
    dataset = Dreambooth(length=2, instance_images_path=[Path("i/b.png"), Path("i/a.png")])
    found = TrainingSet(dataset, kinds=1)
    assert found.names == ("a.png", "b.png")
    assert found.rows(torch.tensor([0, 1])).tolist() == [1, 0]


def test_class_images_come_after_the_instance_images():
    """Of three class images two are used; the two kinds repeat at their own pace."""
    dataset = Dreambooth(
        length=3,
        instance_images_path=["b", "a", "c"],
        class_images_path=["z", "y", "x"],
        num_class_images=2,
    )
    found = TrainingSet(dataset, kinds=2)
    assert found.names == ("a", "b", "c", "y", "z")
    assert found.rows(torch.tensor([0, 1, 2])).tolist() == [1, 0, 2, 4, 3, 4]


def test_repeated_images_are_one_sample(tmp_path):
    for name in ("b.png", "a.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    with Image.open(tmp_path / "b.png") as b, Image.open(tmp_path / "a.png") as a:
        found = TrainingSet(Dreambooth(length=4, instance_images=[b, b, a, a]), kinds=1)
    assert (found.size, found.names) == (2, ("a.png", "b.png"))
    assert found.rows(torch.arange(4)).tolist() == [1, 1, 0, 0]


def test_images_without_a_name_are_positions():
    images = [Image.new("RGB", (2, 2)) for _ in range(3)]
    found = TrainingSet(Dreambooth(length=3, instance_images=images), kinds=1)
    assert (found.size, found.names) == (3, ())


@pytest.mark.parametrize(("ids", "rows"), [([0, 1], 3), ([], 0), ([0, 1, 2], 2)])
def test_rows_must_be_whole(ids, rows):
    with pytest.raises(InputError, match=f"{rows} samples were diffused of a batch of {len(ids)}"):
        rows_of_each(torch.tensor(ids), rows)


def test_rows_of_each_example():
    assert rows_of_each(torch.tensor([3, 1]), 4) == 2
