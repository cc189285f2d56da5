"""Products of float32 numbers with all of their digits, whatever torch's switches allow.

By default torch lets convolutions on NVIDIA cards round what they multiply to TF32, 10 bits of
mantissa, and others let matrix products do so. Terms that nearly cancel, as in the gradients of a
network that is trained well, then differ between two right ways to add them up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

_READ = getattr(torch._C, "_get_fp32_precision_getter", None)
_WRITE = getattr(torch._C, "_set_fp32_precision_setter", None)
_OPERATORS = tuple(
    (backend, operator)
    for backend, operators in (("cuda", "conv rnn matmul"), ("mkldnn", "conv rnn matmul"))
    for operator in operators.split()
    if _READ is not None and _WRITE is not None
)
"""Torch's newer switches, one for each kind of operator; torch before 2.9 has none."""

_FULL = ("none", "ieee")


@dataclass(frozen=True)
class _Switches:
    """Where they stand; they are the process's, not a thread's."""

    products: str
    convolutions: bool | None
    """None where the newer switches are set such that this one may not be read."""
    operators: dict[tuple[str, str], str]

    @classmethod
    def now(cls) -> _Switches:
        convolutions: bool | None = None
        with suppress(RuntimeError):
            convolutions = torch.backends.cudnn.allow_tf32
        operators = {operator: _READ(*operator) for operator in _OPERATORS}  # type: ignore[misc]
        return cls(torch.get_float32_matmul_precision(), convolutions, operators)

    def set(self) -> None:
        """Bring all of them there; the older ones first, since they set newer ones."""
        if torch.get_float32_matmul_precision() != self.products:
            torch.set_float32_matmul_precision(self.products)
        if self.convolutions is not None:
            torch.backends.cudnn.allow_tf32 = self.convolutions
        for operator, precision in self.operators.items():
            if _READ(*operator) != precision:  # type: ignore[misc]
                _WRITE(*operator, precision)  # type: ignore[misc]

    def off(self) -> None:
        """Switch off whatever rounds."""
        if self.products != "highest":
            torch.set_float32_matmul_precision("highest")
        if self.convolutions:
            torch.backends.cudnn.allow_tf32 = False
        for operator in self.operators:
            if _READ(*operator) not in _FULL:  # type: ignore[misc]
                _WRITE(*operator, "ieee")  # type: ignore[misc]


class _Users:
    """Who is within ``full_precision`` now: the first switches off, the last switches on again."""

    def __init__(self) -> None:
        self.lock, self.count = threading.Lock(), 0
        self.found = _Switches("highest", None, {})


_users = _Users()


@contextmanager
def full_precision() -> Iterator[None]:
    """Round no product of float32 numbers meanwhile; the switches stand afterwards as before.

    For the whole process, backward passes included, which run in threads of their own. What another
    thread computes meanwhile is not rounded either.
    """
    with _users.lock:
        if _users.count == 0:
            _users.found = _Switches.now()
            _users.found.off()
        _users.count += 1
    try:
        yield
    finally:
        with _users.lock:
            _users.count -= 1
            if _users.count == 0:
                _users.found.set()
