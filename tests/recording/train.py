"""A training script as diffusers writes them, which knows nothing of any recorder.

It logs for itself what it trained on, so that a trace can be compared with it.
"""

import argparse
import json
import math
import os
import signal
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--facts", required=True)
    parser.add_argument("--max_train_steps", type=int, default=5)
    parser.add_argument("--checkpointing_steps", type=int, default=2)
    parser.add_argument("--train_batch_size", type=int, default=2)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=2)
    parser.add_argument("--dataloader_num_workers", type=int, default=2)
    parser.add_argument("--resume_from_checkpoint", action="store_true")
    parser.add_argument("--noise_offset", type=float, default=0.0)
    parser.add_argument("--random_flip", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kill_at", type=int, default=None)
    return parser.parse_args()


class Images(torch.utils.data.Dataset):
    """Nine images, each told by its mean, flipped or not."""

    def __init__(self, flip):
        self.flip = flip
        slope = torch.linspace(-0.05, 0.05, 8, dtype=torch.float64)
        levels = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
        self.pixels = levels.view(9, 1, 1, 1) + slope.expand(9, 1, 8, 8)

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        image = self.pixels[index]
        flip = self.flip and torch.rand(()) < 0.5
        return {"input": image.flip(2) if flip else image}

    def names_of(self, batch):
        means = self.pixels.mean((1, 2, 3))
        return (batch.mean((1, 2, 3))[:, None] - means).abs().argmin(1).tolist()


class Log:
    """One line a batch: what the loss was computed from."""

    def __init__(self, path, dataset):
        self.path, self.dataset = Path(path), dataset

    def write(self, step, rate, clean, noise, timesteps, prediction):
        facts = {
            "step": step,
            "rate": rate,
            "ids": self.dataset.names_of(clean),
            "timesteps": timesteps.tolist(),
            "losses": (prediction - noise).square().flatten(1).mean(1).tolist(),
            "corners": clean[:, 0, 0, 0].tolist(),
            "noise": noise.flatten(1).tolist(),
        }
        with self.path.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def collate_fn(examples):
    return {"input": torch.stack([example["input"] for example in examples])}


def build_model():
    return UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    ).double()


def register_hooks(accelerator):
    def save_model_hook(models, weights, output_dir):
        for model in models:
            accelerator.unwrap_model(model).save_pretrained(Path(output_dir) / "unet")
            weights.pop()

    def load_model_hook(models, input_dir):
        loaded = UNet2DModel.from_pretrained(input_dir, subfolder="unet", torch_dtype=torch.float64)
        accelerator.unwrap_model(models.pop()).load_state_dict(loaded.state_dict())

    accelerator.register_save_state_pre_hook(save_model_hook)
    accelerator.register_load_state_pre_hook(load_model_hook)


def resume(accelerator, output_dir):
    path = max(output_dir.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    accelerator.load_state(str(path))
    return int(path.name.split("-")[1])


def add_noise(args, noise_scheduler, clean):
    noise = torch.randn_like(clean)
    noise += args.noise_offset * torch.randn(len(clean), 1, 1, 1, dtype=clean.dtype)
    timesteps = torch.randint(0, 1000, (len(clean),)).long()
    return noise, timesteps, noise_scheduler.add_noise(clean, noise, timesteps)


def main(args):
    accelerator = Accelerator(
        cpu=True,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        project_config=ProjectConfiguration(project_dir=str(args.output_dir)),
    )
    torch.manual_seed(args.seed)
    model = build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    dataset = Images(args.random_flip)
    train_dataloader = torch.utils.data.DataLoader(
        dataset,
        shuffle=True,
        collate_fn=collate_fn,
        batch_size=args.train_batch_size,
        num_workers=args.dataloader_num_workers,
    )
    lr_scheduler = get_scheduler(
        "linear", optimizer, num_warmup_steps=2, num_training_steps=2 * args.max_train_steps
    )
    register_hooks(accelerator)
    prepared = accelerator.prepare(model, optimizer, train_dataloader, lr_scheduler)
    global_step = resume(accelerator, args.output_dir) if args.resume_from_checkpoint else 0
    log = Log(f"{args.facts}.{accelerator.process_index}", dataset)
    noise_scheduler = DDPMScheduler()
    train(args, accelerator, noise_scheduler, prepared, log, global_step)
    if accelerator.is_main_process:
        accelerator.unwrap_model(prepared[0]).save_pretrained(args.output_dir / "unet")
        noise_scheduler.save_pretrained(args.output_dir / "scheduler")
    accelerator.end_training()


def train(args, accelerator, noise_scheduler, prepared, log, global_step):
    model, optimizer, train_dataloader, lr_scheduler = prepared
    steps_per_epoch = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
    first_epoch, skipped = divmod(global_step, steps_per_epoch)
    for epoch in range(first_epoch, 100):
        for step, batch in enumerate(train_dataloader):
            if epoch == first_epoch and step < skipped * args.gradient_accumulation_steps:
                continue
            with accelerator.accumulate(model):
                clean = batch["input"]
                noise, timesteps, noisy = add_noise(args, noise_scheduler, clean)
                prediction = model(noisy, timesteps).sample
                loss = F.mse_loss(prediction, noise)
                rate = lr_scheduler.get_last_lr()[0]
                log.write(global_step, rate, clean, noise, timesteps, prediction)
                accelerator.backward(loss)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                global_step += 1
                after_step(args, accelerator, global_step)
            if global_step >= args.max_train_steps:
                return
        with torch.no_grad():  # validation noises images too
            add_noise(args, noise_scheduler, clean)


def after_step(args, accelerator, global_step):
    if global_step == args.kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    if accelerator.is_main_process and global_step % args.checkpointing_steps == 0:
        accelerator.save_state(str(args.output_dir / f"checkpoint-{global_step}"))


if __name__ == "__main__":
    main(parse_args())
