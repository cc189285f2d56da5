"""The loss of each training script of diffusers, one sample at a time, by diffusers' own functions.

Each function returns ``loss_of(example, index, eps)`` as ``tests.textbook`` uses it: ``index`` is
the integer that the script draws, and a batch of one stands for the sample.
"""

from __future__ import annotations

import torch
from diffusers import FluxPipeline

# compute_loss_weighting_for_sd3 without its rounding to float32
SD3_WEIGHTINGS = {
    "none": torch.ones_like,
    "sigma_sqrt": lambda sigma: sigma**-2.0,
    "cosmap": lambda sigma: 2 / (torch.pi * (1 - 2 * sigma + 2 * sigma**2)),
}


def call_unet(network):
    """All scripts that train a U-Net."""
    return lambda noisy, timesteps, conditions: network(
        noisy, timesteps, return_dict=False, **conditions
    )[0]


def call_transformer(network):
    """train_dreambooth_lora_sd3.py, train_pixart_controlnet_hf.py; DiT is called alike."""
    return lambda noisy, timesteps, conditions: network(
        hidden_states=noisy, timestep=timesteps, return_dict=False, **conditions
    )[0]


def call_flux(network, guidance_scale=3.5):
    """train_dreambooth_lora_flux.py."""

    def call(noisy, timesteps, conditions):
        _, channels, height, width = noisy.shape
        guidance = None
        if network.config.guidance_embeds:
            guidance = torch.tensor([guidance_scale]).expand(1)
        output = network(
            hidden_states=FluxPipeline._pack_latents(noisy, 1, channels, height, width),
            timestep=timesteps / 1000,
            guidance=guidance,
            img_ids=FluxPipeline._prepare_latent_image_ids(
                1, height // 2, width // 2, noisy.device, noisy.dtype
            ),
            txt_ids=torch.zeros(conditions["encoder_hidden_states"].shape[1], 3),
            return_dict=False,
            **conditions,
        )[0]
        return FluxPipeline._unpack_latents(output, height * 8, width * 8, 8)

    return call


def ddpm(call, scheduler, prediction_type, snr_gamma=None):
    """train_unconditional.py (epsilon), train_text_to_image.py; a learned variance is dropped."""

    def loss_of(example, index, eps):
        sample, eps, conditions = batch_of_one(example, eps)
        timesteps = torch.tensor([int(index)])
        noisy = scheduler.add_noise(sample, eps, timesteps)
        prediction = call(noisy, timesteps, conditions)
        if prediction.shape[1] == 2 * sample.shape[1]:
            prediction, _ = torch.chunk(prediction, 2, dim=1)
        if prediction_type == "epsilon":
            target = eps
        elif prediction_type == "v_prediction":
            target = scheduler.get_velocity(sample, eps, timesteps)
        else:
            target = sample
        weight = 1.0
        if snr_gamma is not None:
            alpha = scheduler.alphas_cumprod[int(index)].double()
            snr = float(alpha / (1 - alpha))
            weight = min(snr, snr_gamma) / (snr if prediction_type == "epsilon" else snr + 1)
        return weight * (prediction - target).square().mean()

    return loss_of


def unconditional_sample(call, scheduler):
    """train_unconditional.py with ``--prediction_type=sample``."""

    def loss_of(example, index, eps):
        sample, eps, conditions = batch_of_one(example, eps)
        timesteps = torch.tensor([int(index)])
        prediction = call(scheduler.add_noise(sample, eps, timesteps), timesteps, conditions)
        alpha = scheduler.alphas_cumprod[int(index)].double()
        return (alpha / (1 - alpha) * (prediction - sample).square()).mean()

    return loss_of


def flow_matching(call, scheduler, weighting_scheme="none", precondition_outputs=False):
    """train_dreambooth_lora_sd3.py, train_dreambooth_lora_flux.py."""

    def loss_of(example, index, eps):
        sample, eps, conditions = batch_of_one(example, eps)
        timesteps = scheduler.timesteps[[int(index)]]
        sigma = scheduler.sigmas[int(index)].to(sample.dtype).view(1, 1, 1, 1)
        noisy = (1.0 - sigma) * sample + sigma * eps
        prediction = call(noisy, timesteps, conditions)
        target = eps - sample
        if precondition_outputs:
            prediction = prediction * (-sigma) + noisy
            target = sample
        return (SD3_WEIGHTINGS[weighting_scheme](sigma) * (prediction - target) ** 2).mean()

    return loss_of


def edm_style(call, scheduler):
    """train_dreambooth_lora_sdxl.py with ``--do_edm_style_training``."""
    is_edm = "EDM" in type(scheduler).__name__
    prediction_type = scheduler.config.prediction_type

    def loss_of(example, index, eps):
        sample, eps, conditions = batch_of_one(example, eps)
        timesteps = scheduler.timesteps[[int(index)]]
        sigma = scheduler.sigmas[int(index)].to(sample.dtype).view(1, 1, 1, 1)
        noisy = scheduler.add_noise(sample, eps, timesteps)
        if is_edm:
            output = call(scheduler.precondition_inputs(noisy, sigma), timesteps, conditions)
            prediction = scheduler.precondition_outputs(noisy, output, sigma)
            return (prediction - sample).square().mean()
        output = call(noisy / (sigma**2 + 1) ** 0.5, timesteps, conditions)
        if prediction_type == "epsilon":
            prediction = output * (-sigma) + noisy
        else:
            prediction = output * (-sigma / (sigma**2 + 1) ** 0.5) + noisy / (sigma**2 + 1)
        return (sigma**-2.0 * (prediction - sample) ** 2).mean()

    return loss_of


def batch_of_one(example, eps):
    """Return sample, noise and conditions with a dimension for the batch."""
    example = dict(example)
    sample = example.pop("sample")
    return sample[None], eps[None], _add_dimension(example)


def _add_dimension(value):
    if isinstance(value, dict):
        return {name: _add_dimension(part) for name, part in value.items()}
    return value[None]
