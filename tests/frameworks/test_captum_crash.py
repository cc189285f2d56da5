"""What ends the process with stock Captum must not with ours, so it is tried in another one."""

import subprocess
import sys

SCRIPT = """
import torch
from diffusers import DDPMScheduler, UNet2DModel
import retrac_plugin as retrac
from retrac_plugin.frameworks.captum import DiffusionReTracCP

torch.manual_seed(0)
unet = UNet2DModel(
    sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
    block_out_channels=(16, 32), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
).eval()
images = torch.rand(4, 1, 8, 8) * 2 - 1
ours = DiffusionReTracCP(
    unet, images, [retrac.Checkpoint(unet.state_dict())], layers=["mid_block.resnets.0"],
    batch_size=4, scheduler=DDPMScheduler(), query_draws=retrac.Strided(2),
)
assert ours.influence(images[:2]).isfinite().all()
"""


def test_a_layer_after_attention_can_be_attributed():
    """Its group norm meets channels-last input with nothing before it to differentiate.

    For that, torch 2.13 crashes on a CPU under ``TracInCP(layers=['unet.mid_block.resnets.0'])``.
    """
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
