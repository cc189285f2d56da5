import pytest
import torch

from retrac_plugin.errors import InputError
from retrac_plugin.report import Method, MetricRow, NormRecord
from tests.report import sample


def test_takes_what_fits():
    assert sample.report().title == "A small report"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": []}, "at least one method"),
        ({"k": 21}, "between 1 and the 20 training images, got 21"),
        ({"k": 0}, "got 0"),
        ({"train_images": torch.zeros(20, 8, 8)}, r"train_images: .* got shape \[20, 8, 8\]"),
        ({"query_images": torch.zeros(3, 2, 8, 8)}, "query_images: .* 1 or 3 channels"),
        ({"query_images": torch.full((3, 1, 8, 8), float("nan"))}, "query_images: expected finite"),
        ({"train_labels": ["cat"]}, "train_labels: expected 0 or 20 entries, got 1"),
        ({"query_labels": ["cat"]}, "query_labels: expected 0 or 3 entries, got 1"),
        ({"train_is_minority": torch.ones(3)}, "train_is_minority: expected 20 entries, got 3"),
        ({"rows": [MetricRow("hubness@10", (1.0,))]}, "hubness@10: expected 2 entries, got 1"),
        ({"query_images": torch.zeros(4, 1, 8, 8)}, r"shape \[4, 20\], got \[3, 20\]"),
    ],
)
def test_refuses_what_does_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        sample.report(**changes)


def test_names_the_method_whose_scores_do_not_fit():
    other = Method("Other", sample.Scores(torch.zeros(20, 3)))
    with pytest.raises(InputError, match=r"Other: expected scores of shape \[3, 20\]"):
        sample.report(methods=[*sample.report().methods, other])


def test_norms_need_their_timesteps():
    with pytest.raises(InputError, match=r"\[3\] and \[4\]"):
        NormRecord(torch.ones(3), torch.ones(4))
