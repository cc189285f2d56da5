"""Puts a function in the place of another one for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

Around = Callable[..., Any]
"""``(original, *arguments) -> result``: what to do instead of calling ``original``."""


@contextmanager
def wrapped(owner: Any, name: str, around: Around) -> Iterator[None]:
    """Let ``around`` be called in place of the function that a class or module itself defines."""
    original = vars(owner)[name]

    @wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
