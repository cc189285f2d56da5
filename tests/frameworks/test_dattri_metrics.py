"""dattri's metrics and its retraining take what our attributors return.

One step of gradient descent from a common start changes a query's loss, to first order, by minus
the step size times the sum of the inner products that Diffusion-TracIn sums. So there the metrics
must find nearly perfect scores.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.frameworks.dattri import DiffusionReTracAttributor, DiffusionTracInAttributor
from tests.frameworks.dattri_tools import QUERY_DRAWS, TRAIN_DRAWS, task_of
from tests.small import small_case

# Behind ours, which silences what dattri's import warns of.
from dattri.metric import (  # isort: skip
    calculate_lds_ground_truth,
    lds,
    loo_corr,
    mislabel_detection_auc,
)
from dattri.model_util.retrain import retrain_lds  # isort: skip

STEP = 1e-3


class OneStep:
    """A case whose training is one step of gradient descent on drawn examples."""

    def __init__(self):
        self.case = small_case(train=12, queries=4, checkpoints=1)
        self.task = task_of(self.case)
        self.train = self.task.drawn(self.case.train, TRAIN_DRAWS, "train")
        self.queries = self.task.drawn(self.case.queries, QUERY_DRAWS, "query")
        self.loss = self.task.get_loss_func(flatten=False)

    def start(self):
        self.task.get_param(0)
        model = self.task.get_model()
        return {name: p.detach().clone() for name, p in model.named_parameters()}

    def step_on(self, batch):
        parameters = {name: p.requires_grad_() for name, p in self.start().items()}
        gradients = torch.autograd.grad(self.loss(parameters, batch), list(parameters.values()))
        return {
            name: (p - STEP * g).detach()
            for (name, p), g in zip(parameters.items(), gradients, strict=True)
        }

    def query_losses(self, parameters):
        with torch.no_grad():
            return torch.stack([self.loss(parameters, query) for query in self.queries])

    def scores(self, method=DiffusionTracInAttributor):
        return method(self.task).attribute(DataLoader(self.train), DataLoader(self.queries))


@pytest.fixture(scope="module")
def one_step():
    return OneStep()


def test_lds_of_models_that_dattri_retrains(one_step, tmp_path):
    def train_func(loader, seed):
        model = one_step.case.network
        (batch,) = loader
        model.load_state_dict(one_step.step_on(batch))
        return model

    def target_func(path, _):
        return one_step.query_losses(torch.load(path, weights_only=True))

    loader = DataLoader(one_step.train, batch_size=6)
    retrain_lds(train_func, loader, tmp_path, num_subsets=20, subset_ratio=0.5, seed=0)
    truth = calculate_lds_ground_truth(target_func, tmp_path, DataLoader(one_step.queries))
    correlations, _ = lds(one_step.scores(), truth)
    assert correlations.shape == (4,)
    assert (correlations > 0.95).all()
    assert (lds(-one_step.scores(), truth)[0] < -0.95).all()


def test_loo_correlation(one_step):
    everyone = range(len(one_step.train))
    losses = []
    for left_out in everyone:
        rest = [one_step.train[i] for i in everyone if i != left_out]
        batch = [torch.stack(parts) for parts in zip(*rest, strict=True)]
        losses.append(one_step.query_losses(one_step.step_on(batch)))
    correlations, _ = loo_corr(one_step.scores(), (torch.stack(losses), torch.tensor(everyone)))
    assert (correlations > 0.95).all()


def test_mislabel_detection_by_self_influence():
    case = small_case(train=20)
    spoilt = torch.zeros(20)
    spoilt[[3, 11]] = 1
    train = [20 * image if bad else image for image, bad in zip(case.train, spoilt, strict=True)]
    attributor = DiffusionTracInAttributor(task_of(case), train_draws=retrac.Uniform(10))
    area, (false_positives, true_positives, _) = mislabel_detection_auc(
        attributor.self_attribute(train), spoilt
    )
    assert area == 1
    assert len(false_positives) == len(true_positives) == 21


def test_lds_sums_the_rows_of_retrac_scores(one_step):
    scores = one_step.scores(DiffusionReTracAttributor)
    generator = torch.Generator().manual_seed(0)
    subsets = torch.stack([torch.randperm(12, generator=generator)[:6] for _ in range(10)])
    correlations, _ = lds(scores, (scores[subsets].sum(1), subsets))
    torch.testing.assert_close(correlations, torch.ones(4, dtype=torch.float64))
