import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from retrac_plugin.data.examples import ExampleSource, named
from retrac_plugin.errors import InputError

IMAGES = torch.rand(5, 1, 2, 2)


class Mappings(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return {"sample": IMAGES[index], "class_labels": index, "added": {"ids": IMAGES[index, 0]}}


CONTAINERS = {
    "tensor": IMAGES,
    "list": list(IMAGES),
    "mappings": Mappings(),
    "list of mappings": [{"sample": image} for image in IMAGES],
    "tensor dataset": TensorDataset(IMAGES),
    "subset": Subset(Mappings(), range(5)),
    "loader": DataLoader(Mappings(), batch_size=2),
    "loader of tensors": DataLoader(TensorDataset(IMAGES), batch_size=3),
    "named tuples": named(TensorDataset(IMAGES, torch.arange(5)), ("sample", None)),
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_every_container_gives_the_same_examples_in_blocks(container, size):
    source = ExampleSource(container, "train")
    blocks = list(source.blocks(size))
    assert len(source) == source.dataset_size == 5
    assert max(len(block.ids) for block in blocks) <= size
    assert [i for block in blocks for i in block.ids] == list(range(5))
    assert torch.equal(torch.cat([block.samples for block in blocks]), IMAGES)
    assert len({key for block in blocks for key in block.keys}) == 5


def test_conditions_travel_with_their_samples():
    blocks = list(ExampleSource(Mappings(), "train").blocks(2))
    assert blocks[1].conditions["class_labels"].tolist() == [2, 3]
    assert torch.equal(blocks[1].conditions["added"]["ids"], IMAGES[2:4, 0])


def test_a_loader_over_some_samples_keeps_their_ids():
    loader = DataLoader(Mappings(), batch_size=2, sampler=[4, 1, 3])
    source = ExampleSource(loader, "train")
    assert source.ids == [4, 1, 3]
    assert source.dataset_size == 5


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ([], "train is empty"),
        (torch.zeros(0, 1, 2, 2), "train is empty"),
        (DataLoader(Mappings(), shuffle=True), "the DataLoader shuffles"),
        (iter(IMAGES), "expected a map-style dataset"),
        (DataLoader(Mappings(), batch_size=None), "got batch_size=None"),
    ],
)
def test_unsuitable_containers_are_refused(container, message):
    with pytest.raises(InputError, match=message):
        ExampleSource(container, "train")


def test_iterable_datasets_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(IMAGES)

    with pytest.raises(InputError, match="not an iterable"):
        ExampleSource(DataLoader(Stream()), "train")


def test_a_loader_that_drops_its_last_batch_covers_less():
    source = ExampleSource(DataLoader(Mappings(), batch_size=2, drop_last=True), "train")
    assert source.ids == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([(IMAGES[0], 3)], r"got a tuple.*retrac_plugin.named"),
        ([{"image": IMAGES[0]}], r"a mapping with the keys \['image'\]"),
        ([IMAGES[0], torch.zeros(1, 3, 3)], r"example 1 has the shape \(1, 3, 3\)"),
        ([{"sample": IMAGES[0]}, {"sample": IMAGES[0], "c": 1}], "example 1 has the fields"),
    ],
)
def test_unsuitable_examples_are_named(examples, message):
    with pytest.raises(InputError, match=message):
        list(ExampleSource(examples, "train").blocks(2))


def test_named_needs_a_sample():
    with pytest.raises(InputError, match="one of the names to be 'sample'"):
        named([], ("image", "label"))
