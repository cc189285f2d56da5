"""Training gradients that are kept or projected."""

import collections
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor, DiffusionTracInAttributor
from retrac_plugin.gradients.vmapped import VmapEngine
from tests.frameworks.dattri_tools import DRAWS, EXACT, QUERY_DRAWS, TRAIN_DRAWS, task_of
from tests.small import small_case
from tests.tiny import tiny_case

# Behind ours, which silences what dattri's import warns of.
from dattri.benchmark.utils import SubsetSampler  # isort: skip

both = pytest.mark.parametrize("method", [DiffusionTracInAttributor, DiffusionReTracAttributor])
WIDE = {"proj_dim": 4000, "proj_seed": 3}


class Counting:
    """An engine that counts the samples it differentiates."""

    def __init__(self):
        self.samples = collections.Counter()

    def __call__(self, losses, parameters, scales=None):
        engine = VmapEngine(losses, parameters, scales)
        gradients, products = engine.gradients, engine.products

        def counted_gradients(batch, draws):
            self.samples["gradients"] += len(batch.timesteps)
            return gradients(batch, draws)

        def counted_products(batches, draws, vectors):
            for batch in batches:
                self.samples["products"] += len(batch.timesteps)
                yield from products([batch], draws, vectors)

        engine.gradients, engine.products = counted_gradients, counted_products
        return engine


@both
def test_after_cache_no_training_gradient_is_computed(method):
    case, engine = small_case(), Counting()
    attributor = method(task_of(case), engine=engine, **DRAWS)
    attributor.attribute(case.train, case.queries)
    assert engine.samples["products"] == 2 * 7
    engine.samples.clear()
    attributor.cache(DataLoader(case.train, batch_size=3))
    assert engine.samples == {"gradients": 2 * 7}  # checkpoints times training samples
    engine.samples.clear()
    for _ in range(2):
        attributor.attribute(DataLoader(case.train), DataLoader(case.queries))
    assert engine.samples == {"gradients": 2 * 2 * 3 * 6}  # calls, checkpoints, queries, draws


@both
@pytest.mark.parametrize("make", [small_case, tiny_case])
def test_cache_changes_no_score(method, make):
    case = make()
    attributor = method(task_of(case), **DRAWS)
    streamed = attributor.attribute(case.train, case.queries)
    itself = attributor.self_attribute(case.train)
    attributor.cache(DataLoader(case.train, batch_size=2))
    torch.testing.assert_close(attributor.attribute(case.train, case.queries), streamed, **EXACT)
    torch.testing.assert_close(attributor.self_attribute(case.train), itself, **EXACT)


@both
@pytest.mark.parametrize("settings", [None, WIDE])
def test_any_part_of_the_cached_set_can_be_attributed(method, settings):
    case, rows = small_case(), [6, 0, 3]
    attributor = method(task_of(case), projector_kwargs=settings, **DRAWS)
    attributor.cache(case.train)
    whole = attributor.attribute(case.train, case.queries)
    part = DataLoader(case.train, batch_size=2, sampler=SubsetSampler(rows))
    torch.testing.assert_close(attributor.attribute(part, case.queries), whole[rows], **EXACT)
    itself = attributor.self_attribute(case.train)
    torch.testing.assert_close(attributor.self_attribute(part), itself[rows], **EXACT)


@both
def test_projected_scores_come_near_the_exact_ones(method):
    """The error of an inner product falls as one over the root of the dimension."""
    case = small_case(train=40, queries=5)
    exact = method(task_of(case), **DRAWS).attribute(case.train, case.queries)
    errors = []
    for size in (100, 4000):
        settings = {"proj_dim": size, "proj_seed": 3}
        attributor = method(task_of(case), projector_kwargs=settings, **DRAWS)
        projected = attributor.attribute(case.train, case.queries)
        assert projected.dtype == torch.float64
        errors.append(float((projected - exact).norm() / exact.norm()))
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.1


@both
def test_projected_scores_do_not_depend_on_batches_or_cache(method):
    case = small_case()
    attributor = method(task_of(case), projector_kwargs=WIDE, **DRAWS)
    expected = attributor.attribute(case.train, case.queries)
    other = method(task_of(case), projector_kwargs=WIDE, batch_size=2, **DRAWS)
    other.cache(case.train)
    torch.testing.assert_close(other.attribute(case.train, case.queries), expected, **EXACT)


def test_normalisation_takes_the_norms_before_projection():
    """At one timestep and checkpoint the two methods differ by the product of both norms."""
    case = small_case(checkpoints=1)
    draws = {"train_draws": TRAIN_DRAWS, "query_draws": retrac.Strided(1, seed=2)}
    ratios = []
    for settings in (None, {"proj_dim": 8}):
        tracin, retrac_scores = (
            method(task_of(case), projector_kwargs=settings, **draws).attribute(
                case.train, case.queries
            )
            for method in (DiffusionTracInAttributor, DiffusionReTracAttributor)
        )
        ratios.append(tracin / retrac_scores)
    torch.testing.assert_close(*ratios, **EXACT)


def test_settings_in_either_layout_mean_the_same():
    case = small_case()
    old = DiffusionTracInAttributor(task_of(case), projector_kwargs=WIDE, **DRAWS)
    new = DiffusionTracInAttributor(
        task_of(case), proj_params=SimpleNamespace(**WIDE, proj_type="normal"), **DRAWS
    )
    scores = [a.attribute(case.train, case.queries) for a in (old, new)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


def test_the_identity_is_no_projection():
    case = small_case()
    settings = {"proj_type": "identity"}
    attributor = DiffusionTracInAttributor(task_of(case), projector_kwargs=settings, **DRAWS)
    exact = DiffusionTracInAttributor(task_of(case), **DRAWS)
    scores = [a.attribute(case.train, case.queries) for a in (attributor, exact)]
    torch.testing.assert_close(*scores, rtol=0, atol=0)


class TestErrors:
    def test_more_than_may_be_kept(self):
        case = small_case()
        attributor = DiffusionTracInAttributor(task_of(case), cache_bytes=9_500)
        message = r"14 gradients of 85 numbers take 9,520 bytes, more than cache_bytes=9,500\. Pr"
        with pytest.raises(InputError, match=message):
            attributor.cache(case.train)

    def test_a_sample_that_was_not_cached(self):
        case = small_case()
        attributor = DiffusionTracInAttributor(task_of(case), **DRAWS)
        attributor.cache(case.train[:4])
        with pytest.raises(InputError, match="train sample 4 is not among the 4 samples that were"):
            attributor.attribute(case.train, case.queries)

    def test_another_data_set_than_the_cached_one(self):
        case = small_case()
        attributor = DiffusionTracInAttributor(task_of(case), **DRAWS)
        attributor.cache(case.train)
        other = [*case.train[:2], case.train[2] + 1, *case.train[3:]]
        with pytest.raises(InputError, match="train sample 2 differs from that of the same id"):
            attributor.attribute(other, case.queries)

    def test_other_draws_than_the_cached_ones(self):
        case = small_case()
        task = task_of(case)
        attributor = DiffusionTracInAttributor(task, query_draws=QUERY_DRAWS)
        attributor.cache(task.drawn(case.train, TRAIN_DRAWS, "train"))
        other = task.drawn(case.train, retrac.Uniform(1, seed=9), "train")
        with pytest.raises(InputError, match="cached with other draws: call cache again"):
            attributor.attribute(other, case.queries)

    def test_an_unknown_setting(self):
        with pytest.raises(InputError, match="unknown proj_dimension, expected some of proj_dim"):
            DiffusionTracInAttributor(
                task_of(small_case()), projector_kwargs={"proj_dimension": 10}
            )

    def test_settings_in_both_layouts(self):
        with pytest.raises(InputError, match="which mean the same, not both"):
            DiffusionTracInAttributor(
                task_of(small_case()), projector_kwargs=WIDE, proj_params=WIDE
            )
