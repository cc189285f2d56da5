"""What a latent's timesteps and noise are drawn by: its image, never what a network computed."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

import retrac_plugin as retrac
from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.latents import LatentExamples, Picture
from retrac_adapters.latents.vae import ImageEncoder
from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.errors import TraceError
from retrac_plugin.frameworks.drawn import DrawnExamples
from retrac_plugin.frameworks.kronfluence.fisher import WithResiduals
from retrac_plugin.frameworks.side_loaders import Side
from retrac_plugin.randomness import SAMPLE_KEY
from tests.adapters.latents.latent_base import make_vae
from tests.small import SmallDenoiser

COUNT = 6


class LastBits(ImageEncoder):
    """Encodes as another machine does: its sums end in other last bits."""

    def encode(self, pixels):
        rows = super().encode(pixels)
        return {name: value * (1 + 1e-6) for name, value in rows.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for i in range(COUNT):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def vae():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return make_vae().double().eval()


def examples(files, vae, cache, encoder=ImageEncoder, order=range(COUNT), side=16, **options):
    pictures = [Picture(files / f"{i}.png", f"{i}.png") for i in order]
    return LatentExamples(pictures, Framing(side), encoder(vae), None, cache, **options)


def test_the_picture_of_a_latent_is_the_image_as_training_framed_it(files, vae, tmp_path):
    data = examples(files, vae, tmp_path)
    expected = torch.from_numpy(np.array(Image.open(files / "2.png"))).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(data.picture(2), expected, atol=1e-5, rtol=0)
    assert examples(files, vae, tmp_path, side=8).picture(2).shape == (3, 8, 8)
    assert data.missing == COUNT  # nothing was encoded for it


def keys_of(data):
    return [key for block in ExampleSource(data, "train").blocks(4) for key in block.keys]


def attributor(train_draws=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SmallDenoiser(channels=3).double().eval()
    schedule = retrac.VariancePreserving(torch.linspace(0.999, 0.01, 100))
    checkpoint = retrac.Checkpoint(network.state_dict(), 0.1, 2)
    return retrac.DiffusionReTrac(
        retrac.wrap(network, schedule),
        [checkpoint],
        train_draws=train_draws or retrac.Uniform(1),
        query_draws=retrac.Strided(2),
        progress=False,
    )


def test_the_key_is_that_of_the_file_and_its_framing(files, vae, tmp_path):
    here = examples(files, vae, tmp_path / "here")
    there = examples(files, vae, tmp_path / "there", LastBits)
    assert not torch.equal(here[0]["sample"], there[0]["sample"])
    assert keys_of(here) == keys_of(there)
    assert keys_of(examples(files, vae, tmp_path, side=8))[0] != keys_of(here)[0]
    assert len(set(keys_of(here))) == COUNT
    assert all(0 <= key < 2**63 for key in keys_of(here))


def test_scores_do_not_hang_on_the_last_bits_of_latents(files, vae, tmp_path):
    """Nor on which images lie beside one: alone, an image gets the score that it has in the set."""
    here = examples(files, vae, tmp_path / "here")
    there = examples(files, vae, tmp_path / "there", LastBits)
    alone = examples(files, vae, tmp_path / "alone", LastBits, order=[3])
    right = attributor().attribute(here, [here[0]]).values
    for train, columns in ((there, range(COUNT)), (alone, [3])):
        torch.testing.assert_close(
            attributor().attribute(train, [here[0]]).values, right[:, list(columns)],
            rtol=1e-3, atol=0,
        )  # fmt: skip


@pytest.mark.parametrize(
    "view",
    [
        lambda data: Subset(data, range(COUNT)),
        lambda data: DataLoader(data, batch_size=4),
        list,
    ],
)
def test_every_view_of_the_latents_has_their_keys(files, vae, tmp_path, view):
    data = examples(files, vae, tmp_path)
    assert keys_of(view(data)) == keys_of(data) == [example[SAMPLE_KEY] for example in data]


def test_the_denoiser_is_not_told_the_key(files, vae, tmp_path):
    (block,) = ExampleSource(examples(files, vae, tmp_path), "train").blocks(COUNT)
    assert block.conditions == {}
    assert block.encoded


def test_nor_is_it_where_a_batch_is_diffused_by_hand(files, vae, tmp_path):
    conditions = {"class_labels": torch.tensor([1]), SAMPLE_KEY: torch.tensor([7])}
    latent, model = examples(files, vae, tmp_path)[0]["sample"][None], attributor().model
    batch = model.diffuse(latent, torch.tensor([3]), torch.zeros_like(latent), conditions)
    assert batch.conditions.keys() == {"class_labels"}


def test_the_frameworks_own_methods_get_the_same_draws(files, vae, tmp_path):
    model, draws = attributor().model, retrac.Uniform(1)
    here, there = (
        DrawnExamples(
            examples(files, vae, tmp_path / name, kind), draws, "train", model, {0: 2}, ()
        )
        for name, kind in (("here", ImageEncoder), ("there", LastBits))
    )
    for (_, t, noise), (_, other_t, other_noise) in zip(here, there, strict=True):
        assert torch.equal(t, other_t)
        assert torch.equal(noise, other_noise)


def test_targets_of_a_true_fisher_matrix_are_drawn_by_the_image_too(files, vae, tmp_path):
    model, draws = attributor().model, retrac.Uniform(2)
    drawn = {
        name: DrawnExamples(
            examples(files, vae, tmp_path / name, kind), draws, "train", model, {0: 2}, ()
        )
        for name, kind in (("here", ImageEncoder), ("there", LastBits))
    }
    here, some = (
        WithResiduals(Side(drawn["here"], ids, 4)) for ids in (list(range(COUNT)), [4, 2])
    )
    there = WithResiduals(Side(drawn["there"], list(range(COUNT)), 4))
    residuals = torch.stack([item[-1] for item in here])
    assert torch.equal(residuals, torch.stack([item[-1] for item in there]))
    assert torch.equal(residuals[[8, 9, 4, 5]], torch.stack([item[-1] for item in some]))
    assert len(residuals.flatten(1).unique(dim=0)) == 2 * COUNT


def test_a_latent_is_drawn_from_its_posterior_by_its_image(files, vae, tmp_path):
    here = examples(files, vae, tmp_path / "here", seed=1)
    there = examples(files, vae, tmp_path / "there", LastBits, seed=1)
    torch.testing.assert_close(here[0]["sample"], there[0]["sample"], rtol=1e-4, atol=1e-4)


@pytest.fixture
def recorded(files, vae, tmp_path):
    """A loop of one's own trained on latents, whose means never change."""
    data, recorder = examples(files, vae, tmp_path / "here"), retrac.Recorder(COUNT)
    for ids in ([0, 1, 2], [3, 4, 5]):
        latents = torch.stack([data[i]["sample"] for i in ids])
        recorder.draw(ids, torch.tensor([3, 50, 90]), latents, 0.1)
    recorder.save(tmp_path / "run")
    return data, retrac.Recorded(retrac.read_trace(tmp_path / "run"))


def test_recorded_latents_are_known_again_on_another_machine(recorded, files, vae, tmp_path):
    data, draws = recorded
    there = examples(files, vae, tmp_path / "there", LastBits)
    right = attributor(draws).attribute(data, [data[0]]).values
    got = attributor(draws).attribute(there, [data[0]]).values
    torch.testing.assert_close(got, right, rtol=1e-4, atol=0)


def test_recorded_latents_of_other_images_are_refused(recorded, files, vae, tmp_path):
    data, draws = recorded
    swapped = examples(files, vae, tmp_path / "there", LastBits, order=[0, 1, 3, 2, 4, 5])
    with pytest.raises(TraceError, match="sample 2, as encoded here, is not the one that training"):
        attributor(draws).attribute(swapped, [data[0]])


def test_plain_latents_are_still_compared_to_the_last_bit(recorded):
    data, draws = recorded
    plain = torch.stack([example["sample"] for example in data])
    assert attributor(draws).attribute(plain, plain[:1]).values.shape == (1, COUNT)
    with pytest.raises(TraceError, match="sample 0 is not the one that training saw"):
        attributor(draws).attribute(plain * (1 + 1e-6), plain[:1])
