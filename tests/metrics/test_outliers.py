import builtins

import pytest
import torch

from retrac_plugin.errors import InputError, MissingDependencyError
from retrac_plugin.metrics.evidence import Evidence
from retrac_plugin.metrics.outliers import auprc, auroc
from retrac_plugin.plugins import get_metric

MINORITY = torch.tensor([True, False, True, False, False])
SELF_INFLUENCE = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])


def test_by_hand():
    assert auroc(SELF_INFLUENCE, MINORITY) == pytest.approx(5 / 6)  # 5 of 6 pairs in order
    assert auprc(SELF_INFLUENCE, MINORITY) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_auroc_equals_the_share_of_pairs_in_order():
    generator = torch.Generator().manual_seed(0)
    values, minority = torch.randint(9, (50,), generator=generator), torch.arange(50) % 7 == 0
    higher = values[minority][:, None] - values[~minority][None, :]
    pairs = (higher > 0).double() + (higher == 0).double() / 2
    assert auroc(values, minority) == pytest.approx(pairs.mean().item())


def test_equal_values_are_guessing():
    assert auroc(torch.ones(5), MINORITY) == 0.5
    assert auprc(torch.ones(5), MINORITY) == pytest.approx(2 / 5)


def test_what_is_registered_looks_at_the_evidence_alone():
    known = Evidence(self_influence=SELF_INFLUENCE, train_is_minority=MINORITY)
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert get_metric("outliers-auroc")(values, known) == auroc(SELF_INFLUENCE, MINORITY)
    assert get_metric("outliers-auprc")(values, known) == auprc(SELF_INFLUENCE, MINORITY)


def test_without_self_influence_the_registered_say_what_is_missing():
    with pytest.raises(InputError, match="lacks self_influence"):
        get_metric("outliers-auroc")(torch.ones(3, 5), Evidence(train_is_minority=MINORITY))


def test_order_of_the_set_does_not_matter():
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    assert auprc(SELF_INFLUENCE[order], MINORITY[order]) == auprc(SELF_INFLUENCE, MINORITY)


@pytest.mark.parametrize("minority", [torch.ones(5), torch.zeros(5)])
def test_needs_both_groups(minority):
    with pytest.raises(InputError, match="of the minority and of the majority"):
        auroc(SELF_INFLUENCE, minority)


def test_needs_equal_lengths():
    with pytest.raises(InputError, match=r"\[5\] and \[4\]"):
        auroc(SELF_INFLUENCE, MINORITY[:4])


def test_refuses_nan():
    with pytest.raises(InputError, match="finite"):
        auprc(SELF_INFLUENCE * float("nan"), MINORITY)


def test_says_what_to_install(monkeypatch):
    really_import = builtins.__import__

    def without_sklearn(name, *rest):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return really_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_sklearn)
    with pytest.raises(MissingDependencyError, match=r"pip install 'retrac-plugin\[metrics\]'"):
        auroc(SELF_INFLUENCE, MINORITY)
