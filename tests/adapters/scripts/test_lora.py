"""Low-rank adapters: exactly their parameters are attributed, and the frozen rest is the base's."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

import retrac_plugin as retrac
from tests import textbook
from tests.adapters.denoising.test_denoisers import make_loop
from tests.adapters.zoo import make_network
from tests.golden import assert_equal

TARGETS = {
    "unet-text": ["to_k", "to_q", "to_v", "to_out.0"],
    "sd3": ["to_k", "to_q", "to_v", "to_out.0", "add_k_proj"],
}


def add_adapter(network, config):
    """As all LoRA scripts of diffusers do."""
    network.requires_grad_(False)
    network.add_adapter(config)
    return network


ATTACH = {"add_adapter": add_adapter, "get_peft_model": get_peft_model}


def adapted(name, attach):
    network = make_network(name)
    config = LoraConfig(
        r=2, lora_alpha=4, target_modules=TARGETS[name], init_lora_weights="gaussian"
    )
    return ATTACH[attach](network, config).double().eval()


@pytest.mark.parametrize("attach", ATTACH)
def test_exactly_the_adapters_parameters_are_attributed(attach):
    network = adapted("unet-text", attach)
    loop = make_loop("unet-text", "epsilon", network)
    attention_layers = [n for n, _ in network.named_modules() if n.endswith((".attn1", ".attn2"))]
    names = loop.model.attributed_names()
    assert len(names) == 2 * 4 * len(attention_layers)
    assert all(name.endswith(("lora_A.default.weight", "lora_B.default.weight")) for name in names)


@pytest.mark.parametrize("attach", ATTACH)
@pytest.mark.parametrize(("name", "objective"), [("unet-text", "v"), ("sd3", "flow")])
def test_scores_over_an_adapter_equal_plain_loops(name, objective, attach):
    loop = make_loop(name, objective, adapted(name, attach))
    expected = loop.expected(textbook.direction)
    assert_equal(loop.attribute(retrac.DiffusionReTrac).values, expected)


def test_a_checkpoint_of_the_adapter_alone_suffices():
    loop = make_loop("unet-text", "epsilon", adapted("unet-text", "add_adapter"))
    expected = loop.attribute(retrac.DiffusionTracIn).values
    small = {name: value for name, value in loop.state.items() if "lora_" in name}
    assert 0 < len(small) < len(loop.state)
    loop.state.clear()
    loop.state.update(small)
    assert torch.equal(loop.attribute(retrac.DiffusionTracIn).values, expected)
