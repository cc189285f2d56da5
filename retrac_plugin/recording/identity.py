"""Which sample each row of a batch is.

Mostly that is the example's position in the dataset. DreamBooth's datasets differ: they read a
folder in whatever order the file system has, repeat images, and put a class image beside each
instance image. There the training set is the instance images and then the class images, each in the
order of their names, as a folder is read for attribution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retrac_plugin.errors import InputError


class TrainingSet:
    """The samples behind a script's dataset.

    Where one example gives several rows, a batch holds all first rows, then all second ones, and so
    does the training set.

    Args:
        dataset: The script's dataset.
        kinds: Rows that one example gives.
    """

    def __init__(self, dataset: Any, kinds: int) -> None:
        self.dataset, self.kinds = dataset, kinds
        self.names, tables = _dreambooth(dataset, kinds) or (
            (),
            [torch.arange(len(dataset))] * kinds,
        )
        self.size = 0
        self._tables: list[Tensor] = []
        for table in tables:
            self._tables.append(table + self.size)
            self.size = int(self._tables[-1].max()) + 1

    def rows(self, ids: Tensor) -> Tensor:
        """Return the sample of each row of a batch, from positions in the dataset."""
        return torch.cat([table[ids % len(table)] for table in self._tables])


def rows_of_each(ids: Tensor, rows: int) -> int:
    """Return how many rows each example of a batch gave.

    Raises:
        InputError: If they are not whole.
    """
    if not len(ids) or rows % len(ids):
        raise InputError(
            f"retrac record: {rows} samples were diffused of a batch of {len(ids)} examples: "
            "expected one each, or as many for each"
        )
    return rows // len(ids)


def _dreambooth(dataset: Any, kinds: int) -> tuple[tuple[str, ...], list[Tensor]] | None:
    """Return the samples' file names, and for each kind the sample at each position."""
    instances = getattr(dataset, "instance_images_path", getattr(dataset, "instance_images", None))
    classes = getattr(dataset, "class_images_path", ())[: getattr(dataset, "num_class_images", 0)]
    if instances is None or kinds > 2:
        return None
    by_kind = [[_file_name(image) for image in kind] for kind in (instances, classes)[:kinds]]
    if not all(all(names) and names for names in by_kind):
        return None
    ordered = [sorted(set(names)) for names in by_kind]
    tables = [
        torch.tensor([order.index(name) for name in names])
        for names, order in zip(by_kind, ordered, strict=True)
    ]
    return tuple(name for order in ordered for name in order), tables


def _file_name(image: Any) -> str:
    """Return the name of a path, or of the file that an image of Pillow was opened from, or ""."""
    path = image if isinstance(image, (str, Path)) else getattr(image, "filename", "")
    return Path(path).name
