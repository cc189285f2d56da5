"""Pictures in a folder, and a script like train_unconditional.py that trains a U-Net on them.

For the guides: ``make(folder)`` writes ``photos`` and ``train.py``.
"""

from pathlib import Path

import numpy as np
from PIL import Image

NOISE = (7, 19)
"""Pictures that do not belong: pure noise among soft gradients."""

COPY = (23, 4)
"""The first is nearly the second."""

SCRIPT = """
import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--train_data_dir")
parser.add_argument("--output_dir")
parser.add_argument("--num_epochs", type=int, default=20)
args = parser.parse_args()
torch.manual_seed(0)
unet = UNet2DModel(
    sample_size=8, in_channels=3, out_channels=3, layers_per_block=1,
    block_out_channels=(8, 16), norm_num_groups=4,
    down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
)
files = sorted(Path(args.train_data_dir).glob("*.png"))
images = torch.stack([torch.tensor(np.array(Image.open(file))) for file in files])
images = images.permute(0, 3, 1, 2) / 127.5 - 1
loader = DataLoader(TensorDataset(images), batch_size=8, shuffle=True)
scheduler = DDPMScheduler()
optimizer = torch.optim.Adam(unet.parameters(), lr=2e-3)
step = 0
for epoch in range(args.num_epochs):
    for (clean,) in loader:
        noise, timesteps = torch.randn_like(clean), torch.randint(1000, (len(clean),))
        noisy = scheduler.add_noise(clean, noise, timesteps)
        loss = torch.nn.functional.mse_loss(unet(noisy, timesteps).sample, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    if (epoch + 1) % (args.num_epochs // 4) == 0:
        unet.save_pretrained(f"{args.output_dir}/checkpoint-{step}/unet")
unet.save_pretrained(f"{args.output_dir}/unet")
scheduler.save_pretrained(f"{args.output_dir}/scheduler")
"""


def make(folder: Path) -> None:
    """Write both into a folder."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    random = np.random.default_rng(0)
    pictures = [_gradient(random) for _ in range(24)]
    for place in NOISE:
        pictures[place] = random.random((8, 8, 3))
    pictures[COPY[0]] = np.clip(pictures[COPY[1]] + 0.01, 0, 1)
    for number, picture in enumerate(pictures):
        levels = (picture * 255).astype(np.uint8)
        Image.fromarray(levels).save(photos / f"{number:02d}.png")
    (folder / "train.py").write_text(SCRIPT)


def _gradient(random):
    """Return a soft gradient from one colour to another, in some direction."""
    down, right = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 1, 8), indexing="ij")
    angle = random.random() * np.pi / 2
    share = (np.cos(angle) * down + np.sin(angle) * right) / (np.cos(angle) + np.sin(angle))
    return share[..., None] * random.random(3) + (1 - share[..., None]) * random.random(3)
