"""A text-to-image training as diffusers' scripts write it, which knows nothing of any recorder.

It logs for itself what each sample's loss was computed from, so that a replay can be compared.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

DTYPE = torch.float64
DRAWN = {}


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrained_model_name_or_path", required=True)
    parser.add_argument("--train_data_dir", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--facts", default=None)
    parser.add_argument("--caption_column", default="text")
    parser.add_argument("--resolution", type=int, default=16)
    parser.add_argument("--center_crop", action="store_true")
    parser.add_argument("--random_flip", action="store_true")
    parser.add_argument("--image_interpolation_mode", default="lanczos")
    parser.add_argument("--train_batch_size", type=int, default=2)
    parser.add_argument("--max_train_steps", type=int, default=6)
    parser.add_argument("--checkpointing_steps", type=int, default=3)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rank", type=int, default=None)
    parser.add_argument("--no_hparams", action="store_true")
    parser.add_argument("--draw_once", action="store_true", help="as train_text_to_image_sdxl.py")
    return parser.parse_args()


class Photos(torch.utils.data.Dataset):
    """The rows of metadata.jsonl, cropped and flipped as the script is told."""

    def __init__(self, args, tokenizer):
        self.args = args
        folder = Path(args.train_data_dir)
        rows = map(json.loads, (folder / "metadata.jsonl").read_text().splitlines())
        self.rows = [(folder / row["file_name"], row[args.caption_column]) for row in rows]
        self.tokens = tokenizer(
            [caption for _, caption in self.rows],
            max_length=tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        flip = self.args.random_flip and torch.rand(()) < 0.5
        pixels = pixel_values(self.rows[index][0], self.args.resolution)
        return {
            "index": index,
            "pixel_values": pixels.flip(2) if flip else pixels,
            "input_ids": self.tokens[index],
        }


def pixel_values(path, resolution):
    """Resize, CenterCrop, ToTensor and Normalize([0.5], [0.5]), for images of few sizes."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    if width <= height:
        image = image.resize((resolution, int(resolution * height / width)), Image.LANCZOS)
    else:
        image = image.resize((int(resolution * width / height), resolution), Image.LANCZOS)
    left, top = (round((side - resolution) / 2.0) for side in image.size)
    image = image.crop((left, top, left + resolution, top + resolution))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
    return pixels.sub(0.5).div(0.5)


def collate_fn(examples):
    return {
        name: torch.stack([torch.as_tensor(example[name]) for example in examples])
        for name in examples[0]
    }


def load(args):
    base = args.pretrained_model_name_or_path
    tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", dtype=DTYPE)
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae", torch_dtype=DTYPE)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=DTYPE)
    vae.requires_grad_(False)
    text_encoder.requires_grad_(False)
    if args.rank is not None:
        unet.requires_grad_(False)
        unet.add_adapter(LoraConfig(r=args.rank, lora_alpha=args.rank, target_modules=["to_q"]))
    return tokenizer, text_encoder.eval(), vae.eval(), unet


def register_hook(accelerator, args):
    def save_model_hook(models, weights, output_dir):
        for model in models:
            if args.rank is None:
                model.save_pretrained(Path(output_dir) / "unet")
            else:
                layers = get_peft_model_state_dict(model)
                StableDiffusionPipeline.save_lora_weights(output_dir, unet_lora_layers=layers)
            weights.pop()

    accelerator.register_save_state_pre_hook(save_model_hook)


def write_hparams(args):
    """What accelerate's TensorBoard tracker writes of a script's arguments."""
    folder = Path(args.output_dir) / "logs" / "text2image-fine-tune" / str(time.time())
    folder.mkdir(parents=True)
    (folder / "hparams.yml").write_text(yaml.dump(vars(args)))


def main(args):
    accelerator = Accelerator(
        cpu=True, project_config=ProjectConfiguration(project_dir=args.output_dir)
    )
    torch.manual_seed(args.seed)
    tokenizer, *frozen, unet = load(args)
    noise_scheduler = DDPMScheduler.from_pretrained(
        args.pretrained_model_name_or_path, subfolder="scheduler"
    )
    dataset = Photos(args, tokenizer)
    loader = torch.utils.data.DataLoader(
        dataset, shuffle=True, collate_fn=collate_fn, batch_size=args.train_batch_size
    )
    trained = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.learning_rate)
    register_hook(accelerator, args)
    unet, optimizer, loader = accelerator.prepare(unet, optimizer, loader)
    if not args.no_hparams:
        write_hparams(args)
    step = 0
    while step < args.max_train_steps:
        for batch in loader:
            prepared = (accelerator, unet, optimizer)
            train_step(args, *frozen, prepared, noise_scheduler, batch, step)
            step += 1
            if step % args.checkpointing_steps == 0:
                accelerator.save_state(str(Path(args.output_dir) / f"checkpoint-{step}"))
            if step >= args.max_train_steps:
                break
    accelerator.end_training()


def train_step(args, text_encoder, vae, prepared, noise_scheduler, batch, step):
    accelerator, unet, optimizer = prepared
    latents = vae.encode(batch["pixel_values"].to(DTYPE)).latent_dist.sample()
    latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    if args.draw_once:
        drawn = zip(batch["index"].tolist(), latents, strict=True)
        latents = torch.stack([DRAWN.setdefault(index, latent) for index, latent in drawn])
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (len(latents),))
    noisy = noise_scheduler.add_noise(latents, noise, timesteps)
    hidden = text_encoder(batch["input_ids"], return_dict=False)[0]
    prediction = unet(noisy, timesteps, hidden, return_dict=False)[0]
    losses = (prediction - noise).square().flatten(1).mean(1)
    log(args, step, batch["index"], timesteps, losses, latents)
    accelerator.backward(losses.mean())
    optimizer.step()
    optimizer.zero_grad()


def log(args, step, ids, timesteps, losses, latents):
    if args.facts is None:
        return
    facts = {
        "step": step,
        "ids": ids.tolist(),
        "timesteps": timesteps.tolist(),
        "losses": losses.tolist(),
        "latents": latents.tolist(),
    }
    with Path(args.facts).open("a") as file:
        file.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(parse_args())
