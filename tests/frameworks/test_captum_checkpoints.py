"""Checkpoints as Captum's users keep them, with a diffusion model."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError
from retrac_plugin.frameworks.captum import DiffusionReTracCP
from tests.frameworks.captum_cases import DRAWS, EXACT
from tests.small import small_case


@pytest.fixture
def case():
    return small_case(train=3, queries=2)


@pytest.fixture
def expected(case):
    """Without step sizes, which files do not hold."""
    plain = [dataclasses.replace(c, step_size=1.0, step=None) for c in case.checkpoints]
    core = retrac.DiffusionReTrac(case.model, plain, **DRAWS)
    return core.attribute(case.train, case.queries).values


def scores(case, checkpoints, **options):
    ours = DiffusionReTracCP(case.model, case.train, checkpoints, batch_size=4, **DRAWS, **options)
    return ours.influence(case.queries)


@pytest.fixture
def folder(case, tmp_path):
    torch.save(case.checkpoints[0].parameters, tmp_path / "epoch-1.pt")
    save_file(dict(case.checkpoints[1].parameters), tmp_path / "epoch-2.safetensors")
    return tmp_path


@pytest.mark.parametrize("form", [str, lambda folder: folder, lambda f: sorted(f.iterdir())])
def test_files_are_read_safely(case, expected, folder, form):
    torch.testing.assert_close(scores(case, form(folder)), expected, **EXACT)


def test_a_pickle_is_refused(case, folder):
    torch.save(case.network, folder / "epoch-1.pt")
    with pytest.raises(CheckpointError, match="refused to unpickle"):
        scores(case, str(folder))


def test_a_function_of_the_user_s_says_the_step_size(case, folder):
    def load(network, path):
        position = int(path.split("epoch-")[1][0]) - 1
        network.load_state_dict(case.checkpoints[position].parameters)
        return torch.tensor(case.checkpoints[position].step_size)

    unnumbered = [dataclasses.replace(c, step=None) for c in case.checkpoints]
    found = scores(case, str(folder), checkpoints_load_func=load)
    expected = scores(case, unnumbered)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)  # 0.1 as a float32


def test_lists_keep_their_order(case, folder):
    """Captum sorts lists, but a checkpoint's position chooses its draws."""
    names = [str(folder / "epoch-2.safetensors"), str(folder / "epoch-1.pt")]
    flipped = [dataclasses.replace(c, step_size=1.0, step=None) for c in case.checkpoints[::-1]]
    torch.testing.assert_close(scores(case, names), scores(case, flipped), **EXACT)


def test_ours_may_stand_beside_theirs(case, expected, folder):
    mixed = [str(folder / "epoch-1.pt"), retrac.Checkpoint(case.checkpoints[1].parameters)]
    torch.testing.assert_close(scores(case, mixed), expected, **EXACT)


def test_what_only_captum_s_loader_takes_goes_through_it(case, expected, folder):
    mixed = [(folder / "epoch-1.pt").open("rb"), folder / "epoch-2.safetensors"]
    with mixed[0]:
        torch.testing.assert_close(scores(case, mixed), expected, **EXACT)
