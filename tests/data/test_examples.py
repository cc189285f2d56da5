import pytest
import torch
from dattri.benchmark.utils import SubsetSampler
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset, TensorDataset
from torch.utils.data.distributed import DistributedSampler

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


class SeededPermutation(Sampler):
    """Another order than the dataset's, always the same, which it does not tell."""

    def __init__(self, order):
        self._order = order

    def __iter__(self):
        return iter(self._order)

    def __len__(self):
        return len(self._order)


class Buckets(SeededPermutation):
    """Batches of alike samples, as of pictures of one shape."""


SHUFFLED = {
    "one of one process": {"sampler": DistributedSampler(range(5), num_replicas=1, rank=0)},
    "one of two processes": {"sampler": DistributedSampler(range(5), num_replicas=2, rank=1)},
    "a seeded permutation": {"sampler": SeededPermutation([2, 0, 1, 4, 3])},
    "one of which the end is dropped": {
        "sampler": SeededPermutation([2, 0, 1, 4, 3]),
        "batch_size": 2,
        "drop_last": True,
    },
    "one with repeats": {"sampler": SeededPermutation([0, 1, 1, 2])},
    "buckets": {"batch_sampler": Buckets([[0, 2, 4], [1, 3]])},
}


@pytest.mark.parametrize("options", SHUFFLED.values(), ids=SHUFFLED)
def test_an_order_that_a_loader_draws_is_refused(options):
    with pytest.raises(InputError, match="train: the DataLoader shuffles, so that columns would"):
        ExampleSource(DataLoader(Mappings(), **options), "train")


STATED = {
    "a list": ({"sampler": [4, 1, 3]}, [4, 1, 3]),
    "a tensor": ({"sampler": torch.tensor([4, 1])}, [4, 1]),
    "a subset's sampler": ({"sampler": SubsetSampler([2, 0])}, [2, 0]),
    "a sampler of one's own": ({"sampler": SeededPermutation([4, 1, 3])}, [4, 1, 3]),
    "a list of batches": ({"batch_sampler": [[3, 1], [0]]}, [3, 1, 0]),
    "ranges": ({"batch_sampler": [range(3, 5), range(2)]}, [3, 4, 0, 1]),
    "a last batch dropped": ({"sampler": [4, 1, 3], "batch_size": 2, "drop_last": True}, [4, 1]),
    "every second one": ({"sampler": SeededPermutation([0, 2, 4])}, [0, 2, 4]),
    "one process in order": (
        {"sampler": DistributedSampler(range(5), num_replicas=1, rank=0, shuffle=False)},
        [0, 1, 2, 3, 4],
    ),
}


@pytest.mark.parametrize(("options", "ids"), STATED.values(), ids=STATED)
def test_an_order_that_is_written_out_or_the_datasets_own_is_that_of_columns(options, ids):
    source = ExampleSource(DataLoader(Mappings(), **options), "train")
    assert source.ids == ids
    samples = torch.cat([block.samples for block in source.blocks(2)])
    assert torch.equal(samples, IMAGES[ids])


class Flipping(Mappings):
    """Augmented as for training: at every access, another sign."""

    def __init__(self, until=0):
        self.count, self.until = 0, until

    def __getitem__(self, index):
        self.count += 1
        return {"sample": IMAGES[index] * (-1) ** max(0, self.count - self.until)}


@pytest.mark.parametrize("view", [lambda data: data, lambda data: DataLoader(data, batch_size=2)])
def test_a_dataset_that_answers_differently_the_second_time_is_refused(view):
    with pytest.raises(InputError, match="train: example 0 is not what it was when it was read"):
        list(ExampleSource(view(Flipping()), "train").blocks(2))


def test_later_passes_are_compared_with_the_first():
    """Ten reads go well at first, and five of the first pass; the second one differs."""
    source = ExampleSource(Flipping(until=15), "train")
    assert len(list(source.blocks(2))) == 3
    with pytest.raises(InputError, match="example 0 is not what it was"):
        list(source.blocks(2))


def test_conditions_that_change_are_noticed_too():
    class Dropping(Mappings):
        count = 0

        def __getitem__(self, index):
            self.count += 1
            return {"sample": IMAGES[index], "class_labels": torch.tensor(self.count)}

    with pytest.raises(InputError, match="example 0 is not what it was"):
        list(ExampleSource(Dropping(), "train").blocks(2))


def test_a_dataset_may_hold_what_is_no_number():
    nowhere = [{"sample": image, "mask": torch.full((2,), torch.nan)} for image in IMAGES]
    assert len(list(ExampleSource(Subset(nowhere, range(5)), "train").blocks(5))) == 1


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
