"""Ray actors fill a store: each holds one model, and takes one share of it after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retrac_plugin.extras import requires
from retrac_plugin.store.featurizing import Done

SHARES_EACH = 8
"""Shares for each actor: what is tried again when one dies, and how evenly they end."""

Fill = Callable[[tuple[int, int]], Done]
"""``(which share, of how many) -> done``."""


def fill_over_actors(make: Callable[[], Fill], actors: int, gpus_each: float = 0) -> Done:
    """Have a store filled, as a Ray Data job, and return what was done.

    An actor that dies is replaced, and its share is tried again; shards that it wrote are found.

    Args:
        make: Makes what fills a share of the store; called once in each actor, and so pickled.
        actors: How many work side by side.
        gpus_each: What Ray reserves for each of them, beside one processor.

    Raises:
        MissingDependencyError: If Ray is not installed.
    """
    with requires("retrac featurize --ray", "ray"):
        import ray.data
    shares = actors * SHARES_EACH
    items = [{"share": share, "shares": shares} for share in range(shares)]
    done = (
        ray.data.from_items(items, override_num_blocks=shares)
        .map(
            _Actor,
            fn_constructor_args=(make,),
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            num_gpus=gpus_each,
        )
        .take_all()
    )
    computed = sum(int(each["computed"]) for each in done)
    of_all = sum(int(done[0][name]) for name in ("computed", "found", "left"))
    damaged = [path for each in done for path in each["damaged"]]
    return Done(computed, of_all - computed, damaged=damaged)


class _Actor:
    """One model, in a process of its own."""

    def __init__(self, make: Callable[[], Fill]) -> None:
        self.fill = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        done = self.fill((int(row["share"]), int(row["shares"])))
        counts = {"computed": done.computed, "found": done.found, "left": done.left}
        return {**counts, "damaged": done.damaged}
