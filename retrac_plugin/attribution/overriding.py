"""Subclasses of our methods that do otherwise: they are asked themselves, and share nothing."""

from __future__ import annotations

from inspect import getattr_static
from typing import Any


def does_otherwise(attributor: Any, base: type, *names: str) -> bool:
    """Whether an attributor has something else than a base class by one of some names.

    What several methods share calls the base class's own; a subclass that overrides any of it
    would be passed over in silence.
    """
    return any(
        getattr_static(attributor, name, None) is not getattr_static(base, name) for name in names
    )
