"""Scores of every denoiser with every objective that suits it, against plain loops."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

import retrac_plugin as retrac
from retrac_adapters.denoising.schedules import edm_style, preconditioned_flow
from retrac_plugin import weightings
from retrac_plugin.data.collating import collate
from retrac_plugin.errors import InputError
from retrac_plugin.model.checks import check_deterministic
from tests import textbook
from tests import textbook_scripts as scripts
from tests.adapters.zoo import make_examples, make_network, perturbed
from tests.golden import assert_equal

CALLS = {"dit": scripts.call_transformer, "pixart": scripts.call_transformer}
CALLS |= {"sd3": scripts.call_transformer, "flux": scripts.call_flux}
TRAIN_TIMESTEPS, QUERY_TIMESTEPS = torch.tensor([3, 700]), torch.tensor([40, 900])


@dataclass(frozen=True, eq=False)
class Objective:
    """How we state what a script trains by, and the script's own loss."""

    scheduler: Any
    loss_of: Any
    schedule: Any = None
    weight: Any = None

    def wrap(self, network):
        scheduler = self.scheduler if self.schedule is None else self.schedule(self.scheduler)
        return retrac.wrap(network, scheduler, weight=self.weight)


def ddpm(prediction_type, **more):
    scheduler = DDPMScheduler(prediction_type=prediction_type, beta_schedule="scaled_linear")
    weight = weightings.min_snr(more["snr_gamma"]) if more else None
    return Objective(
        scheduler,
        lambda call: scripts.ddpm(call, scheduler, prediction_type, **more),
        weight=weight,
    )


def flow(scheme="none", **more):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    return Objective(
        scheduler,
        lambda call: scripts.flow_matching(call, scheduler, scheme, **more),
        schedule=preconditioned_flow if more else None,
        weight=None if scheme == "none" else getattr(weightings, scheme)(),
    )


def edm(scheduler):
    weight = weightings.sigma_sqrt() if isinstance(scheduler, EulerDiscreteScheduler) else None
    return Objective(scheduler, lambda call: scripts.edm_style(call, scheduler), edm_style, weight)


OBJECTIVES = {
    "epsilon": ddpm("epsilon"),
    "v": ddpm("v_prediction"),
    "sample": ddpm("sample"),
    "epsilon-min-snr": ddpm("epsilon", snr_gamma=5.0),
    "v-min-snr": ddpm("v_prediction", snr_gamma=5.0),
    "flow": flow(),
    "flow-sigma-sqrt": flow("sigma_sqrt"),
    "flow-cosmap": flow("cosmap"),
    "flow-preconditioned": flow(precondition_outputs=True),
    "edm": edm(EDMEulerScheduler()),
    "edm-v": edm(EDMEulerScheduler(prediction_type="v_prediction")),
    "edm-style-euler": edm(EulerDiscreteScheduler()),
    "edm-style-euler-v": edm(
        EulerDiscreteScheduler(prediction_type="v_prediction", timestep_type="continuous")
    ),
}
DISCRETE = ("epsilon", "v", "sample")
CASES = [
    *(("unet", name) for name in ("epsilon", "v", "sample", "epsilon-min-snr", "v-min-snr", "edm")),
    *(("unet-classes", name) for name in DISCRETE),
    *(("unet-text", name) for name in (*DISCRETE, "epsilon-min-snr", "v-min-snr")),
    *(("unet-text-classes", name) for name in ("epsilon", "v")),
    *(("unet-sdxl", name) for name in ("epsilon", "v", "edm", "edm-v")),
    *(("unet-sdxl", name) for name in ("edm-style-euler", "edm-style-euler-v")),
    ("unet-learned-variance", "epsilon"),
    *(("dit", name) for name in ("epsilon", "v")),
    *(("pixart", name) for name in ("epsilon", "v", "epsilon-min-snr")),
    *(("sd3", name) for name in OBJECTIVES if name.startswith("flow")),
    *(("flux", name) for name in ("flow", "flow-sigma-sqrt")),
]


@dataclass(frozen=True, eq=False)
class Loop:
    """One case, and what the plain loops need."""

    model: Any
    loss_of: Any
    state: dict
    train: list
    queries: list
    train_noise: torch.Tensor
    query_noise: torch.Tensor

    def expected(self, rescale):
        train = list(zip(self.train, TRAIN_TIMESTEPS, self.train_noise, strict=True))
        queries = [
            (query, list(zip(QUERY_TIMESTEPS, noise, strict=True)))
            for query, noise in zip(self.queries, self.query_noise, strict=True)
        ]
        return textbook.influence(
            self.loss_of, self.model.network, [(self.state, 0.5)], [train], [queries], rescale
        )

    def attribute(self, method):
        return method(
            self.model,
            [retrac.Checkpoint(self.state, 0.5)],
            train_draws=retrac.Given(TRAIN_TIMESTEPS[None], self.train_noise[None]),
            query_draws=retrac.Given(QUERY_TIMESTEPS, self.query_noise[None]),
            batch_size=5,
        ).attribute(self.train, self.queries)


def make_loop(name, objective, network=None):
    network = make_network(name) if network is None else network
    objective = OBJECTIVES[objective]
    generator = torch.Generator().manual_seed(3)

    def noise(*shape):
        return torch.randn(*shape, 3, 8, 8, generator=generator, dtype=torch.float64)

    examples = make_examples(name, 4)
    return Loop(
        model=objective.wrap(network),
        loss_of=objective.loss_of(CALLS.get(name, scripts.call_unet)(network)),
        state=perturbed(network),
        train=examples[:2],
        queries=examples[2:],
        train_noise=noise(2),
        query_noise=noise(2, 2, 2),
    )


@pytest.mark.parametrize(("name", "objective"), CASES)
def test_retrac_equals_the_scripts_loss_in_plain_loops(name, objective):
    loop = make_loop(name, objective)
    assert_equal(loop.attribute(retrac.DiffusionReTrac).values, loop.expected(textbook.direction))


@pytest.mark.parametrize(("name", "objective"), dict(reversed(CASES)).items())
def test_tracin_equals_the_scripts_loss_in_plain_loops(name, objective):
    loop = make_loop(name, objective)
    assert_equal(loop.attribute(retrac.DiffusionTracIn).values, loop.expected(textbook.unchanged))


@pytest.mark.parametrize(("name", "objective"), dict(CASES).items())
def test_a_batchs_losses_and_autograd_are_those_of_its_samples_alone(name, objective):
    loop = make_loop(name, objective)
    network = loop.model.network
    fields = collate(loop.train, [0, 1], "train")
    samples = fields.pop("sample")
    batch = loop.model.diffuse(samples, TRAIN_TIMESTEPS, loop.train_noise, fields)
    parameters = dict(network.named_parameters())
    losses = loop.model.losses(dict(network.named_buffers()), parameters, batch)
    for i, together in enumerate(losses):
        alone = loop.loss_of(loop.train[i], TRAIN_TIMESTEPS[i], loop.train_noise[i])
        assert_equal(together.detach(), alone.detach())
        gradients = torch.autograd.grad(together, parameters.values(), retain_graph=True)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        assert_equal(flat, textbook.gradient(alone, network))


def test_a_dit_that_drops_labels_at_random_is_refused():
    network = make_network("dit")
    check_deterministic(network)
    with pytest.raises(InputError, match=r"LabelEmbedding .* is in training mode"):
        check_deterministic(network.train())
