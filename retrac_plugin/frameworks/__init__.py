"""Our methods inside the attribution frameworks: one module for each, the only one to import it."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from retrac_plugin.errors import PluginError


class Frontend(NamedTuple):
    """Where a framework's classes live, and where its users look for them."""

    ours: str
    """Module of ours."""
    theirs: str
    """Module of the framework that the names are added to."""
    names: tuple[str, ...]


FRONTENDS = {
    "captum": Frontend(
        "retrac_plugin.frameworks.captum",
        "captum.influence",
        ("DiffusionTracInCP", "DiffusionReTracCP"),
    ),
    "dattri": Frontend(
        "retrac_plugin.frameworks.dattri",
        "dattri.algorithm",
        ("DiffusionTracInAttributor", "DiffusionReTracAttributor"),
    ),
}


def register_with(framework: str) -> None:
    """Add our attributors to a framework's own namespace, so that its users import them from there.

    Calling it again changes nothing.

    Args:
        framework: ``"captum"`` (then ``from captum.influence import DiffusionReTracCP``) or
            ``"dattri"`` (then ``from dattri.algorithm import DiffusionReTracAttributor``).

    Raises:
        PluginError: If the framework is another one.
        MissingDependencyError: If the framework is not installed.
    """
    if framework not in FRONTENDS:
        raise PluginError(
            f"unknown framework {framework!r}: expected one of {', '.join(FRONTENDS)}"
        )
    frontend = FRONTENDS[framework]
    ours = import_module(frontend.ours)  # says what to install where the framework is missing
    theirs = import_module(frontend.theirs)
    for name in frontend.names:
        setattr(theirs, name, getattr(ours, name))
        if name not in theirs.__all__:
            theirs.__all__.append(name)
