"""A tiny Stable Diffusion with random weights, coloured squares, and a script that fine-tunes it.

For the pages on latent models: ``make(folder)`` writes ``base``, ``photos`` and
``train_text_to_image.py``, which with ``--rank`` trains a low-rank adapter.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

COLOURS = ["red", "green", "blue", "yellow", "orange", "purple"] * 2

SCRIPT = """
import argparse, json
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, StableDiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from retrac_adapters.images.framing import Framing

parser = argparse.ArgumentParser()
for name in ("pretrained_model_name_or_path", "train_data_dir", "output_dir"):
    parser.add_argument("--" + name)
for name in ("resolution", "rank", "num_train_epochs"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--center_crop", action="store_true")
args = parser.parse_args()
accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
base = StableDiffusionPipeline.from_pretrained(args.pretrained_model_name_or_path)
scheduler = DDPMScheduler.from_pretrained(args.pretrained_model_name_or_path, subfolder="scheduler")
if args.rank:
    base.unet.requires_grad_(False)
    config = LoraConfig(r=args.rank, lora_alpha=args.rank, target_modules=["to_k", "to_q"])
    base.unet.add_adapter(config)
folder = Path(args.train_data_dir)
rows = list(map(json.loads, (folder / "metadata.jsonl").read_text().splitlines()))


class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return len(rows)

    def __getitem__(self, i):
        tokens = base.tokenizer(
            rows[i]["text"], padding="max_length", truncation=True, return_tensors="pt"
        )
        pixels = Framing(args.resolution).read(folder / rows[i]["file_name"])
        return pixels, tokens.input_ids[0]


def save(models, weights, output_dir):
    for model in models:
        if args.rank:
            layers = get_peft_model_state_dict(model)
            StableDiffusionPipeline.save_lora_weights(output_dir, unet_lora_layers=layers)
        else:
            model.save_pretrained(Path(output_dir) / "unet")
        weights.pop()


accelerator.register_save_state_pre_hook(save)
trained = [p for p in base.unet.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-3)
loader = torch.utils.data.DataLoader(Photos(), batch_size=4, shuffle=True)
unet, optimizer, loader = accelerator.prepare(base.unet, optimizer, loader)
step = 0
for epoch in range(args.num_train_epochs or 6):
    for pixels, tokens in loader:
        with torch.no_grad():
            latents = base.vae.encode(pixels).latent_dist.sample() * base.vae.config.scaling_factor
            hidden = base.text_encoder(tokens)[0]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(1000, (len(latents),))
        noisy = scheduler.add_noise(latents, noise, timesteps)
        accelerator.backward((unet(noisy, timesteps, hidden).sample - noise).square().mean())
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    if epoch % 2:
        accelerator.save_state(f"{args.output_dir}/checkpoint-{step}")
"""


def make(folder: Path) -> None:
    """Write all three into a folder."""
    torch.manual_seed(0)
    _write_base(folder / "base")
    _write_photos(folder / "photos")
    (folder / "train_text_to_image.py").write_text(SCRIPT)


def _write_base(folder: Path) -> None:
    letters = [c + end for end in ("", "</w>") for c in "abcdefghijklmnopqrstuvwxyz"]
    tokens = {t: i for i, t in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(4, 8),
            norm_num_groups=2,
            latent_channels=4,
            scaling_factor=0.18215,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokens),
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=12,
                bos_token_id=52,
                eos_token_id=53,
            )
        ),
        tokenizer=CLIPTokenizer(vocab=tokens, merges=[], model_max_length=12),
        unet=UNet2DConditionModel(
            sample_size=8,
            layers_per_block=1,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        ),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def _write_photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = []
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (24, 16 + number), colour).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "text": f"a {colour} one"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
