"""Sample ids travel with the batch, from the dataset to where the script receives it.

The ids are attached where a batch is put together, in the worker process if there is one, and taken
off again just before the script gets it. In between the batch may be pinned, sent to a device, held
back by accelerate, which always reads one batch ahead, or skipped after a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from retrac_plugin.recording.patching import wrapped

Received = Callable[[Tensor | None, Any, Any], None]
"""Called with the ids of the batch that the script receives, if it has any, dataset and loader."""


class Tagged(NamedTuple):
    """A batch on its way; a named tuple, which loaders and devices take apart and rebuild."""

    ids: Tensor
    batch: Any


class Fetched(list[Any]):
    """Examples that know their positions in the dataset."""

    ids: Tensor


class Indexed(Dataset[Any]):
    """A dataset that says which examples it hands to ``collate_fn``; else it is as it was."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]

    def __getitems__(self, indices: list[Any]) -> Fetched:
        """Return a batch's examples; loaders prefer this to ``__getitem__``."""
        if hasattr(self.dataset, "__getitems__"):
            examples = Fetched(self.dataset.__getitems__(indices))
        else:
            examples = Fetched(self.dataset[index] for index in indices)
        examples.ids = torch.tensor([int(index) for index in indices])
        return examples

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet, while a worker unpickles it
            raise AttributeError(name)
        return getattr(self.dataset, name)


class Tagging:
    """A ``collate_fn`` that attaches the ids to what the script's own one returns."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, examples: Any) -> Any:
        """Collate a batch."""
        if not isinstance(examples, Fetched):
            return self.collate(examples)
        return Tagged(examples.ids, self.collate(list(examples)))


class Watched:
    """An iterator over batches that takes the ids off, if it is the script that asks.

    Loaders can lie inside one another. The outermost one is the script's own; while it is asked,
    those inside hand their batches on as they are.
    """

    asking = 0

    def __init__(self, batches: Iterator[Any], loader: Any, received: Received) -> None:
        self.batches, self.loader, self.received = batches, loader, received

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        Watched.asking += 1
        try:
            batch = next(self.batches)
        finally:
            Watched.asking -= 1
        if Watched.asking:
            return batch
        ids, batch = batch if isinstance(batch, Tagged) else (None, batch)
        self.received(ids, _bare(self.loader.dataset), self.loader)
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)


@contextmanager
def watching_loaders(classes: list[type], received: Received) -> Iterator[None]:
    """Watch what the loaders of these classes hand out, ``DataLoader`` among them."""

    def construct(original: Callable[..., None], loader: Any, *args: Any, **kwargs: Any) -> None:
        original(loader, *args, **kwargs)
        _index(loader)

    def iterate(original: Callable[[Any], Iterator[Any]], loader: Any) -> Watched:
        return Watched(original(loader), loader, received)

    with ExitStack() as stack:
        stack.enter_context(wrapped(DataLoader, "__init__", construct))
        for loader_class in classes:
            stack.enter_context(wrapped(loader_class, "__iter__", iterate))
        yield


def _index(loader: Any) -> None:
    """Make a loader of batches from a map-style dataset attach ids; others have none to attach."""
    unindexed = isinstance(loader.dataset, (IterableDataset, Indexed))
    if unindexed or loader.batch_sampler is None:
        return
    vars(loader)["dataset"] = Indexed(loader.dataset)  # a loader's dataset cannot be assigned
    loader.collate_fn = Tagging(loader.collate_fn)


def _bare(dataset: Any) -> Any:
    return dataset.dataset if isinstance(dataset, Indexed) else dataset
