"""Optional dependencies: where one is missing, the error says what to install."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from retrac_plugin.errors import MissingDependencyError


@contextmanager
def requires(what: str, extra: str, then: str = "") -> Iterator[None]:
    """Around imports of optional packages.

    Args:
        what: What needs them, such as ``"retrac demo"``.
        extra: The extra of this package that brings them.
        then: A command that installs what the extra cannot bring.

    Raises:
        MissingDependencyError: If one of them is not installed.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, MissingDependencyError):
            raise
        commands = " && ".join(filter(None, [f"pip install 'retrac-plugin[{extra}]'", then]))
        raise MissingDependencyError(
            f"{what} needs {error.name}, which cannot be imported ({error}): {commands}"
        ) from error


def missing(packages: Iterable[str]) -> list[str]:
    """Return those of ``packages``, named as they are imported, that are not installed."""
    return [package for package in packages if find_spec(package) is None]
