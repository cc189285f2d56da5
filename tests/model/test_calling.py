"""Networks as they come out of training: wrapped, compiled, cast, checkpointed, in some mode."""

import copy

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel, UNet2DModel
from peft import LoraConfig
from torch import nn

import retrac_plugin as retrac
from retrac_plugin.errors import CheckpointError
from tests.small import small_case

QUERY_DRAWS = retrac.Strided(2, noise_draws=2)


def scores(network, checkpoint, train, queries, schedule=None, **options):
    attributor = retrac.DiffusionTracIn(
        retrac.wrap(network, schedule or DDPMScheduler()),
        [checkpoint],
        query_draws=QUERY_DRAWS,
        progress=False,
        **options,
    )
    return attributor.attribute(train, queries)


def unet():
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ).eval()


IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def test_frozen_layers_that_are_run_again_have_the_checkpoints_weights():
    network = unet().double()
    trained = {n: v + 0.2 * torch.randn_like(v) for n, v in network.state_dict().items()}
    if not network._supports_gradient_checkpointing:
        pytest.skip("this diffusers has no gradient checkpointing of a UNet2DModel")
    network.requires_grad_(False)
    network.conv_in.requires_grad_(True)
    checkpoint = retrac.Checkpoint(trained)
    expected = scores(copy.deepcopy(network), checkpoint, IMAGES[:4], IMAGES[4:]).values
    network.enable_gradient_checkpointing()
    found = scores(network, checkpoint, IMAGES[:4], IMAGES[4:])
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-15)
    assert found.about["fallbacks"] == {}


class Parted(nn.Module):
    """Compiled and parallel parts inside a network."""

    def __init__(self, wrap=lambda part: part):
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = wrap(nn.Conv2d(1, 4, 3, padding=1)), nn.Conv2d(4, 1, 1)

    def forward(self, noisy, timesteps):
        return self.leave(torch.tanh(self.enter(noisy)))


def compiled(network):
    return torch.compile(network, backend="eager")


def compiled_in_place(network):
    network.compile(backend="eager")
    return network


WRAPPERS = {
    "compiled": compiled,
    "compiled in place": compiled_in_place,
    "parallel": nn.DataParallel,
    "compiled and parallel": lambda network: nn.DataParallel(compiled(network)),
}


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize("saved", ["wrapped", "plain"])
def test_wrapped_networks_are_seen_through(kind, saved):
    plain = unet().double()
    expected = scores(plain, retrac.Checkpoint(plain.state_dict()), IMAGES[:4], IMAGES[4:]).values
    wrapped = WRAPPERS[kind](unet().double())
    state = (wrapped if saved == "wrapped" else plain).state_dict()
    found = scores(wrapped, retrac.Checkpoint(state), IMAGES[:4], IMAGES[4:])
    assert torch.equal(found.values, expected)
    assert found.about["fallbacks"] == {}


def test_distributed_networks_are_seen_through(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(unet().double())
        plain = unet().double()
        expected = scores(plain, retrac.Checkpoint(plain.state_dict()), IMAGES[:4], IMAGES[4:])
        found = scores(wrapped, retrac.Checkpoint(wrapped.state_dict()), IMAGES[:4], IMAGES[4:])
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(found.values, expected.values)


@pytest.mark.parametrize("wrapper", [compiled, compiled_in_place])
def test_wrapped_parts_are_seen_through(wrapper):
    plain, parted = Parted().double(), Parted(wrapper).double()
    checkpoint = retrac.Checkpoint(plain.state_dict())
    expected = scores(plain, checkpoint, IMAGES[:4], IMAGES[4:]).values
    assert torch.equal(scores(parted, checkpoint, IMAGES[:4], IMAGES[4:]).values, expected)


def test_a_network_without_values_is_refused():
    with torch.device("meta"):
        network = unet()
    with pytest.raises(CheckpointError, match="is on the meta device, without values"):
        scores(network, retrac.Checkpoint(unet().state_dict()), IMAGES[:4], IMAGES[4:])


def adapted(base, adapter=torch.float32):
    """A network with low-rank adapters in float32, its base in some type."""
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        attention_head_dim=4,
        cross_attention_dim=6,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    for parameter in network.parameters():
        dtype = adapter if parameter.requires_grad else base
        parameter.data = parameter.data.bfloat16().to(dtype)
    return network.eval()


def captioned():
    generator = torch.Generator().manual_seed(2)
    return [
        {
            "sample": torch.randn(4, 8, 8, generator=generator),
            "encoder_hidden_states": torch.randn(3, 6, generator=generator),
        }
        for _ in range(5)
    ]


def in_float64(network):
    network = copy.deepcopy(network).double()
    examples = [{name: value.double() for name, value in each.items()} for each in captioned()]
    return scores(network, retrac.Checkpoint(network.state_dict()), examples[:4], examples[4:])


def assert_near(found, expected, tolerance):
    error = (found.values.double() - expected.values).abs().max() / expected.values.abs().max()
    assert error < tolerance, f"off by {error:.1%}"


@pytest.mark.parametrize("base", [torch.bfloat16, torch.float16])
def test_adapters_in_float32_on_a_base_of_half_precision(base):
    network, examples = adapted(base), captioned()
    expected = in_float64(network)
    found = scores(network, retrac.Checkpoint(network.state_dict()), examples[:4], examples[4:])
    assert found.values.dtype == torch.float32
    assert found.about["fallbacks"] == {}
    assert_near(found, expected, 0.05)


@pytest.mark.parametrize("base", [torch.bfloat16, torch.float32])
def test_autocast(base):
    network, examples = adapted(base), captioned()
    expected = in_float64(network)
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(network, retrac.Checkpoint(network.state_dict()), examples[:4], examples[4:])
    assert found.about["fallbacks"] == {}
    assert_near(found, expected, 0.05)


def test_autocast_of_a_whole_network():
    network = unet()
    checkpoint = retrac.Checkpoint(network.state_dict())
    expected = scores(copy.deepcopy(network).double(), checkpoint, IMAGES[:4], IMAGES[4:])
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(network, checkpoint, IMAGES[:4].float(), IMAGES[4:].float())
    assert found.about["fallbacks"] == {}
    assert_near(found, expected, 0.05)


@pytest.mark.skipif(
    not hasattr(UNet2DConditionModel, "enable_layerwise_casting"),
    reason="this diffusers casts no layers",
)
def test_weights_stored_in_eight_bits_and_cast_layer_by_layer():
    network, plain = (adapted(torch.bfloat16, torch.bfloat16) for _ in range(2))
    network.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn,
        compute_dtype=torch.bfloat16,
        skip_modules_pattern=("lora", "norm"),
    )
    state, examples = network.state_dict(), captioned()
    assert torch.float8_e4m3fn in {value.dtype for value in state.values()}
    plain.load_state_dict({name: value.bfloat16() for name, value in state.items()})
    found = scores(network, retrac.Checkpoint(state), examples[:4], examples[4:])
    assert found.about["fallbacks"] == {}
    assert_near(found, in_float64(plain), 0.05)
    assert [v.dtype for v in network.state_dict().values()] == [v.dtype for v in state.values()]


@pytest.mark.parametrize("inside", [True, False])
def test_inference_mode(inside):
    case = small_case()
    state = case.checkpoints[0].parameters
    expected = scores(
        case.network, retrac.Checkpoint(state), case.train, case.queries, case.schedule
    ).values
    with torch.inference_mode():
        made_there = retrac.Checkpoint({name: value.clone() for name, value in state.items()})
        train = [image.clone() for image in case.train]
    with torch.inference_mode(inside):
        found = scores(case.network, made_there, train, case.queries, case.schedule).values
    assert torch.equal(found, expected)


class Careless(nn.Module):
    """Writes into what it is given, and into a buffer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, noisy, timesteps):
        self.largest.copy_(torch.maximum(self.largest, noisy.detach().abs().max()))
        noisy.mul_(2)
        timesteps += 1
        return torch.tanh(self.conv(noisy))


class Careful(Careless):
    def forward(self, noisy, timesteps):
        return torch.tanh(self.conv(2 * noisy))


def test_a_network_may_write_into_its_inputs_and_buffers():
    careless, careful = Careless().double(), Careful().double()
    state = careless.state_dict()
    expected = scores(careful, retrac.Checkpoint(state), IMAGES[:4], IMAGES[4:]).values
    found = scores(careless, retrac.Checkpoint(state), IMAGES[:4], IMAGES[4:]).values
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert careless.largest == 0
