"""An approximate index of a store's rows: the extreme samples of a query without reading them all.

For Diffusion-TracIn and Diffusion-ReTrac a score is an inner product of all checkpoints' rows side
by side, ``sum_k sqrt(eta_k) r(g_i^k) . sqrt(eta_k) q^k``. Rows are sorted into lists, about the
square root of their number, by the nearest of as many centres; for a query only the lists of the
nearest centres are looked through. How many is chosen when the index is built, by what it finds of
the ten highest of some training samples in the place of queries.

Source: Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs", 2017 (faiss).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retrac_plugin.attribution.highest import Highest
from retrac_plugin.attribution.scores import Top
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading, writing
from retrac_plugin.extras import requires
from retrac_plugin.files import write_atomically
from retrac_plugin.store.sums import sum_of

Rows = Callable[[Tensor | None], Iterator[tuple[Tensor, Tensor]]]
"""``samples or None -> (which, rows [some, width])``, piece by piece: of these samples, or all."""

FILE, ABOUT = "rows.faiss", "index.json"
FORMAT = 1

POINTS = 39
"""Rows for each centre that it is learnt from: the least that faiss asks for."""

STAND_INS = 64
"""Training samples that are looked for in the place of queries."""

HIGHEST = 10
RECALL = 0.95
"""Of the highest that the index is to find of the stand-ins'."""


@dataclass(frozen=True)
class About:
    """What an index is.

    Attributes:
        samples: How many rows it has.
        probes: Lists that are looked through for a query.
        lists: How many there are.
        recall: What it found of the ten highest of training samples in the place of queries.
        scale: What rows were multiplied by.
        total: The sum of its file's bytes, see ``sum_of``.
        format: Its version.
    """

    samples: int
    probes: int
    lists: int
    recall: float
    scale: float
    total: int
    format: int = FORMAT


class Index:
    """An index on disk, mapped into memory.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ABOUT
        with reading(path, InputError, "the index", at_most=TEXT_BYTES):
            self.about = About(**json.loads(path.read_text(encoding="utf-8")))
            if self.about.format != FORMAT:
                raise ValueError(f"it is of format {self.about.format}, expected {FORMAT}")
        file = folder / FILE
        with reading(file, InputError, "the index"):
            if _total(file) != self.about.total:
                raise InputError(
                    f"the index {str(file)!r} is damaged: its bytes do not add up to what was "
                    f"written. Delete {str(folder)!r}, and the next question makes it anew"
                )
            faiss = _faiss()
            self._index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether one lies in a folder."""
        return (folder / ABOUT).exists()

    @classmethod
    def build(cls, folder: Path, rows: Rows, samples: int) -> Index:
        """Sort rows into lists, measure what is found, and write the index.

        Args:
            folder: Where to; written whole or not at all.
            rows: The rows; all are read once.
            samples: How many.

        Raises:
            MissingDependencyError: If faiss is not installed.
            OutputError: If it cannot be written.
        """
        faiss = _faiss()
        lists = max(1, min(round(math.sqrt(samples)), samples // POINTS))
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
        chosen = order[: max(POINTS * lists, STAND_INS)]
        known = torch.cat([part for _, part in rows(chosen)]).float()
        scale = 1 / max(float(known.abs().max()), math.ulp(0.0))  # what 16 bits have room for
        width = known.shape[1]
        centres = faiss.IndexFlatIP(width)
        index = faiss.IndexIVFScalarQuantizer(
            centres, width, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        index.train((known * scale).numpy())
        exact = Highest(HIGHEST)
        for which, part in rows(None):
            index.add_with_ids((part.float() * scale).numpy(), which.numpy())
            exact.add(which, known[:STAND_INS] @ part.float().T)
        probes, recall = _enough(index, lists, known[:STAND_INS] * scale, exact.top().indices)
        with writing(folder / FILE):
            write_atomically(folder / FILE, lambda path: faiss.write_index(index, str(path)))
            total = _total(folder / FILE)
            about = About(samples, probes, lists, recall, scale, total)
            text = json.dumps(asdict(about), indent=1)
            write_atomically(folder / ABOUT, lambda path: path.write_text(text, encoding="utf-8"))
        return cls(folder)

    def highest(self, queries: Tensor, k: int) -> Top:
        """Return the ``k`` rows of the highest inner products that it finds, about as high."""
        vectors, probes = queries.float().cpu().numpy(), self.about.probes
        while True:
            self._index.nprobe = probes
            values, indices = self._index.search(vectors, k)
            if (indices >= 0).all() or probes >= self.about.lists:
                return Top(torch.from_numpy(indices), torch.from_numpy(values) / self.about.scale)
            probes *= 2  # these lists have fewer than k rows


def _enough(index: Any, lists: int, queries: Tensor, exact: Tensor) -> tuple[int, float]:
    """Return of how many lists the index is to look through, and what it finds there."""
    probes = 1
    while True:
        index.nprobe = probes
        found = torch.from_numpy(index.search(queries.numpy(), exact.shape[1])[1])
        recall = float((found[:, :, None] == exact[:, None]).any(1).double().mean())
        if recall >= RECALL or probes >= lists:
            return probes, recall
        probes = min(2 * probes, lists)


def _total(path: Path) -> int:
    return sum_of(np.memmap(path, dtype=np.uint8, mode="r"))


def _faiss() -> Any:
    with requires("an index of a store", "index"):
        import faiss
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss
