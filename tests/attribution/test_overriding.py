"""A subclass's own ``attribute`` is called, wherever methods share their gradients."""

import pytest
import torch
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin import AttributorEntry, plugins
from retrac_plugin.benchmarks.scoring import score_methods
from retrac_plugin.methods import attributor as on_features
from tests.benchmarks.tasks import small_task
from tests.small import small_case

DRAWS = {"train_draws": retrac.Uniform(1, seed=1), "query_draws": retrac.Strided(2, seed=2)}


class Centred(retrac.DiffusionReTrac):
    """ReTrac less the mean over queries."""

    def attribute(self, train, queries):
        values = super().attribute(train, queries).values
        return retrac.Scores(values - values.mean(0))


class CentredTrak(plugins.get_attributor("trak")):
    def attribute(self, train, queries):
        values = super().attribute(train, queries).values
        return retrac.Scores(values - values.mean(0))


@pytest.fixture(scope="module")
def case():
    return small_case()


def centred(values):
    return values - values.mean(0)


def both(case):
    return [
        kind(case.model, case.checkpoints, **DRAWS) for kind in (Centred, retrac.DiffusionReTrac)
    ]


def test_beside_another_that_shares_its_gradients(case):
    mine, plain = retrac.attribute_together(both(case), case.train, case.queries)
    assert (mine.values == centred(plain.values)).all()
    assert not torch.allclose(mine.values, plain.values)


def test_at_each_of_several_draws(case):
    mine, plain = retrac.attribute_repeatedly(both(case), case.train, case.queries, 3)
    torch.testing.assert_close(mine.values, centred(plain.values))
    torch.testing.assert_close(mine.standard_errors.shape, plain.standard_errors.shape)


def test_of_a_method_on_features(case):
    trak = plugins.get_attributor("trak")
    pair = [kind(case.model, case.checkpoints, **DRAWS) for kind in (CentredTrak, trak)]
    mine, plain = on_features.attribute_together(pair, case.train, case.queries)
    assert (mine.values == centred(plain.values)).all()


@pytest.mark.parametrize(
    ("kind", "of"), [(Centred, "diffusion-retrac"), (CentredTrak, "trak")], ids=["ours", "features"]
)
def test_in_a_benchmark(monkeypatch, kind, of):
    entries = {
        **plugins.attributors(),
        "centred": (AttributorEntry("centred", "", lambda: kind), "t"),
    }
    monkeypatch.setattr(plugins, "attributors", lambda: entries)
    task = small_task(held_back=0)
    mine, plain = score_methods(task, ["centred", of], lambda line: None)
    joined = [torch.cat([o.scores[k.name].values for k in task.queries]) for o in (mine, plain)]
    torch.testing.assert_close(joined[0], centred(joined[1]))


def test_in_captum_whether_all_scores_are_wanted_or_the_top(case):
    captum = pytest.importorskip("retrac_plugin.frameworks.captum")

    class CentredCP(captum.DiffusionReTracCP):
        core = Centred

    given = (case.model, case.train, case.checkpoints)
    mine, plain = (kind(*given, **DRAWS) for kind in (CentredCP, captum.DiffusionReTracCP))
    loader = DataLoader(torch.stack(case.queries), batch_size=2)
    expected = centred(plain.influence(loader))
    torch.testing.assert_close(mine.influence(loader), expected)
    top = mine.influence(loader, k=3)
    torch.testing.assert_close(top.influence_scores, expected.topk(3).values)
    assert (top.indices == expected.topk(3).indices).all()


def test_in_dattri_with_a_cache_and_without(case):
    dattri = pytest.importorskip("retrac_plugin.frameworks.dattri")

    class CentredAttributor(dattri.DiffusionReTracAttributor):
        core = Centred

    task = dattri.DiffusionAttributionTask(case.model, case.checkpoints)
    mine = CentredAttributor(task, **DRAWS)
    plain = dattri.DiffusionReTracAttributor(task, **DRAWS)
    expected = centred(plain.attribute(case.train, case.queries).T).T
    torch.testing.assert_close(mine.attribute(case.train, case.queries), expected)
    with pytest.raises(retrac.RetracError, match="overrides how scores are made"):
        mine.cache(case.train)
