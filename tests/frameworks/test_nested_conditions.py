"""A mapping within an example's conditions, such as SDXL's ``added_cond_kwargs``, in every method.

A network that takes it nested is the same as one that takes its tensors side by side, for which
each method is held to its formula elsewhere: so the scores must be the same numbers.
"""

import pytest
import torch
from torch import nn

import retrac_plugin as retrac
from retrac_plugin import plugins
from retrac_plugin.attribution.attributors import DiffusionTracIn
from retrac_plugin.errors import InputError
from retrac_plugin.extras import missing
from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.gradients.vmapped import VmapEngine
from tests.small import small_case

TRAIN, QUERIES = 6, 3
DRAWS = {
    "train_draws": retrac.Uniform(1, seed=1),
    "query_draws": retrac.Strided(2, noise_draws=2, seed=2),
    "progress": False,
}
SETTINGS = {
    "captum-similarity": {"layers": ["enter"]},
    "dattri-if-lissa": {"recursion_depth": 5},
    "dattri-if-cg": {"max_iter": 3},
}


class Beside(nn.Module):
    """A denoiser told a class, an embedding and a size."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(1, 4, 3, padding=1)
        self.time, self.text, self.size = nn.Linear(1, 4), nn.Linear(5, 4), nn.Linear(2, 4)
        self.label = nn.Embedding(3, 4)
        self.leave = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, noisy, timesteps, text_embeds, class_labels, time_ids):
        shift = self.time(timesteps[:, None].to(noisy.dtype) / 100) + self.label(class_labels)
        shift = shift + self.text(text_embeds) + self.size(time_ids)
        return self.leave(torch.tanh(self.enter(noisy) + shift[:, :, None, None]))


class Within(Beside):
    """The same, told two of them in a mapping, one of them deeper."""

    def forward(self, noisy, timesteps, class_labels, added_cond_kwargs):
        inner = added_cond_kwargs["sizes"]["time_ids"]
        return super().forward(
            noisy, timesteps, added_cond_kwargs["text_embeds"], class_labels, inner
        )


def side_by_side(seed, count):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "sample": torch.rand(1, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1,
            "text_embeds": torch.randn(5, generator=generator, dtype=torch.float64),
            "class_labels": torch.randint(3, (), generator=generator),
            "time_ids": torch.rand(2, generator=generator, dtype=torch.float64),
        }
        for _ in range(count)
    ]


def within(example):
    return {
        "sample": example["sample"],
        "class_labels": example["class_labels"],
        "added_cond_kwargs": {
            "text_embeds": example["text_embeds"],
            "sizes": {"time_ids": example["time_ids"]},
        },
    }


@pytest.fixture(scope="module")
def given():
    """Return model, checkpoints, training samples and queries, side by side and nested."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        states = [Beside().double().state_dict() for _ in range(2)]
    schedule = small_case().schedule
    checkpoints = [retrac.Checkpoint(s, 0.1 * (k + 1), k + 1) for k, s in enumerate(states)]
    flat = side_by_side(0, TRAIN), side_by_side(1, QUERIES)
    models = [retrac.wrap(kind().double().eval(), schedule) for kind in (Beside, Within)]
    deep = [[within(example) for example in side] for side in flat]
    return (models[0], checkpoints, *flat), (models[1], checkpoints, *deep)


def scores(name, model, checkpoints, train, queries):
    entry = plugins.attributors()[name][0]
    if missing(entry.needs):
        pytest.skip(f"{name} needs {entry.needs}")
    kind = plugins.get_attributor(name)
    if hasattr(kind, "refusal"):
        pytest.skip(f"{name} refuses every diffusion model")
    attributor = kind(model, checkpoints, **DRAWS, **SETTINGS.get(name, {}))
    return attributor.attribute(train, queries).values


@pytest.mark.parametrize("name", plugins.attributors())
def test_scores_are_those_of_the_same_conditions_side_by_side(given, name):
    flat, deep = given
    torch.testing.assert_close(scores(name, *deep), scores(name, *flat), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["diffusion-tracin", "captum-tracin", "dattri-tracin"])
def test_tracin_is_the_cores_by_vmap(given, name):
    model, checkpoints, train, queries = given[1]
    core = DiffusionTracIn(model, checkpoints, engine=VmapEngine, **DRAWS)
    expected = core.attribute(train, queries).values
    torch.testing.assert_close(
        scores(name, model, checkpoints, train, queries), expected, rtol=1e-9, atol=1e-12
    )


def test_what_is_nested_decides_scores(given):
    model, checkpoints, train, queries = given[1]
    other = [
        {**q, "added_cond_kwargs": t["added_cond_kwargs"]}
        for q, t in zip(queries, train, strict=False)
    ]
    here = scores("captum-tracin", model, checkpoints, train, queries)
    assert not torch.allclose(scores("captum-tracin", model, checkpoints, train, other), here)


def drawn(given, examples, conditions=("class_labels", "added_cond_kwargs")):
    model = given[1][0]
    return DrawnExamples(examples, DRAWS["query_draws"], "query", model, {0: 1}, conditions)


def test_another_example_with_other_keys_is_refused(given):
    first, second = given[1][2][:2]
    second = {**second, "added_cond_kwargs": {"text_embeds": torch.zeros(5)}}
    with pytest.raises(
        InputError,
        match=r"example 1 has class_labels, added_cond_kwargs.text_embeds in its conditions, "
        r"expected class_labels, added_cond_kwargs.sizes.time_ids, added",
    ):
        drawn(given, [first, second])[1]


def test_an_empty_mapping_is_refused(given):
    empty = {**given[1][2][0], "added_cond_kwargs": {}}
    with pytest.raises(InputError, match="added_cond_kwargs is an empty mapping: leave it out"):
        drawn(given, [empty])[0]


def test_queries_with_other_keys_than_the_training_samples_are_refused(given):
    model, checkpoints, train, queries = given[1]
    other = [{**q, "added_cond_kwargs": {"text_embeds": torch.zeros(5)}} for q in queries]
    with pytest.raises(InputError, match="queries: the conditions hold class_labels, added_cond"):
        scores("captum-tracin", model, checkpoints, train, other)
