"""A store of something else is refused, and the difference named."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

import retrac_plugin as retrac
from retrac_plugin import Shared, Strided
from retrac_plugin.errors import InputError
from retrac_plugin.gradients.projections import CountSketch
from retrac_plugin.methods.setting import Gradients
from retrac_plugin.methods.trak import DTRAK, TRAK
from retrac_plugin.store.store import Store
from tests.store.cases import ask, case, content, fill, method, shards

CASE = case()
LAST = CASE.checkpoints[-1]


def trak(model=CASE.model, checkpoints=CASE.checkpoints, kind=TRAK, **options):
    return kind(model, checkpoints, progress=False, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("store")
    fill(made, trak(), CASE.train)
    return made


def moved():
    weights = {name: value + 1e-3 for name, value in LAST.parameters.items()}
    return [replace(LAST, parameters=weights)]


SCHEDULE = retrac.VariancePreserving(torch.linspace(0.999, 0.02, 100))
SCALED = replace(LAST, preconditioner=lambda: {n: v.abs() + 1 for n, v in LAST.parameters.items()})

OTHERS = {
    "weights": trak(checkpoints=moved()),
    "checkpoint": trak(checkpoints=[replace(LAST, step=21)]),
    "noise schedule": trak(retrac.wrap(CASE.network, SCHEDULE)),
    "loss": trak(retrac.wrap(CASE.network, CASE.schedule, loss="l1")),
    "attributed parameters": trak(CASE.model.attributing("enter*")),
    "draws: Shared.count=10, noise_draws=1, seed=0": trak(query_draws=Shared(10, seed=1)),
    "draws: Shared.count=10": trak(query_draws=Strided(10)),
    "projection": trak(gradients=Gradients(projection=CountSketch(64))),
    "output": trak(kind=DTRAK),
    "optimiser": trak(checkpoints=[SCALED]),
}


@pytest.mark.parametrize("part", OTHERS)
def test_a_store_of_something_else_is_refused_by_what_differs(part, folder):
    with pytest.raises(InputError, match=f"differ in .*{part}"):
        ask(folder, OTHERS[part], CASE.train, CASE.queries)


def test_an_offset_of_the_noise_and_a_weight_are_told_apart(folder):
    offset = replace(CASE.model, noise_offset=0.1)
    weighed = replace(CASE.model, weight=lambda timesteps: timesteps / 100)
    for model, part in ((offset, "noise schedule"), (weighed, "loss")):
        with pytest.raises(InputError, match=f"differ in {part}: "):
            ask(folder, trak(model), CASE.train, CASE.queries)


def test_other_queries_checkpoints_and_step_sizes_need_no_other_store(folder):
    before = content(folder)
    earlier = [replace(CASE.checkpoints[0], step_size=3.0), *CASE.checkpoints[1:]]
    other = trak(checkpoints=earlier, damping=0.5, batch_size=3)
    found = ask(folder, other, CASE.train, CASE.queries[:1]).values
    expected = other.attribute(CASE.train, CASE.queries[:1]).values
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert content(folder).keys() >= before.keys()


def test_draws_that_may_be_anything_are_refused(tmp_path):
    class Mine:
        def per_sample(self):
            return 1, 1

        def draw(self, request):
            return Shared(1).draw(request)

    with pytest.raises(InputError, match="a Mine cannot be told from others"):
        fill(tmp_path, trak(query_draws=Mine()), CASE.train)


def test_a_store_keeps_its_rows_in_one_way(folder, tmp_path):
    with pytest.raises(InputError, match=r"made with rows float32, .* asked for are rows int8"):
        Store.create(folder, "int8", 4)
    with pytest.raises(InputError, match="expected float32, float16, int8, got 'int4'"):
        Store.create(tmp_path, "int4")
    with pytest.raises(InputError, match="shard samples must be at least 1"):
        Store.create(tmp_path, shard_samples=0)
    with pytest.raises(InputError, match="no store in"):
        Store.open(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_damaged_manifest_is_an_error_that_names_it(folder, tmp_path):
    fill(tmp_path, trak(), CASE.train)
    for name, text in (("store.json", '{"format": 2}'), ("store.json", "["), ("kind.json", "{}")):
        path = next(tmp_path.rglob(name))
        kept = path.read_text()
        path.write_text(text)
        with pytest.raises(InputError, match=name if text != '{"format": 2}' else "of format 2"):
            ask(tmp_path, trak(), CASE.train, CASE.queries)
        path.write_text(kept)
    path = tmp_path / "store.json"
    path.write_text(path.read_text().replace('"shard_samples": 4', '"shard_samples": -4'))
    with pytest.raises(InputError, match="its shards have -4 samples"):
        ask(tmp_path, trak(), CASE.train, CASE.queries)
    path.write_text(path.read_text().replace("-4", "4"))
    renamed = shards(tmp_path)[0].parent
    renamed.rename(renamed.with_name("step20-loss-0000000000000000"))
    with pytest.raises(InputError, match="is not of this folder"):
        ask(tmp_path, trak(), CASE.train, CASE.queries)


def test_the_rows_of_a_kind_are_those_of_its_version(tmp_path):
    """If this fails, raise ROWS_VERSION: stores of before would answer with other rows."""
    fill(tmp_path, method("tracincp", CASE), CASE.train)
    sums = [load_file(path)["rows"].double().abs().sum().item() for path in shards(tmp_path)]
    assert sums == pytest.approx([38.8384, 40.13, 29.8885, 33.626, 35.8164, 23.8667], rel=1e-5)
