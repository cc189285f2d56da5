"""A tiny training run on disk, as diffusers leaves it, recorded or not."""

from __future__ import annotations

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import save_file

import retrac_plugin as retrac


def tiny_unet():
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )


def write_run(directory, steps=(90, 500, 1000)):
    """Write what train_unconditional.py leaves: a pipeline, and checkpoints of the U-Net."""
    torch.manual_seed(0)
    DDPMPipeline(tiny_unet(), DDPMScheduler(prediction_type="sample")).save_pretrained(directory)
    for step in steps:
        tiny_unet().save_pretrained(directory / f"checkpoint-{step}" / "unet")
    return directory


def record(directory, images, steps=(90, 500, 1000)):
    """Add the trace of a training in which every image was seen once before each checkpoint."""
    recorder = retrac.Recorder(num_samples=len(images))
    for step in steps:
        ids, timesteps = range(len(images)), torch.arange(len(images))
        recorder.draw(ids, timesteps, images, step_size=0.1, step=step - 1)
        recorder.save(directory / f"checkpoint-{step}")


def write_images(path, images):
    """Write examples as a file that the command line reads."""
    save_file({"sample": images}, path)
    return path


def write_all(folder, count):
    """Write a recorded run, its training set of so many images in 256 levels, and two queries."""
    levels = torch.randint(256, (count, 8, 8), generator=torch.Generator().manual_seed(0))
    images = levels[:, None].float() / 127.5 - 1
    record(write_run(folder / "run", steps=(90, 500)), images, steps=(90, 500))
    write_images(folder / "train.safetensors", images)
    write_images(folder / "queries.safetensors", images[:2] * 0.5)
    return folder
