"""Norms of rows as long as large networks: against float64, in float32."""

import os

import pytest
import torch

import retrac_plugin as retrac
from retrac_plugin.attribution.query_side import query_gradients
from retrac_plugin.attribution.setting import Setting
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.gradients.row_norms import STRETCH, row_norms
from retrac_plugin.gradients.streamed import StreamedEngine
from retrac_plugin.gradients.vmapped import VmapEngine

PIECE = 1_000_003  # no multiple of a stretch, nor of a vector register


def piece(seed=0):
    return torch.randn(PIECE, generator=torch.Generator().manual_seed(seed)) * 1e-6


def free_bytes():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("pieces", [1, 34, 1000])
def test_a_long_row_loses_no_digits_that_count(pieces):
    if free_bytes() < 3 * 4 * pieces * PIECE:
        pytest.skip("needs 12 GB of free memory")
    one = piece()
    found = row_norms(one.repeat(pieces)[None])
    expected = one.double().norm() * pieces**0.5
    assert abs(found.item() / expected.item() - 1) < 1e-6


@pytest.mark.parametrize("width", [1, STRETCH - 1, STRETCH, STRETCH + 1, STRETCH**2 + 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_width_and_type(width, dtype):
    rows = torch.randn(3, width, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = row_norms(rows)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found.double(), rows.double().norm(dim=1), rtol=tolerance, atol=0)


def test_columns_of_a_wider_matrix_are_read_in_place():
    wide = torch.randn(4, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(row_norms(wide[:, 100:3100]), wide[:, 100:3100].norm(dim=1))


@pytest.mark.parametrize("engine", [StreamedEngine, VmapEngine])
def test_a_query_of_many_parameters_has_norm_one(engine):
    """ReTrac's query gradient at one timestep, whole, through the engine: 33.6 M parameters."""

    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.enter = torch.nn.Linear(64, 512)
            self.out = torch.nn.Linear(512, 65_536)
            self.fold = torch.nn.AvgPool1d(1024)

        def forward(self, noisy, timesteps):
            hidden = torch.tanh(self.enter(noisy.flatten(1)) + timesteps[:, None] / 100)
            return self.fold(self.out(hidden)[:, None]).view_as(noisy)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, query = Wide().eval(), [torch.rand(1, 8, 8) * 2 - 1]
    model = retrac.wrap(network, retrac.VariancePreserving(torch.linspace(0.999, 0.01, 100)))
    checkpoints = [retrac.Checkpoint(network.state_dict(), 1.0, 1)]
    setting = Setting.build(model, checkpoints, 4, None, engine, False)
    (at,) = setting.passes(lambda samples: None)
    norms = []

    def keep(found):
        norms.append(found)
        return torch.ones_like(found)

    source = ExampleSource(query, "queries")
    gradient = query_gradients(at, source, retrac.Strided(1), [keep])[0, 0]
    assert gradient.numel() > 33_000_000
    assert abs(norms[0].item() / gradient.double().norm().item() - 1) < 1e-6
