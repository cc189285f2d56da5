"""How a score splits, as the page is given it, and what is refused."""

import base64
from dataclasses import replace

import numpy as np
import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.attribution.breakdown_files import Breakdown
from retrac_plugin.attribution.pairs import strongest
from retrac_plugin.errors import InputError
from retrac_plugin.report import Method
from retrac_plugin.report import listing as of_listing
from retrac_plugin.report.listing import listing
from retrac_plugin.report.of_scores import report_of
from retrac_plugin.report.terms import shared_timesteps, terms_of
from tests.report import sample

TIMESTEPS = [900.0, 0.0, 450.0]


def broken(scores, pairs, steps=(480, None)):
    """Terms that sum to the scores: of two checkpoints and three timesteps."""
    generator = torch.Generator().manual_seed(0)
    told = torch.stack([scores.values[pair] for pair in pairs])
    terms = torch.randn(len(pairs), 2, 3, generator=generator) * told[:, None, None]
    terms[:, 1, 2] += told - terms.sum((1, 2))
    timesteps = torch.tensor(TIMESTEPS).expand_as(terms)
    about = {"method": scores.about.get("method"), "checkpoint_steps": list(steps)}
    return Breakdown(torch.tensor(pairs), terms, timesteps, about)


def unpacked(found, checkpoints=2):
    """What the script reads: the terms ``[checkpoint, timestep]``."""
    packed, scale, *_ = found
    low = np.frombuffer(base64.b64decode(packed), np.uint8).reshape(-1, 3)
    sign = np.where(low[:, 2:] > 127, 255, 0).astype(np.uint8)
    whole = np.concatenate([low, sign], 1).view("<i4")
    return torch.from_numpy(whole.reshape(checkpoints, -1) * scale)


def with_terms(query=1):
    """The sample's report; the first method's terms of its strongest proponent of a query."""
    report = sample.report()
    first = report.methods[0]
    best = first.scores.proponents(1).indices[query].item()
    split = broken(first.scores, [(query, best)])
    return replace(report, methods=[replace(first, breakdown=split), report.methods[1]]), split


def test_the_page_has_a_pair_s_terms_by_timestep_in_the_units_of_its_score():
    report, split = with_terms()
    listed = listing(report)
    assert listed["methods"][0]["checkpoints"] == ["480", "2"]
    assert listed["methods"][1]["checkpoints"] == []
    answer = listed["answers"][1][0]
    place, score = answer["ends"][0]["entries"][0][:2]
    (found,) = answer["terms"].items()
    assert found[0] == place
    assert listed["methods"][0]["timesteps"] == ["0", "450", "900"]
    assert len(found[1]) == 2
    expected = split.values[0][:, [1, 2, 0]].double() / 1e-5
    assert unpacked(found[1]) == pytest.approx(expected, abs=2e-7 * float(expected.abs().max()))
    assert answer["unit"].endswith("10⁻⁵")
    assert unpacked(found[1]).sum() == pytest.approx(float(score), abs=0.01)
    others = [a["terms"] for q in (0, 2) for a in listed["answers"][q]]
    assert [*others, listed["answers"][1][1]["terms"]] == [{}] * 5


def test_timesteps_that_differ_between_checkpoints_are_numbered():
    _, split = with_terms()
    timesteps = split.timesteps.clone()
    timesteps[0, 1, 0] = 3
    ((query, index),) = split.places
    found = terms_of(replace(split, timesteps=timesteps), query, index, 0)
    assert found[2] == ["draw 1", "draw 2", "draw 3"]
    assert unpacked(found).numpy() == pytest.approx(split.values[0].numpy(), abs=1e-3)
    assert shared_timesteps(replace(split, timesteps=timesteps)) == []
    assert terms_of(split, query + 1, index, 0) is None
    assert terms_of(None, query, index, 0) is None


def test_pairs_with_timesteps_of_their_own_keep_them():
    scores = sample.scores(3)
    split = broken(scores, [(0, 1), (0, 2)])
    assert shared_timesteps(split) == ["0", "450", "900"]
    timesteps = split.timesteps.clone()
    timesteps[1] += 1
    other = replace(split, timesteps=timesteps)
    assert shared_timesteps(other) == []
    assert terms_of(other, 0, 2, 0)[2] == ["1", "451", "901"]


def test_terms_of_nothing_are_nothing():
    split = broken(sample.scores(3), [(0, 1)])
    assert not unpacked(terms_of(replace(split, values=split.values * 0), 0, 1, 0)).any()


def test_where_terms_weigh_too_much_each_list_has_those_of_its_first(monkeypatch):
    report = sample.report()
    first = report.methods[0]
    every = strongest([first.scores], sample.K)
    split = broken(first.scores, every)
    report = replace(report, methods=[replace(first, breakdown=split), report.methods[1]])
    assert {len(of[0]["terms"]) for of in listing(report)["answers"]} == {2 * sample.K}
    monkeypatch.setattr(of_listing, "SPLIT_BYTES", split.values.numel() * 4 // 2)
    answer = listing(report)["answers"][0][0]
    shown = [[entry[0] in answer["terms"] for entry in end["entries"]] for end in answer["ends"]]
    assert shown == [[True, True, False, False]] * 2


def test_a_breakdown_of_other_scores_is_refused():
    report, split = with_terms()
    wrong = replace(split, values=split.values + 1)
    with pytest.raises(InputError, match="Diffusion-TracIn: the breakdown is of other scores"):
        replace(report, methods=[replace(report.methods[0], breakdown=wrong)], rows=())
    outside = replace(split, pairs=torch.tensor([[0, 20]]))
    with pytest.raises(InputError, match="of other scores"):
        replace(report, methods=[replace(report.methods[0], breakdown=outside)], rows=())


def test_breakdowns_find_their_method_by_its_name():
    images = torch.zeros(4, 1, 4, 4)
    scores = [Scores(torch.randn(1, 4), about={"method": name}) for name in ("a", "b")]
    split = broken(scores[1], [(0, 2)])
    report = report_of(scores, images, images[:1], breakdowns=[split])
    assert [method.breakdown for method in report.methods] == [None, split]
    with pytest.raises(InputError, match="breakdowns of b: there are no scores of that"):
        report_of(scores[:1], images, images[:1], breakdowns=[split])


@pytest.mark.parametrize("opening", [-1, 3])
def test_a_page_cannot_open_on_a_query_that_is_not_there(opening):
    with pytest.raises(InputError, match="opening must lie between 0 and 2"):
        sample.report(opening=opening)


def test_methods_without_terms_need_none():
    assert Method("m", Scores(torch.zeros(1, 1))).breakdown is None
