"""dattri's progress bars, which it always shows, shown or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tqdm.auto import tqdm

from retrac_plugin.progress import asked_for, wants_bar


@contextmanager
def shown(progress: Any) -> Iterator[None]:
    """Within, dattri shows its bars where ``progress`` is true, on a terminal where it is None.

    dattri has no argument for it, so each of its modules gets another ``tqdm`` meanwhile.
    """
    hidden = not wants_bar(asked_for(progress))
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("dattri.") and hasattr(module, "tqdm")
    ]
    theirs = [(module, module.tqdm) for module in modules]
    try:
        for module in modules:
            module.tqdm = partial(tqdm, disable=hidden)  # type: ignore[attr-defined]  # looked up above
        yield
    finally:
        for module, own in theirs:
            module.tqdm = own  # type: ignore[attr-defined]  # as above
