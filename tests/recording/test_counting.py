"""The recorder counts what was trained, or refuses before the first step."""

import pytest
import torch
from diffusers import ControlNetModel, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import CustomDiffusionAttnProcessor2_0
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import CLIPTextConfig, CLIPTextModel

import retrac_plugin as retrac
from retrac_plugin.errors import InputError
from retrac_plugin.recording import ScriptRecording, watching
from retrac_plugin.recording.trained import Trained
from tests.recording.running import fresh_process

IMAGES = torch.linspace(-1, 1, 6 * 64).view(6, 1, 8, 8)


@pytest.fixture
def recording(tmp_path):
    with recorded_into(tmp_path / "run") as found:
        yield found


class recorded_into:
    """A recording of whatever is trained in the ``with`` block."""

    def __init__(self, run, keep="noise"):
        self.found = ScriptRecording(keep, run, ["train.py"])
        self.entered = [fresh_process(), watching(self.found)]

    def __enter__(self):
        for context in self.entered:
            context.__enter__()
        return self.found

    def __exit__(self, *error):
        for context in reversed(self.entered):
            context.__exit__(None, None, None)


class Weight(nn.Module):
    """Something to train, which tells whether it was."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.value.grad = torch.ones(())


def loader(data=IMAGES):
    return DataLoader(TensorDataset(data), batch_size=3)


def noised(clean, scheduler=None):
    scheduler, timesteps = scheduler or DDPMScheduler(), torch.randint(1000, (len(clean),))
    scheduler.add_noise(clean, torch.randn_like(clean), timesteps)
    return timesteps


def refused(train, weight, tmp_path, message):
    """Assert that a training ends before its first step, and leaves no visit."""
    with pytest.raises(InputError, match=message):
        train()
    assert weight.value == 0
    assert not list((tmp_path / "run").rglob("*"))


def test_a_condition_that_is_noised_too_is_refused(recording, tmp_path):
    weight = Weight()

    def train():
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
        for (clean,) in loader():
            noised(clean)
            noised(clean.mean((2, 3), keepdim=True).expand_as(clean))
            optimizer.step()

    refused(train, weight, tmp_path, "noise was added twice to one batch")


def test_a_second_draw_for_one_batch_is_refused(recording, tmp_path):
    weight = Weight()

    def train():
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
        for (clean,) in loader():
            noised(clean)
            noised(clean)
            optimizer.step()

    refused(train, weight, tmp_path, "noise was added twice to one batch")


def test_a_scheduler_that_calls_another_ones_add_noise_is_seen_once(recording, tmp_path):
    class Heir(DDPMScheduler):
        def add_noise(self, samples, noise, timesteps):
            return super().add_noise(samples, noise, timesteps)

    optimizer, told = torch.optim.SGD(Weight().parameters(), lr=0.5), []
    for (clean,) in loader():
        told += noised(clean, Heir()).tolist()
        optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert (trace.ids.tolist(), trace.timesteps.tolist()) == (list(range(6)), told)
    assert trace.step_size_between(0, 2) == 0.5


def test_two_loaders_read_side_by_side_are_refused(recording, tmp_path):
    weight, others = Weight(), torch.rand(6, 1, 8, 8)

    def train():
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
        for (clean,), (_,) in zip(loader(), loader(others), strict=True):
            noised(clean)
            optimizer.step()

    refused(train, weight, tmp_path, "batches of two datasets before it diffused one of them")


def test_two_loaders_of_one_dataset_read_side_by_side_are_refused(recording, tmp_path):
    """Else the last one's positions would be taken for those of the batch that is diffused."""
    weight, data = Weight(), TensorDataset(IMAGES)

    def train():
        optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
        shuffled = DataLoader(data, batch_size=3, shuffle=True)
        for (clean,), (_,) in zip(DataLoader(data, batch_size=3), shuffled, strict=True):
            noised(clean)
            optimizer.step()

    refused(train, weight, tmp_path, "batches of two loaders of one dataset before it diffused")


def test_a_loader_made_anew_for_each_epoch_is_followed(recording, tmp_path):
    optimizer, told, data = (
        torch.optim.SGD(Weight().parameters(), lr=0.5),
        [],
        TensorDataset(IMAGES),
    )
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]):
        for (clean,) in DataLoader(data, batch_size=3, sampler=order):
            told += noised(clean).tolist()
            optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert trace.ids.tolist() == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]
    assert trace.timesteps.tolist() == told


def test_loaders_for_validation_stand_in_nobodys_way(recording, tmp_path):
    optimizer, told = torch.optim.SGD(Weight().parameters(), lr=0.5), []
    for (clean,) in loader():
        with torch.no_grad():
            for (other,) in loader(torch.rand(6, 1, 8, 8)):
                noised(other)
        told += noised(clean).tolist()
        optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert (trace.ids.tolist(), trace.timesteps.tolist()) == (list(range(6)), told)


def test_validation_between_two_batches_stands_in_nobodys_way(recording, tmp_path):
    """Its loader is read with gradients, as in scripts that turn them off inside the loop."""
    optimizer, told, others = torch.optim.SGD(Weight().parameters(), lr=0.5), [], IMAGES[:4] / 2
    for (clean,) in loader():
        told += noised(clean).tolist()
        optimizer.step()
        for (other,) in loader(others):
            with torch.no_grad():
                noised(other)
    trace = retrac.read_trace(tmp_path / "run")
    assert (trace.ids.tolist(), trace.timesteps.tolist()) == (list(range(6)), told)


def test_another_set_that_is_read_after_the_batch_ends_the_recording(recording, tmp_path):
    optimizer = torch.optim.SGD(Weight().parameters(), lr=0.5)
    for (clean,) in loader():
        noised(clean)
        optimizer.step()
    with pytest.warns(UserWarning, match="recording stopped after 2 steps.*of two datasets"):
        for (clean,), _ in zip(loader(), loader(IMAGES[:4] / 2), strict=True):
            noised(clean)
            optimizer.step()
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


def test_batches_that_are_read_without_gradients_may_be_the_trained_ones(recording, tmp_path):
    optimizer, told, batches = torch.optim.SGD(Weight().parameters(), lr=0.5), [], iter(loader())
    for _ in range(2):
        with torch.no_grad():
            (clean,) = next(batches)
        told += noised(clean).tolist()
        optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert (trace.ids.tolist(), trace.timesteps.tolist()) == (list(range(6)), told)


def test_a_batch_may_be_trained_on_again(recording, tmp_path):
    optimizer = torch.optim.SGD(Weight().parameters(), lr=0.5)
    for (clean,) in loader():
        for _ in range(2):
            noised(clean)
            optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert trace.ids.tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert trace.steps.tolist() == [step for step in range(4) for _ in range(3)]


def tiny_unet(**options):
    return UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        **{"in_channels": 1, "out_channels": 1, **options},
    )


@pytest.mark.parametrize("denoiser_first", [True, False])
def test_another_networks_optimiser_counts_no_step(recording, tmp_path, denoiser_first):
    """Such as a discriminator's, with a learning rate of its own."""
    unet, weight = tiny_unet(), Weight()
    optimizers = [
        torch.optim.SGD(unet.parameters(), lr=0.5),
        torch.optim.SGD(weight.parameters(), lr=7.0),
    ]
    for (clean,) in loader():
        noised(clean)
        for optimizer in optimizers if denoiser_first else reversed(optimizers):
            optimizer.step()
    trace = retrac.read_trace(tmp_path / "run")
    assert trace.steps.tolist() == [0, 0, 0, 1, 1, 1]
    assert trace.step_sizes.tolist() == [0.5] * 6
    assert recording.step == 2


def test_two_optimisers_of_unknown_networks_are_refused(recording, tmp_path):
    first, second = Weight(), Weight()

    def train():
        optimizers = [torch.optim.SGD(w.parameters(), lr=0.5) for w in (first, second)]
        for (clean,) in loader():
            noised(clean)
            for optimizer in optimizers:
                optimizer.step()

    refused(train, second, tmp_path, "two optimisers step on the same batch")
    assert first.value == -0.5  # by then, one step was done


def test_an_optimiser_may_be_made_anew(recording, tmp_path):
    kept = [torch.optim.SGD(Weight().parameters(), lr=lr) for lr in (0.5, 0.25)]
    for optimizer in kept:
        for (clean,) in loader():
            noised(clean)
            optimizer.step()
    assert retrac.read_trace(tmp_path / "run").step_sizes.tolist() == [0.5] * 6 + [0.25] * 6


def train_once(weight, data=IMAGES):
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.5)
    for (clean,) in loader(data):
        noised(clean)
        optimizer.step()


OTHERS = {
    "keep": ({"keep": "samples"}, IMAGES, r"what is kept is \['noise', 'samples'\], expected"),
    "no noise": ({"keep": "timesteps"}, IMAGES, r"what is kept is \[\], expected \['noise'\]"),
    "size": ({}, IMAGES[:5], "the training set's size is 5, expected 6 as there"),
    "images": ({}, 0.5 * IMAGES, "sample 0 is not the one that the trace in the folder"),
    "order": ({}, IMAGES[[0, 2, 1, 3, 4, 5]], "sample 1 is not the one that the trace in the"),
}


@pytest.mark.parametrize(("options", "data", "message"), OTHERS.values(), ids=OTHERS)
def test_another_record_in_the_same_folder_is_refused(tmp_path, options, data, message):
    run, weight = tmp_path / "run", Weight()
    with recorded_into(run):
        for _ in range(2):  # so that what they look like is known
            train_once(Weight())
    before = sorted(run.rglob("*"))
    with recorded_into(run, **options), pytest.raises(InputError, match=message):
        train_once(weight, data)
    assert weight.value == 0
    assert sorted(run.rglob("*")) == before
    assert len(retrac.read_trace(run).ids) == 12


def test_the_same_record_goes_on_in_the_same_folder(tmp_path):
    for _ in range(2):
        with recorded_into(tmp_path / "run") as recording:
            train_once(Weight())
            recording.saved("out/checkpoint-2")
    assert retrac.read_trace(tmp_path / "run").steps.tolist() == [0, 0, 0, 1, 1, 1]


def conditional(cls, **options):
    return cls(
        in_channels=4,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        **options,
    )


def text_encoder():
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return CLIPTextModel(CLIPTextConfig(vocab_size=9, num_attention_heads=2, **sizes))


UP = {"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}


def control_net():
    unet = conditional(UNet2DConditionModel, **UP).requires_grad_(False)
    return [unet], conditional(ControlNetModel, conditioning_embedding_out_channels=(4, 8))


def textual_inversion():
    return [conditional(UNet2DConditionModel, **UP).requires_grad_(False)], text_encoder()


def custom_diffusion():
    unet = conditional(UNet2DConditionModel, **UP).requires_grad_(False)
    sizes = {"hidden_size": 8, "cross_attention_dim": 8}
    unet.set_attn_processor(CustomDiffusionAttnProcessor2_0(train_q_out=False, **sizes))
    return [unet], unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor


def instruct_pix2pix():
    unet = tiny_unet(in_channels=8, out_channels=4)
    return [], unet


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (control_net, "trains a ControlNetModel beside a denoiser .* no reader of runs can"),
        (textual_inversion, "trains a text encoder and leaves the denoiser as it is"),
        (custom_diffusion, "trains attention processors of Custom Diffusion in a denoiser"),
        (instruct_pix2pix, "a UNet2DModel of 8 channels, and diffuses samples of 4: .*pix2pix"),
    ],
)
def test_what_no_reader_can_read_is_refused(recording, tmp_path, make, message):
    beside, trained = make()
    weight = Weight()

    def train():
        parameters = [*trained.parameters(), *weight.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.5)
        for (clean,) in loader(torch.rand(6, 4, 8, 8)):
            noised(clean)
            optimizer.step()
        assert beside is not None

    refused(train, weight, tmp_path, message)


def test_a_text_encoder_may_be_trained_beside_the_denoiser(recording, tmp_path):
    models = [conditional(UNet2DConditionModel, **UP), text_encoder()]
    optimizer = torch.optim.SGD([p for m in models for p in m.parameters()], lr=0.5)
    for (clean,) in loader(torch.rand(6, 4, 8, 8)):
        noised(clean)
        optimizer.step()
    assert len(retrac.read_trace(tmp_path / "run").ids) == 6


def test_what_was_trained_before_the_recording_is_not_the_script_s(tmp_path):
    """A denoiser and its optimiser that someone else holds: the script's own still counts."""
    theirs = tiny_unet()
    held = torch.optim.SGD(theirs.parameters(), lr=0.1)
    judged, own = Trained(), torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    judged.judge(own, None)
    assert judged.counts(own)
    assert held.param_groups
