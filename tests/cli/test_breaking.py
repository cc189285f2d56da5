"""``--breakdown`` of what a store says, as a user asks for it."""

import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.attribution.breakdown_files import Breakdown
from tests.cli.calling import called
from tests.run_folders import write_all

FEW = ("--timesteps", 2, "--method", "diffusion-retrac", "--method", "diffusion-tracin")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Ask a store that was filled for it; returns what is called with further options."""
    folder = tmp_path_factory.mktemp("stores")
    files = write_all(folder, 10)
    given = [files / "run", "--train", files / "train.safetensors", "--store", folder / "store"]
    called("featurize", *given, *FEW)
    more = ["--queries", files / "queries.safetensors", "-k", 2, "--breakdown"]
    return lambda out, *own: called("attribute", *given, *FEW, *more, "--out", out, *own)


@pytest.mark.parametrize("name", ["diffusion-retrac", "diffusion-tracin"])
@pytest.mark.parametrize(
    "options", [(), ("--exact", 3), ("--max-memory", "100B")], ids=["all", "exact", "listed"]
)
def test_the_terms_that_are_written_sum_to_the_scores_that_are(asked, options, name, tmp_path):
    """Of all images, of a list with exact scores, and of columns that are of listed images."""
    asked(tmp_path, *options)
    scores = Scores.load(tmp_path / f"{name}.safetensors")
    found = Breakdown.load(tmp_path / f"{name}-breakdown.safetensors")
    assert (scores.train_positions is not None) == ("--max-memory" in options)
    queries, samples = found.pairs.T
    sums, size = found.values.flatten(1).sum(1), found.values.abs().sum((1, 2))
    assert ((sums - scores.values[queries, samples]).abs() < 1e-4 * size).all()
    assert len(found.pairs) >= 2 * 4
    assert (tmp_path / "index.html").is_file()
    assert torch.equal(found.pairs.unique(dim=0), found.pairs)
