"""What holds for every registered metric."""

import subprocess
import sys

import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.metrics import ENTRIES, Evidence
from tests.metrics import planted

SMALL = [entry for entry in ENTRIES if not entry.name.endswith(("@50", "@100"))]
BY_SIZE = {"lds", "lds-squared", "lds-largest-5%"}
"""Metrics that look at the sizes of scores, not at their order alone."""
RANKED = [entry for entry in SMALL if entry.name not in BY_SIZE]
TOP_LISTS = [entry for entry in ENTRIES if entry.name.endswith(("@10", "@50", "@100"))]
FIELDS = {
    "class-agreement@10": ["train_labels", "query_labels"],
    "minority-share@10": ["train_is_minority", "query_is_minority"],
    "minority-recall@10": ["train_is_minority", "query_is_minority"],
    "minority-auprc": ["train_is_minority", "query_is_minority"],
    "norm-bias": ["gradient_norms"],
    "norm-bias-size": ["gradient_norms"],
    "outliers-auroc": ["self_influence", "train_is_minority"],
    "outliers-auprc": ["self_influence", "train_is_minority"],
    "tracing-hit@1": ["query_train_index"],
    "tracing-hit@10": ["query_train_index"],
    "tracing-mrr": ["query_train_index"],
    "lds": ["subsets", "subset_losses"],
    "lds-squared": ["subsets", "subset_losses"],
    "lds-largest-5%": ["subsets", "subset_losses"],
    "leave-one-out": ["left_out", "left_out_losses"],
    "leave-one-out-continued": ["continued", "continued_changes"],
    "model-randomisation": ["untrained"],
}

small = pytest.mark.parametrize("entry", SMALL, ids=lambda entry: entry.name)


def with_ties(values):
    return (values * 3).round()


def test_names_are_unique_and_summaries_one_line():
    assert len({entry.name for entry in ENTRIES}) == len(ENTRIES)
    assert all(entry.summary and "\n" not in entry.summary for entry in ENTRIES)
    assert [e.name for e in ENTRIES if not e.source] == [], "say where they are defined: source="
    wanting = [entry.name for entry in ENTRIES if not entry.caution.endswith(".")]
    assert wanting == [], "each needs a sentence in retrac_plugin/metrics/cautions.py"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_loads_and_returns_a_float(entry):
    values, known = planted.scores().repeat(1, 3), planted.evidence()
    tripled = planted.permuted(known, torch.arange(planted.TRAIN).repeat(3))
    index = {"query_train_index": known.query_train_index}
    known = Evidence(**{**vars(tripled), **index})
    assert type(entry.load()(values, known)) is float


@small
@pytest.mark.parametrize("prepare", [torch.clone, with_ties], ids=["distinct", "ties"])
def test_order_of_the_training_set_does_not_matter(entry, prepare):
    values, known = prepare(planted.scores()), planted.evidence()
    order = torch.randperm(planted.TRAIN, generator=torch.Generator().manual_seed(5))
    metric = entry.load()
    expected = metric(values, known)
    assert metric(values[:, order], planted.permuted(known, order)) == pytest.approx(expected)


@pytest.mark.parametrize("entry", RANKED, ids=lambda entry: entry.name)
def test_an_increasing_change_of_each_query_does_not_matter(entry):
    values, known = planted.scores().abs().double(), planted.evidence()
    scale = torch.linspace(0.1, 9, planted.QUERIES, dtype=torch.float64)[:, None]
    metric = entry.load()
    changed, expected = metric(values**3 * scale, known), metric(values, known)
    assert changed == pytest.approx(expected), "does it look at sizes? Then name it in BY_SIZE"


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, fs in FIELDS.items() for f in fs])
def test_says_which_evidence_is_missing(name, field):
    (entry,) = (entry for entry in ENTRIES if entry.name == name)
    known = Evidence(**{**vars(planted.evidence()), field: None})
    with pytest.raises(InputError, match=f"lacks {field}, which is needed to "):
        entry.load()(planted.scores(), known)


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, fs in FIELDS.items() for f in fs])
def test_says_which_evidence_has_another_shape(name, field):
    (entry,) = (entry for entry in ENTRIES if entry.name == name)
    known = vars(planted.evidence())
    known = Evidence(**{**known, field: known[field][..., 1:]})
    with pytest.raises(InputError, match=f"evidence {field}: expected shape"):
        entry.load()(planted.scores(), known)


@pytest.mark.parametrize("entry", TOP_LISTS, ids=lambda entry: entry.name)
def test_refuses_a_top_list_longer_than_the_training_set(entry):
    with pytest.raises(InputError, match="between 1 and the 4 training samples"):
        entry.load()(torch.eye(4), Evidence())


def test_importing_them_imports_neither_torch_nor_scipy():
    heavy = "{'torch', 'scipy', 'sklearn', 'numpy'}"
    code = f"import sys, retrac_plugin.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
