"""Short trainings that save through accelerate and diffusers exactly as the example scripts do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from diffusers import (
    DDPMPipeline,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
)
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import retrac_plugin as retrac
from tests.adapters.zoo import NETWORKS

try:
    from diffusers.training_utils import _collate_lora_metadata
except ImportError:
    pytest.skip("the scripts of today need a newer diffusers", allow_module_level=True)

LEARNING_RATE = 1e-3
BATCH = 4


@dataclass
class Training:
    """What a script is doing: its parts, and what it logs."""

    directory: Path
    network: Any
    scheduler: Any
    loss_of: Any
    save: Any
    examples: list
    ema: Any = None
    record: bool = False
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def run(self, steps, every, resume_from=0):
        """Train on shuffled batches, save every so many steps, go on from a checkpoint if told."""
        torch.manual_seed(resume_from)
        accelerator = Accelerator(
            cpu=True,
            project_config=ProjectConfiguration(str(self.directory), str(self.directory / "logs")),
        )
        trained = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE)
        rate = get_scheduler("linear", optimizer, num_warmup_steps=0, num_training_steps=20)
        prepared = accelerator.prepare(self.network, optimizer, rate)
        accelerator.register_save_state_pre_hook(self._save_models)
        if resume_from:
            accelerator.register_load_state_pre_hook(lambda models, folder: models.clear())
            accelerator.load_state(str(self.directory / f"checkpoint-{resume_from}"))
        recorder = retrac.Recorder(len(self.examples), seed=1, step=resume_from)
        for step in range(resume_from, steps):
            self._step(accelerator, recorder, *prepared)
            if (step + 1) % every == 0:
                folder = self.directory / f"checkpoint-{step + 1}"
                accelerator.save_state(str(folder))
                if self.record:
                    recorder.save(folder)
        accelerator.free_memory()
        return self

    def _step(self, accelerator, recorder, network, optimizer, rate):
        ids = torch.randperm(len(self.examples))[:BATCH]
        batch = [self.examples[i] for i in ids]
        timesteps = torch.randint(0, self.scheduler.config.num_train_timesteps, (BATCH,))
        samples = torch.stack([example["sample"] for example in batch])
        noise = recorder.draw(ids, timesteps, samples, rate.get_last_lr()[0])
        loss = self.loss_of(network, batch, samples, timesteps, noise)
        accelerator.backward(loss)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        self.losses.append(loss.item())
        self.rates.append(rate.get_last_lr()[0])
        if self.ema is not None:
            self.ema.step(network.parameters())

    def _save_models(self, models, weights, folder):
        if self.ema is not None:
            self.ema.save_pretrained(Path(folder) / "unet_ema")
        for model in models:
            self.save(model, folder)
            weights.pop()


def write_arguments(directory, project, time="1700000000.5", **arguments):
    """Write what accelerate's TensorBoard tracker makes of a script's arguments."""
    folder = directory / "logs" / project / time
    folder.mkdir(parents=True)
    (folder / "hparams.yml").write_text(yaml.dump(arguments))


def save_unet(model, folder):
    """The save hook of the scripts that train all weights."""
    model.save_pretrained(Path(folder) / "unet")


def unconditional(directory, examples, prediction_type="epsilon", use_ema=False, **more):
    """train_unconditional.py; its tracker is told no arguments."""
    torch.manual_seed(7)
    network = NETWORKS["unet-plain"]()
    scheduler = DDPMScheduler(prediction_type=prediction_type)
    ema = EMAModel(
        network.parameters(), decay=0.5, model_cls=type(network), model_config=network.config
    )

    def loss_of(unet, batch, samples, timesteps, noise):
        output = unet(scheduler.add_noise(samples, noise, timesteps), timesteps).sample
        if prediction_type == "epsilon":
            return torch.nn.functional.mse_loss(output, noise)
        alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        return (alpha / (1 - alpha) * (output - samples).square()).mean()

    (directory / "logs" / "train_unconditional").mkdir(parents=True)
    DDPMPipeline(network, scheduler).save_pretrained(directory)
    return Training(
        directory,
        network,
        scheduler,
        loss_of,
        save_unet,
        examples,
        ema if use_ema else None,
        **more,
    )


def text_loss(scheduler, prediction_type="epsilon", snr_gamma=None, prior_loss_weight=None):
    """The loss of train_text_to_image.py and train_dreambooth_lora.py."""

    def loss_of(unet, batch, samples, timesteps, noise):
        text = torch.stack([example["encoder_hidden_states"] for example in batch])
        noisy = scheduler.add_noise(samples, noise, timesteps)
        output = unet(noisy, timesteps, text, return_dict=False)[0]
        velocity = prediction_type == "v_prediction"
        target = scheduler.get_velocity(samples, noise, timesteps) if velocity else noise
        losses = (output - target).square().mean(dim=(1, 2, 3))
        if snr_gamma is not None:
            alpha = scheduler.alphas_cumprod[timesteps]
            snr = alpha / (1 - alpha)
            losses = losses * snr.clamp(max=snr_gamma) / (snr + 1 if velocity else snr)
        if prior_loss_weight is not None:
            own = torch.stack([example["loss_weight"] for example in batch])
            losses = losses * own
        return losses.mean()

    return loss_of


def write_base(directory):
    """Write the model that a fine-tuning starts from: U-Net and the scheduler it samples with."""
    torch.manual_seed(8)
    unet = NETWORKS["unet-text"]()
    unet.save_pretrained(directory / "unet")
    PNDMScheduler(skip_prk_steps=True, beta_schedule="scaled_linear").save_pretrained(
        directory / "scheduler"
    )
    return unet


def text_to_image(directory, base, examples, prediction_type, snr_gamma, **more):
    """train_text_to_image.py: the scheduler's prediction type is changed in memory only."""
    network = write_base(base)
    scheduler = DDPMScheduler.from_pretrained(base / "scheduler")
    loss_of = text_loss(scheduler, prediction_type, snr_gamma)
    write_arguments(
        directory,
        "text2image-fine-tune",
        pretrained_model_name_or_path=str(base),
        prediction_type=prediction_type,
        snr_gamma=snr_gamma,
        train_batch_size=BATCH,
        gradient_accumulation_steps=1,
        max_grad_norm=1.0,
        learning_rate=LEARNING_RATE,
        random_flip=True,
    )
    return Training(directory, network, scheduler, loss_of, save_unet, examples, **more)


def save_lora(model, folder):
    """The save hook of train_text_to_image_lora.py."""
    layers = get_peft_model_state_dict(model)
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def save_lora_in_older_naming(model, folder):
    """The save hook of train_dreambooth_lora.py."""
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def write_sd3_adapter(directory, base, alpha):
    """Write what train_dreambooth_lora_sd3.py leaves, without training; return the network."""
    torch.manual_seed(9)
    network = NETWORKS["sd3"]()
    network.save_pretrained(base / "transformer")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(base / "scheduler")
    network.requires_grad_(False)
    network.add_adapter(LoraConfig(r=2, lora_alpha=alpha, target_modules=["to_k", "to_q"]))
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    StableDiffusion3Pipeline.save_lora_weights(
        directory / "checkpoint-2",
        transformer_lora_layers=get_peft_model_state_dict(network),
        **_collate_lora_metadata({"transformer": network}),
    )
    return network.eval()


def lora(directory, base, examples, save=save_lora, prior_loss_weight=None, alpha=2, **more):
    """train_text_to_image_lora.py, or train_dreambooth_lora.py with prior preservation."""
    network = write_base(base)
    network.requires_grad_(False)
    network.add_adapter(
        LoraConfig(
            r=2,
            lora_alpha=alpha,
            init_lora_weights="gaussian",
            target_modules=["to_k", "to_q", "to_v", "to_out.0"],
        )
    )
    scheduler = DDPMScheduler.from_pretrained(base / "scheduler")
    loss_of = text_loss(scheduler, prior_loss_weight=prior_loss_weight)
    return Training(directory, network, scheduler, loss_of, save, examples, **more)
