import pytest
import torch
from safetensors.torch import load_file, save_file

from retrac_plugin.data.encoded import ROWS, EncodedRows, digest, fingerprint
from retrac_plugin.errors import InputError

COUNT = ROWS + 3


class Encoder:
    """Squares numbers, and says how many."""

    def __init__(self, fail_at=None):
        self.done, self.fail_at = 0, fail_at

    def __call__(self, positions):
        if self.fail_at in positions:
            raise KeyboardInterrupt
        self.done += len(positions)
        return {"square": torch.tensor([[i * i] for i in positions], dtype=torch.float64)}


def rows(folder, encoder, name="e", count=COUNT):
    return EncodedRows(encoder, name, [digest(str(i)) for i in range(count)], folder)


def test_rows_are_computed_once_in_whatever_order_they_are_asked_for(tmp_path):
    encoder = Encoder()
    for order in (range(COUNT), reversed(range(COUNT))):
        asked = rows(tmp_path, encoder)
        assert [asked[i]["square"].item() for i in order] == [
            float(i * i) for i in (range(COUNT) if order == range(COUNT) else range(COUNT)[::-1])
        ]
        assert encoder.done == COUNT


def test_what_was_done_before_an_interruption_is_not_done_again(tmp_path):
    ticks = []
    with pytest.raises(KeyboardInterrupt):
        rows(tmp_path, Encoder(fail_at=ROWS + 1)).fill(ticks.append)
    encoder = Encoder()
    resumed = rows(tmp_path, encoder)
    assert resumed.missing == 3
    resumed.fill(ticks.append)
    assert ticks == [ROWS, 3]
    assert (encoder.done, resumed.missing) == (3, 0)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", [{"name": "f"}, {"count": COUNT - 1}])
def test_another_encoder_or_other_inputs_find_nothing(tmp_path, change):
    rows(tmp_path, Encoder()).fill(lambda done: None)
    assert rows(tmp_path, Encoder(), **change).missing > 0


def damage_by_truncating(path):
    path.write_bytes(path.read_bytes()[:-8])


def damage_by_replacing(path):
    save_file({"square": torch.zeros(ROWS, 1)}, path)


def damage_by_dropping_rows(path):
    other = next(p for p in path.parent.iterdir() if p != path)
    tensors = {name: values[:1] for name, values in load_file(path).items()}
    metadata = header_of(path)
    other.unlink()
    save_file(tensors, path, metadata)


def header_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        return opened.metadata()


def damage_by_swapping(path):
    other = next(p for p in path.parent.iterdir() if p != path)
    other.replace(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_by_truncating, ""),
        (damage_by_replacing, "written by something else"),
        (damage_by_swapping, "written by something else"),
        (damage_by_dropping_rows, "does not hold"),
    ],
)
def test_a_truncated_or_foreign_file_is_refused(tmp_path, damage, reason):
    filled = rows(tmp_path, Encoder())
    filled.fill(lambda done: None)
    damage(filled._path(0))
    with pytest.raises(InputError, match=rf"cannot use the encoded rows in .*{reason}.* Delete"):
        rows(tmp_path, Encoder())[0]


def test_a_fingerprint_follows_weights_and_what_else_decides():
    network = torch.nn.BatchNorm1d(2)
    first = fingerprint(network, "a", "b")
    assert fingerprint(network, "a", "b") == first
    assert fingerprint(network, "ab", "") != first
    network.running_mean[1] += 1e-7
    assert fingerprint(network, "a", "b") != first
