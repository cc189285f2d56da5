"""Computes the rows that a store lacks, shard by shard; killed anywhere, the next call goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from retrac_plugin.attribution.passes import CheckpointPass
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.draws import Draws
from retrac_plugin.errors import InputError
from retrac_plugin.methods.features import Feature, side_of
from retrac_plugin.model.checks import check_deterministic
from retrac_plugin.store.contents import row_keys
from retrac_plugin.store.describing import kind_of
from retrac_plugin.store.key_list import KeyList
from retrac_plugin.store.rows import Rows
from retrac_plugin.store.shards import Shard
from retrac_plugin.store.store import Store, check_share


@dataclass
class Done:
    """What a call did.

    Attributes:
        computed: Shards that were computed.
        found: Those that were there.
        left: Those that other processes have still to compute.
        damaged: The files that were damaged, and computed again.
    """

    computed: int = 0
    found: int = 0
    left: int = 0
    damaged: list[str] = field(default_factory=list)


def featurize(
    store: Store,
    setting: Setting,
    features: Iterable[Feature],
    train: ExampleSource,
    share: tuple[int, int] = (0, 1),
    repair: bool = False,
) -> Done:
    """Compute the rows of some features of the training set that a store has not.

    A shard is computed by one process, and the same by whichever: of several processes each takes
    its share, and none waits for another.

    Args:
        store: Where they are kept.
        setting: The model and its checkpoints, and how gradients are taken.
        features: Which features; the training set's side of each.
        train: The training set: a dataset or a list.
        share: Which of the processes this is, from 0, and how many there are.
        repair: Read every shard that is there, and compute those anew that are damaged.

    Raises:
        RetracError: If the data, a checkpoint or a gradient cannot be used, or a shard cannot be
            written.
    """
    check_share(*share)
    check_deterministic(setting.model.network)
    wanted = sorted(dict.fromkeys(f.of_train for f in features), key=lambda f: f.checkpoint)
    keys: dict[Draws, KeyList] = {}
    done = Done()
    with setting.bar(len(train) * len(wanted), "featurizing") as bar:
        for feature in wanted:
            at = feature.at(setting)
            if feature.draws not in keys:
                keys[feature.draws] = row_keys(train, feature.draws)
            own = keys[feature.draws]
            positions = {key: position for position, key in enumerate(own)}
            occurrences = Counter(own)  # equal images share a row, and each counts
            rows = store.adding(kind_of(at, feature)).adding(own)
            for shard, is_ours in _needed(rows, own, *share):
                if not _is_there(shard, repair, done):
                    if is_ours:
                        _compute(at, feature, train, positions, shard)
                    done.computed += is_ours
                    done.left += not is_ours
                bar.update(sum(occurrences[key] for key in shard.keys))
            del at  # or this checkpoint's weights stay while the next one loads
    return done


def _needed(rows: Rows, keys: KeyList, rank: int, world_size: int) -> Iterator[tuple[Shard, bool]]:
    """Yield the shards that samples of the training set lie in, and whether they are ours."""
    places = rows.samples.places
    now = {places[key] for key in keys}
    for number, shard in enumerate(rows.shards()):
        if not now.isdisjoint(range(shard.first, shard.first + len(shard.keys))):
            yield shard, number % world_size == rank


def _is_there(shard: Shard, repair: bool, done: Done) -> bool:
    if not shard.path.exists():
        return False
    if repair:
        try:
            shard.read()
        except InputError:
            done.damaged.append(str(shard.path))
            return False
    done.found += 1
    return True


def _compute(
    at: CheckpointPass,
    feature: Feature,
    train: ExampleSource,
    positions: Mapping[bytes, int],
    shard: Shard,
) -> None:
    """Compute a shard of samples that are in the training set, in the shard's order."""
    absent = sum(1 for key in shard.keys if key not in positions)
    if absent:
        raise InputError(
            f"{str(shard.path)!r} is damaged, and {absent} of its samples are not in the training "
            "set any more: delete the file, and `retrac featurize` again"
        )
    part = train.part([positions[key] for key in shard.keys])
    shard.write(side_of(at, feature, part, feature.draws, "train"))
