"""Adapters with DoRA: their magnitudes are read, and attributed, by the names of the network."""

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import retrac_plugin as retrac
from tests.adapters.zoo import NETWORKS, make_examples


@pytest.mark.parametrize("naming", [dict, convert_state_dict_to_diffusers])
def test_scores_of_a_dora_run_are_those_of_its_own_gradients(tmp_path, naming):
    torch.manual_seed(0)
    network = NETWORKS["unet-text"]()
    network.save_pretrained(tmp_path / "base" / "unet")
    DDPMScheduler().save_pretrained(tmp_path / "base" / "scheduler")
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], use_dora=True))
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        torch.nn.init.normal_(parameter)
    layers = naming(get_peft_model_state_dict(network))
    folder = tmp_path / "run" / "checkpoint-10"
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)

    run = retrac.read_run(tmp_path / "run", base=tmp_path / "base")
    loaded = run.checkpoints[0].load()
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())
    examples = [{n: v.float() for n, v in e.items()} for e in make_examples("unet-text", 3)]
    timesteps, noise = torch.tensor([[40, 500, 900]]), torch.randn(1, 3, 3, 8, 8)
    given = retrac.Given(timesteps, noise)
    attributor = retrac.DiffusionTracIn(
        run.model, run.checkpoints, train_draws=given, query_draws=retrac.Strided(1)
    )
    scores = attributor.attribute(examples, examples[:1]).values
    query = retrac.Strided(1).draw(request_of(run, examples[0]))
    of_query = gradient(network, trained, examples[0], query.timesteps[0, 0], query.noise[0, 0, 0])
    for i, example in enumerate(examples):
        of_sample = gradient(network, trained, example, timesteps[0, i], noise[0, i])
        expected = run.checkpoints[0].step_size * torch.dot(of_query, of_sample)
        torch.testing.assert_close(scores[0, i], expected.float(), rtol=1e-3, atol=1e-6)


def request_of(run, query):
    key = retrac.randomness.content_key(query["sample"])
    shape = query["sample"].shape
    return retrac.draws.Request([0], [key], shape, "query", 1, 0, 10, *run.model.drawing)


def gradient(network, trained, example, timestep, noise):
    noisy = DDPMScheduler().add_noise(example["sample"], noise, timestep.view(1))
    text = example["encoder_hidden_states"][None]
    loss = (network(noisy[None], timestep, text).sample[0] - noise).square().mean()
    parts = torch.autograd.grad(loss, list(trained.values()))
    return torch.cat([part.flatten() for part in parts]).double()
