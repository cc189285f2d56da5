"""Ids that travel with a batch, whatever lies between the dataset and the script."""

from collections import namedtuple

import pytest
import torch
from accelerate import Accelerator
from accelerate.data_loader import (
    DataLoaderDispatcher,
    DataLoaderShard,
    SkipDataLoader,
    skip_first_batches,
)
from accelerate.utils import DataLoaderConfiguration
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from retrac_plugin.recording.loaders import watching_loaders
from tests.recording.running import fresh_process

Pair = namedtuple("Pair", "image label")


class Numbers(Dataset):
    """The example at i is made by ``shape(i)``."""

    column = "number"

    def __init__(self, shape):
        self.shape = shape

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return self.shape(torch.tensor(float(index)))


class InBatches(Numbers):
    """Fetches a whole batch at once, as the ``datasets`` library does."""

    def __getitems__(self, indices):
        self.fetched = indices
        return [self.shape(torch.tensor(float(index))) for index in indices]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(6.0))


@pytest.fixture
def received():
    """What the script would receive: ids and dataset of every batch."""
    seen = []
    classes = [DataLoader, DataLoaderShard, DataLoaderDispatcher, SkipDataLoader]
    with (
        fresh_process(),
        watching_loaders(classes, lambda ids, dataset, _: seen.append((as_list(ids), dataset))),
    ):
        yield seen


def as_list(ids):
    return None if ids is None else ids.tolist()


def numbers_in(batch):
    """Return the numbers in a batch of any kind."""
    if isinstance(batch, dict):
        batch = next(iter(batch.values()))
    elif isinstance(batch, (tuple, list)):
        batch = batch[0]
    return batch.tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "shape", [lambda x: x, lambda x: {"image": x}, lambda x: (x, x), lambda x: Pair(x, x)]
)
def test_ids_are_those_of_the_batch_of_any_kind(received, shape, workers):
    loader = DataLoader(Numbers(shape), batch_size=3, shuffle=True, num_workers=workers)
    for batch in loader:
        assert numbers_in(batch) == received[-1][0]
    assert len(received) == 3


def test_a_script_receives_what_it_would_receive_unwatched():
    dataset = Numbers(lambda x: {"image": x, "square": x**2})

    def batches():
        generator = torch.Generator().manual_seed(0)
        return list(DataLoader(dataset, batch_size=3, shuffle=True, generator=generator))

    with watching_loaders([DataLoader], lambda *_: None):
        watched = batches()
    for seen, alone in zip(watched, batches(), strict=True):
        assert type(seen) is type(alone)
        assert all(torch.equal(seen[key], alone[key]) for key in alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_accelerate_reads_one_batch_ahead(received, workers):
    accelerator = Accelerator(cpu=True)
    loader = DataLoader(Numbers(lambda x: x), batch_size=2, shuffle=True, num_workers=workers)
    for batch in accelerator.prepare(loader):
        assert batch.tolist() == received[-1][0]
    assert len(received) == 4


def test_batches_that_a_resumed_script_skips_are_not_received(received):
    accelerator = Accelerator(cpu=True)
    loader = accelerator.prepare(DataLoader(Numbers(lambda x: x), batch_size=2))
    batches = [(batch.tolist(), received[-1][0]) for batch in skip_first_batches(loader, 2)]
    assert batches == [([4.0, 5.0], [4, 5]), ([6.0], [6])]


def test_a_batch_may_be_dispatched_from_one_process(received):
    configuration = DataLoaderConfiguration(dispatch_batches=True)
    accelerator = Accelerator(cpu=True, dataloader_config=configuration)
    for batch in accelerator.prepare(DataLoader(Numbers(lambda x: x), batch_size=2)):
        assert batch.tolist() == received[-1][0]
    assert len(received) == 4


def test_a_loader_in_a_loop_begun_anew_starts_anew(received):
    loader = DataLoader(Numbers(lambda x: x), batch_size=2)
    first, again = (next(iter(loader)).tolist() for _ in range(2))
    assert first == again == received[-1][0] == [0, 1]


def test_datasets_that_fetch_whole_batches_still_do(received):
    dataset = InBatches(lambda x: x)
    for batch in DataLoader(dataset, batch_size=4):
        assert batch.tolist() == dataset.fetched == received[-1][0]


def test_the_dataset_of_a_loader_looks_as_it_did(received):
    dataset = Numbers(lambda x: x)
    loader = DataLoader(dataset, batch_size=4)
    assert len(loader.dataset) == 7
    assert loader.dataset.column == "number"
    assert loader.dataset[3] == 3
    next(iter(loader))
    assert received[-1][1] is dataset
    with pytest.raises(AttributeError, match="colour"):
        loader.dataset.colour  # noqa: B018 it is the access that fails


def test_collate_functions_see_a_plain_list(received):
    seen = []
    loader = DataLoader(Numbers(lambda x: x), batch_size=4, collate_fn=seen.append)
    next(iter(loader))
    assert type(seen[0]) is list


@pytest.mark.parametrize("options", [{"batch_size": None}, {"batch_size": 2}])
def test_what_has_no_positions_passes_unchanged(received, options):
    dataset = Stream() if options["batch_size"] else Numbers(lambda x: x)
    batches = list(DataLoader(dataset, **options))
    assert torch.stack([batch.reshape(-1)[0] for batch in batches]).tolist()[1] in (1.0, 2.0)
    assert {ids for ids, _ in received} == {None}


def test_everything_is_put_back():
    before = DataLoader.__init__, DataLoader.__iter__
    with watching_loaders([DataLoader], lambda *_: None):
        assert DataLoader.__init__ is not before[0]
    assert (DataLoader.__init__, DataLoader.__iter__) == before
    assert isinstance(DataLoader(TensorDataset(torch.zeros(2))).dataset, TensorDataset)
