import pytest
import torch
from safetensors.torch import save_file

from retrac_plugin import Scores
from retrac_plugin.attribution.self_influence_files import SelfInfluence, holds_self_influence
from retrac_plugin.errors import InputError


def test_what_was_saved_is_read_and_known_from_scores(tmp_path):
    path, other = tmp_path / "self.safetensors", tmp_path / "scores.safetensors"
    told = ("a cat", "a dog")
    SelfInfluence(torch.tensor([1.0, 2.0]), ("a\n", "<b>"), {"method": "m"}, told).save(path)
    Scores(torch.ones(1, 2)).save(other)
    found = SelfInfluence.load(path)
    assert found.values.tolist() == [1.0, 2.0]
    assert (found.train_names, found.about) == (("a\n", "<b>"), {"method": "m"})
    assert found.train_prompts == told
    assert holds_self_influence(path)
    assert not holds_self_influence(other)


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (torch.ones(2, 2), (), r"expected values \[train\], got .* \[2, 2\]"),
        (torch.ones(2).long(), (), "got torch.int64"),
        (torch.tensor([1.0, float("nan")]), (), "got NaN or infinity"),
        (torch.ones(2), ("a",), "it has 2 values and 1 names"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, values, names, message):
    path = tmp_path / "self.safetensors"
    SelfInfluence(values, names).save(path)
    with pytest.raises(InputError, match=message):
        SelfInfluence.load(path)


def test_what_is_no_such_file_is_refused(tmp_path):
    path = tmp_path / "self.safetensors"
    path.write_bytes(b"\x80nothing")
    for read in (SelfInfluence.load, holds_self_influence):
        with pytest.raises(InputError, match="cannot read"):
            read(path)
    save_file({"self_influence": torch.ones(2)}, path, {"retrac": "[1"})
    with pytest.raises(InputError, match="cannot read"):
        SelfInfluence.load(path)
