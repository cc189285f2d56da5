"""How a job is cut to fit into memory.

Beside the user's network and data, attribution at one checkpoint holds

``P (1 + [preconditioned]) + 9/8 R Q P`` numbers ``+ B a + 128 MiB``

for ``P`` attributed parameters, ``Q`` queries at a time under ``R`` methods, and batches of ``B``
samples with ``a`` bytes of activations each. The eighth is for gradients that are not yet added up
on the query side, and for layers that wait for more rows on the train side; one gradient at least.
Nothing grows with the number of training samples but the scores themselves, ``4 R Q`` bytes each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import tree_map

from retrac_plugin.errors import InputError, OutOfMemoryError
from retrac_plugin.gradients.engine import Batch, LossFunction, Parameters
from retrac_plugin.gradients.losses import as_losses, ordinary
from retrac_plugin.gradients.surroundings import computing

SCRATCH = 2**27
"""Bytes for blocks of gradients, one layer's temporaries, and what the allocator keeps."""

PER_SAVED = 1.5
"""Bytes at the peak of a backward pass for each byte that the forward pass keeps for it."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


@dataclass(frozen=True)
class Plan:
    """How to cut a job.

    Attributes:
        batch_size: Samples per network pass.
        queries_at_once: Queries whose gradients are held together; each such block of queries costs
            one pass over the training set.
    """

    batch_size: int
    queries_at_once: int

    def samples(self, train: int, queries: int) -> int:
        """Return how many samples run past one checkpoint."""
        return queries + train * -(-queries // self.queries_at_once)


@dataclass(frozen=True)
class Needs:
    """What a job takes, in bytes.

    Attributes:
        fixed: Whatever its cut: weights and scratch.
        row: One gradient.
        matrices: Gradients held for each query, one a method; 0 if they lie in a file.
        sample: Activations of one sample.
        smallest_batch: Samples that cannot be parted.
    """

    fixed: int
    row: int
    matrices: int
    sample: int
    smallest_batch: int

    def bytes(self, plan: Plan) -> int:
        """Return the memory that a plan takes."""
        held = self.matrices * plan.queries_at_once
        rows = held + max(1, held / 8)
        return self.fixed + int(rows * self.row) + plan.batch_size * self.sample

    def plan(self, max_memory: int, batch_size: int, queries: int) -> Plan:
        """Return the plan with the fewest passes that fits.

        Args:
            max_memory: In bytes.
            batch_size: At most so many samples per pass.
            queries: How many there are.

        Raises:
            InputError: If not even one query fits.
        """
        # Half for activations at first: every query saved a pass saves more than a large batch.
        batch = self._batch(self.fixed + (max_memory - self.fixed) // 2, max_memory, batch_size)
        if self.bytes(Plan(batch, 1)) > max_memory:
            batch = self.smallest_batch
        if self.bytes(Plan(batch, 1)) > max_memory:
            raise InputError(
                f"max_memory: {max_memory:,} bytes are too few. One query at a time in batches of "
                f"{batch} takes {self.bytes(Plan(batch, 1)):,}: give more, attribute fewer "
                "parameters, or take fewer draws per timestep"
            )
        fits = next(q for q in range(queries, 0, -1) if self.bytes(Plan(batch, q)) <= max_memory)
        # As even as possible: the same number of passes with less memory, which batches may take.
        at_once = -(-queries // -(-queries // fits))
        return Plan(self._batch(self.bytes(Plan(0, at_once)), max_memory, batch_size), at_once)

    def _batch(self, taken: int, max_memory: int, at_most: int) -> int:
        """Return the largest batch beside what is taken, the smallest possible if none fits."""
        fits = (max_memory - taken) // max(1, self.sample)
        return max(self.smallest_batch, min(at_most, fits))


def saved_bytes(losses: LossFunction, parameters: Parameters, batch: Batch) -> int:
    """Return how many bytes the forward pass of ``batch`` keeps for its backward pass.

    Counted, not measured: the same on every device, and in inference mode, where nothing would be
    kept. What belongs to the parameters is not counted, nor what checkpointed layers run again.
    """
    taken, plain = as_losses(losses, parameters)
    with computing(next(iter(plain.values())).device):
        return _saved_bytes(taken, plain, tree_map(ordinary, batch))


def _saved_bytes(losses: LossFunction, parameters: Parameters, batch: Batch) -> int:
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    storages = {value.untyped_storage().data_ptr() for value in leaves.values()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # with its history, a graph would hold itself, and never be freed

    with torch.enable_grad(), saved_tensors_hooks(note, lambda tensor: tensor):
        losses(leaves, batch).sum()  # the graph dies here, and with it what it kept
    return sum(kept.values())


def as_bytes(value: int | str, what: str = "max_memory") -> int:
    """Return a number of bytes, such as ``"4GB"`` or ``"512 MiB"``.

    Raises:
        InputError: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?i?)b?\s*", str(value), re.IGNORECASE)
    unit = None if found is None else _UNITS.get(found[2].upper())
    if found is None or unit is None or float(found[1]) <= 0:
        raise InputError(f"{what}: expected bytes, such as 4000000000 or '4GB', got {value!r}")
    return int(float(found[1]) * unit)


@contextmanager
def within_memory() -> Iterator[None]:
    """Around a job: where memory does not suffice, the error names what makes it fit.

    Raises:
        OutOfMemoryError: If it does not.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        told = str(error).partition("\n")[0] or type(error).__name__
        raise OutOfMemoryError(
            f"the job does not fit into memory ({told}). Give max_memory=, such as '4GB': batches "
            "are cut and queries taken in blocks to fit. Or give query_store=, a folder for the "
            "queries' gradients, or a smaller batch_size="
        ) from error


def _is_of_memory(error: BaseException) -> bool:
    """Say whether an allocation failed; on the CPU torch says so in words alone."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(words in str(error) for words in _NO_MEMORY)


_NO_MEMORY = ("can't allocate memory", "out of memory")
