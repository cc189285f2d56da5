"""Tiny networks that between them hold every kind of layer, with batches for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import diffusers
import peft
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils._pytree import tree_map

NUM_SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Case:
    network: nn.Module
    batch: dict[str, Tensor]
    fallbacks: tuple[str, ...] = ()
    """Parameters that are expected to have no rule."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the network is called with beside the batch."""

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {n: p.detach() for n, p in self.network.named_parameters() if p.requires_grad}

    def losses(self, parameters, batch):
        """Mean squared output of each sample: every layer has a part in it."""
        output = functional_call(self.network, dict(parameters), (), {**batch, **self.options})
        output = output[0] if isinstance(output, tuple) else output
        return output.flatten(1).square().mean(1)

    def to(self, dtype: torch.dtype) -> Case:
        def cast(value: Tensor) -> Tensor:
            return value.to(dtype) if value.is_floating_point() else value

        return replace(self, network=self.network.to(dtype), batch=tree_map(cast, self.batch))


CASES: dict[str, Callable[[], Case]] = {}


def build(name: str, dtype: torch.dtype = torch.float64) -> Case:
    """Build a case; the same name always gives the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        case = CASES[name]()
        # Zero or constant initial values would hide wrong gradients.
        for parameter in case.network.parameters():
            nn.init.normal_(parameter, std=0.3)
    case.network.eval()
    return case.to(dtype)


def _case(function: Callable[[], Case]) -> Callable[[], Case]:
    CASES[function.__name__] = function
    return function


class Layers(nn.Module):
    """Layers in a row, with ``forward(x)``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Calling(nn.Module):
    """Some layers and parameters by name, and what to do with them."""

    def __init__(self, call: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.call = call
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_parameter(name, nn.Parameter(part))

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.call(self, **inputs)


def images(channels: int, *sizes: int) -> dict[str, Tensor]:
    return {"x": torch.randn(NUM_SAMPLES, channels, *sizes)}


CASES["convolution_1x1"] = lambda: Case(Layers(nn.Conv2d(4, 6, 1), nn.Tanh()), images(4, 5, 4))
CASES["convolution_1x1_padded"] = lambda: Case(
    Layers(nn.Conv2d(4, 6, 1, padding=1), nn.Tanh()), images(4, 5, 4)
)
for _label, _options in {
    "valid": {},
    "same": {"padding": 1},
    "same_by_name": {"padding": "same", "dilation": 2},
    "same_odd": {"kernel_size": (2, 4), "padding": "same"},
    "valid_by_name": {"padding": "valid"},
    "widely_padded": {"padding": 4},
    "one_sided_kernel": {"kernel_size": (1, 5), "padding": (0, 2)},
    "strided": {"stride": 2, "padding": 1},
    "strided_unevenly": {"stride": (3, 1), "padding": (2, 0)},
    "dilated": {"dilation": (2, 3), "padding": (2, 1)},
    "grouped": {"groups": 2, "padding": 1},
    "without_bias": {"bias": False, "padding": 1},
    "circular": {"padding": 1, "padding_mode": "circular"},
}.items():
    CASES[f"convolution_{_label}"] = lambda options=_options: Case(
        Layers(
            nn.Conv2d(**{"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options}),
            nn.Tanh(),
        ),
        images(4, 11, 10),
    )
CASES["convolution_depthwise"] = lambda: Case(
    Layers(nn.Conv2d(4, 8, 3, groups=4, stride=2), nn.Tanh()), images(4, 7, 7)
)
CASES["convolution_1d"] = lambda: Case(
    Layers(nn.Conv1d(3, 5, 4, padding=2), nn.Tanh(), nn.Conv1d(5, 2, 3, stride=2)), images(3, 12)
)
CASES["convolution_3d"] = lambda: Case(
    Layers(nn.Conv3d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv3d(3, 2, 2, stride=2)),
    images(2, 4, 10, 9),
)
CASES["convolution_after_asymmetric_padding"] = lambda: Case(
    Layers(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 5, 3, stride=2), nn.Tanh()), images(3, 8, 8)
)
CASES["transposed_convolution"] = lambda: Case(
    Layers(nn.ConvTranspose2d(3, 4, 3, stride=2), nn.Tanh(), nn.Conv2d(4, 2, 1)),
    images(3, 4, 4),
    fallbacks=("layers.0.weight", "layers.0.bias"),
)
CASES["linear"] = lambda: Case(
    Layers(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3, bias=False)),
    {"x": torch.randn(NUM_SAMPLES, 5)},
)
CASES["linear_on_sequences"] = lambda: Case(
    Layers(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)), {"x": torch.randn(NUM_SAMPLES, 2, 3, 5)}
)
CASES["group_norm"] = lambda: Case(
    Layers(
        nn.Conv2d(2, 8, 3), nn.GroupNorm(4, 8), nn.Tanh(), nn.Conv2d(8, 6, 3), nn.GroupNorm(3, 6)
    ),
    images(2, 8, 8),
)
CASES["group_norm_on_sequences"] = lambda: Case(
    Layers(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.GroupNorm(1, 4)), images(2, 9)
)
CASES["layer_norm"] = lambda: Case(
    Layers(
        nn.Linear(5, 8),
        nn.LayerNorm(8),
        nn.Tanh(),
        nn.Linear(8, 6),
        nn.LayerNorm((3, 6), bias=False),
    ),
    {"x": torch.randn(NUM_SAMPLES, 2, 3, 5)},
)
CASES["rms_norm"] = lambda: Case(
    Layers(
        nn.Linear(5, 8), nn.RMSNorm(8), nn.Tanh(), nn.Linear(8, 6), nn.RMSNorm((3, 6), eps=1e-2)
    ),
    {"x": torch.randn(NUM_SAMPLES, 2, 3, 5)},
)


@_case
def embedding() -> Case:
    def call(self, labels: Tensor, words: Tensor) -> Tensor:
        told = self.words(words).mean(1) + self.labels(labels)
        return self.leave(torch.tanh(told))

    return Case(
        Calling(
            call,
            labels=nn.Embedding(3, 6),
            words=nn.Embedding(9, 6, padding_idx=2),
            leave=nn.Linear(6, 4),
        ),
        {
            "labels": torch.tensor([0, 2, 0, 1]),
            "words": torch.tensor([[1, 1, 4, 2], [2, 2, 2, 2], [8, 0, 8, 8], [3, 2, 1, 0]]),
        },
    )


@_case
def bare_parameters() -> Case:
    """Position tables, layer scales, a shift of each kind, and a learnt token."""

    def call(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token * torch.ones_like(x[:, :1]), x], 1)
        x = x + self.positions
        x = self.scale * torch.tanh(x) - self.shift
        x = self.temperature * x / (1 + self.width**2)
        return torch.addcmul(self.shift, x, self.scale).sub_(self.shift)

    return Case(
        Calling(
            call,
            token=torch.zeros(1, 1, 6),
            positions=torch.zeros(1, 4, 6),
            scale=torch.zeros(6),
            shift=torch.zeros(4, 1),
            temperature=torch.zeros(()),
            width=torch.zeros(6),
        ),
        {"x": torch.randn(NUM_SAMPLES, 3, 6)},
    )


@_case
def adaptive_norm_table() -> Case:
    """As PixArt's ``scale_shift_table``: a table meets the timestep, then is cut into pieces."""

    def call(self, x: Tensor, t: Tensor) -> Tensor:
        shift, scale, gate = (self.table[None] + self.time(t).unflatten(1, (3, 6))).chunk(3, 1)
        x = functional.layer_norm(x, (6,)) * (1 + scale) + shift
        return gate * self.leave(x)

    return Case(
        Calling(call, table=torch.zeros(3, 6), time=nn.Linear(2, 18), leave=nn.Linear(6, 6)),
        {"x": torch.randn(NUM_SAMPLES, 5, 6), "t": torch.randn(NUM_SAMPLES, 2)},
    )


@_case
def reparametrised() -> Case:
    """Weights computed from parameters: normalised, of low rank, transposed, cut out, centred."""

    def call(self, x: Tensor) -> Tensor:
        x = torch.tanh(functional.linear(x, self.weight + 0.5 * self.up @ self.down))
        x = torch.tanh(x @ self.weight)
        x = torch.tanh(x @ self.weight.t()) @ self.weight
        query, key = self.both.chunk(2)
        x = functional.linear(x, query) * functional.linear(x, key)
        return self.normed(x) * (1 + self.gain - self.gain.mean())

    return Case(
        Calling(
            call,
            weight=torch.zeros(6, 5),
            up=torch.zeros(6, 2),
            down=torch.zeros(2, 5),
            both=torch.zeros(8, 5),
            normed=nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
            gain=torch.zeros(3),
        ),
        {"x": torch.randn(NUM_SAMPLES, 7, 5)},
    )


@_case
def shared_module() -> Case:
    """One convolution and one norm, called three times."""

    def call(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.norm(self.convolution(x)))
        return x

    return Case(
        Calling(call, convolution=nn.Conv2d(4, 4, 3, padding=1), norm=nn.GroupNorm(2, 4)),
        images(4, 10, 10),
    )


@_case
def tied_weights() -> Case:
    """The table that words are looked up in also reads them out."""
    network = Calling(
        lambda self, words: self.read(torch.tanh(self.words(words))),
        words=nn.Embedding(9, 6),
        read=nn.Linear(6, 9, bias=False),
    )
    network.read.weight = network.words.weight
    return Case(network, {"words": torch.randint(9, (NUM_SAMPLES, 5))})


@_case
def functional_weights() -> Case:
    """Weights used without a module, by ``matmul`` and by keyword."""

    def call(self, x: Tensor) -> Tensor:
        x = torch.tanh(torch.matmul(x, self.first))
        return functional.linear(input=x, weight=self.second, bias=self.shift)

    return Case(
        Calling(call, first=torch.zeros(5, 7), second=torch.zeros(3, 7), shift=torch.zeros(3)),
        {"x": torch.randn(NUM_SAMPLES, 2, 5)},
    )


@_case
def frames_in_the_batch() -> Case:
    """As video models do: the frames of a sample become entries of their own."""

    def call(self, x: Tensor) -> Tensor:
        frames = self.norm(self.space(x.flatten(0, 1)))
        return self.scale * torch.tanh(frames).unflatten(0, x.shape[:2])

    return Case(
        Calling(
            call,
            space=nn.Conv2d(2, 4, 3, padding=1),
            norm=nn.GroupNorm(2, 4),
            scale=torch.zeros(4, 1, 1),
        ),
        {"x": torch.randn(NUM_SAMPLES, 3, 2, 10, 10)},
    )


@_case
def samples_second() -> Case:
    """A layer that sees time first and samples second; its rule alone would be wrong."""

    def call(self, x: Tensor) -> Tensor:
        return self.leave(torch.tanh(self.across(x.transpose(0, 1)).transpose(0, 1)))

    return Case(
        Calling(call, across=nn.Linear(5, 5), leave=nn.Linear(5, 2)),
        {"x": torch.randn(NUM_SAMPLES, 6, 5)},
        fallbacks=("across.weight", "across.bias"),
    )


@_case
def without_rules() -> Case:
    """A quadratic form and a product with a fixed mask of the parameter's own shape."""

    def call(self, x: Tensor) -> Tensor:
        masked = self.masked * torch.ones(5, 3, dtype=x.dtype)
        return torch.tanh(torch.einsum("ni,oij,nj->no", x, self.form, x)) + x @ masked

    return Case(
        Calling(call, form=torch.zeros(3, 5, 5), masked=torch.zeros(5, 3)),
        {"x": torch.randn(NUM_SAMPLES, 5)},
        fallbacks=("form", "masked"),
    )


@_case
def unused_parameter() -> Case:
    """One layer is never called, another has no part in the loss."""

    def call(self, x: Tensor) -> Tensor:
        self.ignored(x)
        return self.used(x)

    return Case(
        Calling(call, used=nn.Linear(5, 3), ignored=nn.Linear(5, 3), idle=nn.Linear(2, 2)),
        {"x": torch.randn(NUM_SAMPLES, 5)},
    )


def _noisy(channels: int = 2, **conditions: Tensor) -> dict[str, Tensor]:
    return {
        "sample": torch.randn(NUM_SAMPLES, channels, 8, 8),
        "timestep": torch.tensor([3, 500, 999, 42]),
        **conditions,
    }


PLAIN = {"return_dict": False}


@_case
def unet() -> Case:
    """With attention, after which activations are no longer contiguous."""
    network = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        downsample_padding=0,
        num_class_embeds=3,
    )
    return Case(network, _noisy(class_labels=torch.tensor([0, 2, 2, 1])), options=PLAIN)


def _conditional_unet() -> nn.Module:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=6,
    )


@_case
def conditional_unet() -> Case:
    """With cross-attention."""
    text = torch.randn(NUM_SAMPLES, 5, 6)
    return Case(_conditional_unet(), _noisy(encoder_hidden_states=text), options=PLAIN)


@_case
def lora() -> Case:
    """Low-rank adapters on linear layers and convolutions; all else is frozen."""
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "conv1"])
    network = peft.get_peft_model(_conditional_unet(), config)
    text = torch.randn(NUM_SAMPLES, 5, 6)
    return Case(network, _noisy(encoder_hidden_states=text), options=PLAIN)


@_case
def diffusion_transformer() -> Case:
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=2,
        num_layers=2,
        norm_num_groups=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=5,
    )
    batch = _noisy(class_labels=torch.tensor([0, 4, 4, 1]))
    batch["hidden_states"] = batch.pop("sample")
    return Case(network, batch, options=PLAIN)


@_case
def pixart() -> Case:
    """A transformer with tables of scales and shifts, told by cross-attention."""
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=2,
        out_channels=2,
        num_layers=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        caption_channels=6,
        sample_size=8,
        patch_size=2,
        use_additional_conditions=False,
    )
    batch = _noisy(encoder_hidden_states=torch.randn(NUM_SAMPLES, 5, 6))
    batch["hidden_states"] = batch.pop("sample")
    return Case(network, batch, options={"added_cond_kwargs": {}, **PLAIN})
