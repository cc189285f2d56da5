import copy
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from retrac_plugin import Checkpoint, DiffusionTracIn
from retrac_plugin.checkpoints.checking import check_checkpoints
from retrac_plugin.checkpoints.checkpoint import load_into
from retrac_plugin.errors import CheckpointError, InputError
from tests.small import SmallDenoiser, small_case

CPU = torch.device("cpu")


@pytest.fixture
def network():
    return SmallDenoiser().eval()


def other_weights(network):
    return {name: value + 1 for name, value in network.state_dict().items()}


def test_the_network_itself_is_left_as_it_is(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loaded = load_into(network, Checkpoint(other_weights(network)), CPU)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.equal(loaded[name], before[name] + 1)


def test_every_safe_way_to_keep_weights_is_read(network, tmp_path):
    state = other_weights(network)
    save_file(state, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "unet").mkdir()
    save_file(state, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    names = list(state)
    for part, chosen in (("a.safetensors", names[:2]), ("b.safetensors", names[2:])):
        save_file({name: state[name] for name in chosen}, sharded / part)
    places = {n: "a.safetensors" if n in names[:2] else "b.safetensors" for n in names}
    index = sharded / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    for place in (
        tmp_path / "weights.safetensors",
        str(tmp_path / "weights.pt"),
        tmp_path,
        sharded,
    ):
        loaded = Checkpoint(place).load()
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_checkpoint_keeps_the_weights_of_its_moment(network):
    """state_dict() and named_parameters() are live: training goes on in their memory."""
    taken = [
        Checkpoint(network.state_dict()),
        Checkpoint(dict(network.named_parameters())),
        Checkpoint("elsewhere", query_parameters=network.state_dict()).on_query_side(),
    ]
    before = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1
    for checkpoint in taken:
        for name, value in checkpoint.load().items():
            assert torch.equal(value, before[name])
            assert not value.requires_grad


def test_checkpoints_of_one_training_are_those_of_their_steps(network):
    """Diffusion-TracIn of live state dicts is that of deep copies."""
    case = small_case(train=4, queries=2)
    optimizer, series = torch.optim.SGD(case.network.parameters(), lr=0.5), {"live": [], "deep": []}
    for step in range(3):
        sum(p.square().sum() for p in case.network.parameters()).backward()
        optimizer.step()
        state = case.network.state_dict()
        series["live"].append(Checkpoint(state, 0.5, step))
        series["deep"].append(Checkpoint(copy.deepcopy(state), 0.5, step))
    live, deep = (
        DiffusionTracIn(case.model, chosen, progress=False).attribute(case.train, case.queries)
        for chosen in series.values()
    )
    assert torch.equal(live.values, deep.values)


def test_a_state_dict_is_copied_once(network):
    checkpoint = Checkpoint(network.state_dict())
    again = replace(checkpoint, step=5)
    assert again.parameters is checkpoint.parameters


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    for name in ("weights.pt", "weights.bin"):
        (tmp_path / name).write_bytes(pickle.dumps({"enter.weight": Attack()}, protocol=2))
        torch.save({"enter.weight": Attack()}, tmp_path / f"zipped-{name}")
        for path in (tmp_path / name, tmp_path / f"zipped-{name}"):
            with pytest.raises(CheckpointError, match="refused to unpickle"):
                Checkpoint(path).load()
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_truncated_file_is_refused(network, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"cannot read|refused"):
        Checkpoint(path).load()


def test_missing_places_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        Checkpoint(tmp_path / "gone").load()
    with pytest.raises(CheckpointError, match="no weights in"):
        Checkpoint(tmp_path).load()
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="names a file outside its folder"):
        Checkpoint(tmp_path).load()
    index.write_text("[]")
    with pytest.raises(CheckpointError, match="is no index of weight files"):
        Checkpoint(tmp_path).load()


def test_something_else_than_a_state_dict_is_refused(tmp_path):
    torch.save({"step": 3}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="holds no state dict"):
        Checkpoint(tmp_path / "weights.pt").load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("enter.weight"), r"1 missing \(enter.weight\)"),
        (lambda state: state.update(new=torch.zeros(1)), r"1 not in the network \(new\)"),
        (
            lambda state: state.update({"enter.bias": torch.zeros(9)}),
            r"1 of another shape \(enter.bias \[9\] for \[4\]\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_how(network, change, message):
    state = network.state_dict()
    change(state)
    with pytest.raises(CheckpointError, match=message):
        load_into(network, Checkpoint(state), CPU)


def test_frozen_parameters_may_be_missing(network):
    network.enter.requires_grad_(False)
    state = {n: v for n, v in other_weights(network).items() if not n.startswith("enter.")}
    loaded = load_into(network, Checkpoint(state), CPU)
    assert torch.equal(loaded["enter.weight"], network.enter.weight)
    assert torch.equal(loaded["leave.weight"], network.leave.weight + 1)


def test_buffers_may_be_missing_from_an_adapters_checkpoint_alone():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)).eval()
    network[0].requires_grad_(False)
    adapter = {n: v + 1 for n, v in network.state_dict().items() if n.startswith("1.")}
    loaded = load_into(network, Checkpoint(adapter), CPU)
    assert torch.equal(loaded["0.running_mean"], network[0].running_mean)
    with pytest.raises(CheckpointError, match=r"3 missing \(0.running_mean"):
        load_into(network, Checkpoint({**adapter, "0.weight": network[0].weight}), CPU)


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ([], "no checkpoint"),
        ([{"a": 1}], r"checkpoint 0: expected a retrac_plugin.Checkpoint, got a dict"),
        ([Checkpoint({}, float("nan"))], "step_size is nan"),
    ],
)
def test_a_series_must_hold_checkpoints(checkpoints, message):
    with pytest.raises(InputError, match=message):
        check_checkpoints(checkpoints)
