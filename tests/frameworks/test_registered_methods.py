"""What every registered method of every framework does alike."""

import dataclasses
import logging
import os
import subprocess
import sys
import tempfile

import pytest
import torch
from torch.utils.data import DataLoader

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from tests.frameworks.method_table import (
    FRAMEWORK_OF,
    FRAMEWORKS,
    QUERY_DRAWS,
    quick,
    quick_settings,
    recipes,
    scores,
)
from tests.small import small_case
from tests.tiny import tiny_case

every = pytest.mark.parametrize("name", FRAMEWORK_OF)
each = pytest.mark.parametrize("framework", FRAMEWORKS)


@every
@pytest.mark.parametrize("batch_size", [1, 5])
def test_batch_size_changes_no_score(name, batch_size):
    expected = quick(name, small_case())
    tolerance = FRAMEWORKS[FRAMEWORK_OF[name]].same
    if expected.dtype == torch.float32:  # in which some of dattri's methods compute
        tolerance = {"rtol": 2e-3, "atol": 1e-4}
    ours = quick(name, small_case(), batch_size=batch_size)
    torch.testing.assert_close(ours, expected, **tolerance)


@every
def test_repeating_a_call_repeats_its_scores_and_touches_nothing_global(
    name, tmp_path, monkeypatch
):
    case, state = small_case(), torch.get_rng_state()
    weights = {n: v.clone() for n, v in case.network.state_dict().items()}
    modules = dict(case.network.named_modules())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logs = [logging.root, logging.getLogger(FRAMEWORK_OF[name])]
    levels = [log.level for log in logs]
    assert torch.equal(quick(name, case), quick(name, case))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert levels == [log.level for log in logs]
    assert not list(tmp_path.iterdir())
    assert dict(case.network.named_modules()) == modules
    assert all(p.requires_grad and p.grad is None for p in case.network.parameters())
    assert all(torch.equal(v, weights[n]) for n, v in case.network.state_dict().items())


@every
def test_loaders_of_a_subset_and_conditions(name):
    """Draws belong to a sample's index in the data set, and the last checkpoint's to it."""
    case, rows, framework = small_case(classes=3), [5, 0, 2], FRAMEWORKS[FRAMEWORK_OF[name]]
    noise = torch.randn(2, 7, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    steps = torch.arange(14).view(2, 7) * 7
    settings = {**quick_settings(name), "query_draws": QUERY_DRAWS, "progress": False}
    whole, part = (
        recipes(FRAMEWORK_OF[name]).method(name)(
            case.model,
            case.checkpoints,
            train_draws=retrac.Given(steps[:, own], noise[:, own]),
            **settings,
        )
        for own in (list(range(7)), rows)
    )
    loader = DataLoader(case.train, batch_size=2, sampler=framework.sampler(rows))
    torch.testing.assert_close(
        whole.attribute(loader, DataLoader(case.queries)).values,
        part.attribute([case.train[i] for i in rows], case.queries).values,
        **framework.same_rows,
    )


@every
def test_only_attributed_parameters_take_part(name):
    case = small_case()
    case.model = case.model.attributing(*FRAMEWORKS[FRAMEWORK_OF[name]].attributed)
    for parameter in case.network.enter.parameters():
        parameter.requires_grad_(False)
    assert quick(name, case).std(1).min() > 0


@every
def test_runs_on_a_unet_with_attention(name):
    case = tiny_case()
    single = dataclasses.replace(case, checkpoints=case.checkpoints[-1:])
    settings = {**quick_settings(name), "query_draws": retrac.Strided(2)}
    settings.pop("layers", None)  # which are the small denoiser's
    values = scores(name, single, **settings)
    assert values.shape == (3, 7)
    assert values.isfinite().all()
    assert (values.std(1) > 0).all()


@every
def test_another_setting_than_it_has(name):
    with pytest.raises(InputError, match=f"{name}: unknown temperature, its settings are: "):
        scores(name, small_case(), temperature=1.0)


@every
def test_scaled_steps_are_refused(name):
    case = small_case()
    case.checkpoints[1] = dataclasses.replace(case.checkpoints[1], preconditioner=dict)
    with pytest.raises(InputError, match=f"{name}: checkpoint 1 has a preconditioner"):
        quick(name, case)


@every
@pytest.mark.parametrize("progress", [False, None])
def test_no_progress_is_shown_unasked(name, progress, capfd):
    """None: on a terminal, which a test has not."""
    quick(name, small_case(), progress=progress)
    captured = capfd.readouterr()
    assert not captured.out + captured.err


@pytest.mark.skipif("TQDM_DISABLE" in os.environ, reason="tqdm is silenced by TQDM_DISABLE")
@every
def test_progress_is_shown_on_request(name, capfd):
    quick(name, small_case(), progress=True)
    captured = capfd.readouterr()
    assert captured.out + captured.err


@each
def test_every_method_is_registered(framework):
    expected, module = FRAMEWORKS[framework], recipes(framework)
    entries = list(expected.entries.retrac_register_attributors())
    made = set(getattr(module, expected.made)) | expected.besides
    assert set(getattr(module, "REFUSALS", ())) == expected.refused
    assert {entry.name for entry in entries} == made | expected.refused
    assert all(entry.needs == expected.needs and entry.source for entry in entries)
    assert all(isinstance(entry.load(), type) for entry in entries)


@each
def test_registering_them_imports_nothing_heavy(framework):
    statement = (
        f"import sys; from retrac_plugin.frameworks import {framework}_methods as m;"
        "list(m.retrac_register_attributors());"
        f"assert not {{'torch', '{framework}'}} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
