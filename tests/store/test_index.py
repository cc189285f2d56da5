"""The extreme samples by an index: those of the scan, or nearly; one that is damaged is refused."""

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.store.index import ABOUT, FILE, Index
from retrac_plugin.store.indexed import by_index
from retrac_plugin.store.store import Store
from retrac_plugin.store.top_lists import listed_from
from tests.store.cases import case, fill, method

pytest.importorskip("faiss")

CASE = case(train=60)


def drawn(count, width=16, centres=20):
    """Rows around some centres, as neighbours are in practice."""
    generator = torch.Generator().manual_seed(0)
    middle = torch.randn(centres, width, generator=generator)
    own = torch.randint(centres, (count,), generator=generator)
    return middle[own] + 0.2 * torch.randn(count, width, generator=generator)


def pieces_of(rows):
    def pieces(only):
        wanted = torch.arange(len(rows)) if only is None else only
        for part in torch.arange(len(wanted)).split(100):
            yield part, rows[wanted[part]]

    return pieces


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_it_finds_nearly_all_of_the_highest_whatever_the_size_of_rows(tmp_path, scale):
    rows = drawn(3000) * scale
    index = Index.build(tmp_path, pieces_of(rows), len(rows))
    assert index.about.lists == 55
    assert index.about.probes < 55
    assert index.about.recall >= 0.95
    queries = drawn(3020)[3000:]
    found, expected = index.highest(queries, 10), (queries @ rows.T).topk(10)
    hits = (found.indices[:, :, None] == expected.indices[:, None]).any(1)
    assert hits.double().mean() > 0.9
    torch.testing.assert_close(found.values[:, 0], expected.values[:, 0], rtol=1e-2, atol=0)
    again = Index(tmp_path)
    assert again.about == index.about
    assert torch.equal(again.highest(queries, 10).indices, found.indices)


def test_a_list_that_is_longer_than_the_lists_looked_through_is_filled(tmp_path):
    rows = drawn(200)
    index = Index.build(tmp_path, pieces_of(rows), len(rows))
    found = index.highest(rows[:2], 200)
    assert [sorted(line) for line in found.indices.tolist()] == [list(range(200))] * 2


@pytest.mark.parametrize("name", ["diffusion-tracin", "diffusion-retrac"])
def test_scores_of_what_is_found_are_those_of_the_scan(tmp_path, name):
    attributor = method(name, CASE)
    fill(tmp_path, attributor, CASE.train)
    store, told = Store.open(tmp_path), []
    given = store, {"method": attributor}, CASE.train, CASE.queries, 6
    scanned = listed_from(*given)["method"]
    for _ in range(2):
        found = listed_from(*given, by_index(store, told.append))["method"]
    assert told[0] == told[1]
    assert len(list((tmp_path / "indexes").iterdir())) == 1
    missed = [
        one
        for ours, theirs in zip(_named(found), _named(scanned), strict=True)
        for one in set(theirs) - set(ours)
    ]
    assert len(missed) <= 0.2 * 2 * 6 * len(CASE.queries)
    places = dict(zip(scanned.train_positions.tolist(), scanned.values.T, strict=True))
    for position, column in zip(found.train_positions.tolist(), found.values.T, strict=True):
        if position in places:
            torch.testing.assert_close(column, places[position])


def _named(scores):
    for top in (scores.proponents(6), scores.opponents(6)):
        yield from scores.train_positions[top.indices].tolist()


def test_a_damaged_index_and_a_method_that_has_none_are_refused(tmp_path):
    index = Index.build(tmp_path / "index", pieces_of(drawn(200)), 200)
    del index
    data = bytearray((tmp_path / "index" / FILE).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "index" / FILE).write_bytes(data)
    with pytest.raises(InputError, match="is damaged: its bytes do not add up"):
        Index(tmp_path / "index")
    (tmp_path / "index" / ABOUT).write_text("{}")
    with pytest.raises(InputError, match="cannot read the index"):
        Index(tmp_path / "index")
    ridge = method("retrac-ridge", CASE)
    fill(tmp_path / "store", ridge, CASE.train)
    store = Store.open(tmp_path / "store")
    with pytest.raises(InputError, match="expected diffusion-tracin or diffusion-retrac"):
        listed_from(store, {"m": ridge}, CASE.train, CASE.queries, 3, by_index(store, print))
