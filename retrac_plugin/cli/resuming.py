"""Commands that go on where they were, after they were killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrac_plugin.cli.telling import tell

if TYPE_CHECKING:
    from retrac_plugin.runs.run import Run


def resuming(
    attributors: Mapping[str, Any], run: Run, data: Mapping[str, Any], folder: Path | None
) -> tuple[dict[str, Any], Callable[[], None]]:
    """Return methods that keep what they have finished, and what removes that at the end.

    Says in a line if there is work of a call that was killed.

    Args:
        attributors: By the name of the method.
        run: The training run.
        data: The training set, and whatever else is computed with, by role, as the methods will
            get them.
        folder: Where it is kept; None: nowhere, since there is little work.
    """
    from retrac_plugin.resuming.contents import digester_of_run
    from retrac_plugin.resuming.digesting import UndigestibleError
    from retrac_plugin.resuming.parts import Parts, kept

    if folder is None:
        return dict(attributors), lambda: None
    try:
        parts = Parts(digester_of_run(run, data), tuple(data.values()), folder, tell)
    except UndigestibleError as error:
        tell(f"a killed call would begin anew: {error}")
        return dict(attributors), lambda: None
    parts.tell_of_them()
    return {name: kept(each, parts) for name, each in attributors.items()}, parts.remove
