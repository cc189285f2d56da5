"""The explainer as quanda makes and calls it; its own metric where quanda is installed."""

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import TensorDataset

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.frameworks.quanda import DiffusionExplainer
from tests.small import small_case

DRAWS = {"train_draws": retrac.Uniform(2), "query_draws": retrac.Strided(3)}


@pytest.fixture(scope="module")
def case():
    return small_case(classes=3)


@pytest.fixture(scope="module")
def files(case, tmp_path_factory):
    paths = [tmp_path_factory.mktemp("quanda") / f"{i}.safetensors" for i in range(2)]
    for path, checkpoint in zip(paths, case.checkpoints, strict=True):
        save_file(dict(checkpoint.parameters), path)
    return [str(path) for path in paths]


def stacked(examples):
    return [torch.stack([e[name] for e in examples]) for name in ("sample", "class_labels")]


def explainer(case, **options):
    """Make one with keywords, as quanda's metrics do."""
    given = {"scheduler": case.schedule, **DRAWS, **options}
    return DiffusionExplainer(
        model=case.network, train_dataset=TensorDataset(*stacked(case.train)), **given
    )


@pytest.mark.parametrize(
    ("method", "kind"),
    [("diffusion-tracin", retrac.DiffusionTracIn), ("diffusion-retrac", retrac.DiffusionReTrac)],
)
def test_explanations_are_the_scores_of_the_core(case, files, method, kind):
    made = explainer(case, checkpoints=files, method=method, step_sizes=[0.1, 0.2])
    series = [retrac.Checkpoint(path, size) for path, size in zip(files, (0.1, 0.2), strict=True)]
    core = kind(case.model, series, **DRAWS)
    samples, labels = stacked(case.queries)
    found = made.explain(test_data=samples, targets=labels)
    assert torch.equal(found, core.attribute(case.train, case.queries).values)
    assert found.shape == (3, 7)
    assert torch.equal(
        made.self_influence(batch_size=2), core.self_influence(case.train, DRAWS["query_draws"])
    )


def test_checkpoints_are_loaded_by_the_function_that_is_given(case, files):
    def load(network, path):
        state = {"a": case.checkpoints[0], "b": case.checkpoints[1]}[path].parameters
        network.load_state_dict(dict(state))
        return 1.0  # a learning rate, as Captum's loaders return

    samples, labels = stacked(case.queries)
    before = {n: v.clone() for n, v in case.network.state_dict().items()}
    loaded = explainer(case, checkpoints=["a", "b"], checkpoints_load_func=load)
    right = explainer(case, checkpoints=files).explain(samples, labels)
    assert torch.equal(loaded.explain(samples, labels), right)
    assert all(torch.equal(v, before[n]) for n, v in case.network.state_dict().items())


def test_unconditional_models_drop_the_labels():
    case = small_case()
    train, queries = torch.stack(case.train), torch.stack(case.queries)
    made = DiffusionExplainer(
        case.network,
        TensorDataset(train, torch.zeros(len(train))),
        scheduler=case.schedule,
        names=("sample", None),
        **DRAWS,
    )
    core = retrac.DiffusionReTrac(
        case.model, [retrac.Checkpoint(case.network.state_dict())], **DRAWS
    )
    assert torch.equal(made.explain(queries, [0, 0, 0]), core.attribute(train, queries).values)


def test_slips_are_refused(case, files):
    with pytest.raises(InputError, match="expected one of diffusion-tracin, diffusion-retrac"):
        explainer(case, method="tracin")
    with pytest.raises(InputError, match="step_sizes: expected one for each of 2 checkpoints"):
        explainer(case, checkpoints=files, step_sizes=[1.0])
    with pytest.raises(InputError, match="expected targets, since the denoiser is told"):
        explainer(case, checkpoints=files).explain(stacked(case.queries)[0])


def test_quandas_model_randomisation_takes_it(case, files, tmp_path):
    metrics = pytest.importorskip(
        "quanda.metrics.heuristics", reason="quanda needs torchvision, an environment of its own"
    )

    def load(network, path):
        read = torch.load(path) if path.endswith(".pth") else retrac.Checkpoint(path).load()
        network.load_state_dict(read)

    options = {"scheduler": case.schedule, **DRAWS}
    samples, labels = stacked(case.queries)
    metric = metrics.ModelRandomizationMetric(
        model=case.network,
        model_id="small",
        cache_dir=str(tmp_path),
        train_dataset=TensorDataset(*stacked(case.train)),
        checkpoints=files[:1],
        explainer_cls=DiffusionExplainer,
        expl_kwargs={**options, "checkpoints_load_func": load},
        checkpoints_load_func=load,
    )
    metric.update(explainer(case, checkpoints=files[:1]).explain(samples, labels), samples, labels)
    assert -1 <= metric.compute()["score"] <= 1
