"""How many threads a test's sums take."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads_restored() -> Iterator[None]:
    """Put the number of threads back that a command sets for itself."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, the same sums in the same order, here and in processes that are forked."""
    with threads_restored():
        torch.set_num_threads(1)
        yield
