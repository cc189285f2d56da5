"""The names of a network's tensors, with or without those of what was wrapped around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor

WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What ``torch.compile``, ``DataParallel``, ``DistributedDataParallel``, FSDP and activation
checkpointing call the module inside them."""


def by_names_of(own: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict by a network's names where its own differ by wrappers alone.

    Args:
        own: The network's names.
        state: Tensors by name.
    """
    own = set(own)
    places = Counter(_bare(name) for name in own)
    named = {_bare(name): name for name in own if places[_bare(name)] == 1}
    found = {name: value for name, value in state.items() if name in own}
    for name, value in state.items():
        if name not in own:
            known = named.get(_bare(name), name)
            found[name if known in found else known] = value
    return found


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
