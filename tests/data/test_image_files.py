import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from retrac_plugin.data.examples import ExampleSource
from retrac_plugin.data.image_files import read_examples
from retrac_plugin.errors import InputError

PIXELS = np.arange(4 * 6 * 5 * 3, dtype=np.uint8).reshape(4, 6, 5, 3)  # [N, H, W, C]
EXPECTED = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).contiguous() / 127.5 - 1


def samples(path):
    examples = read_examples(path)
    assert len(examples) == len(examples.names)
    return torch.cat([block.samples for block in ExampleSource(examples, "train").blocks(3)])


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    for name, pixels in zip(("b/1.png", "a.png", "c.PNG", "b/0.png"), PIXELS, strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    assert read_examples(tmp_path).names == ["a.png", "b/0.png", "b/1.png", "c.PNG"]
    assert torch.equal(samples(tmp_path), EXPECTED[[1, 3, 0, 2]])


def test_a_single_grey_image(tmp_path):
    Image.fromarray(PIXELS[0, :, :, 0]).save(tmp_path / "a.png")
    assert torch.equal(samples(tmp_path / "a.png"), EXPECTED[:1, :1])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS, EXPECTED),
        (np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2)), EXPECTED),
        (PIXELS[..., 0], EXPECTED[:, :1]),
        (EXPECTED.numpy(), EXPECTED),
    ],
    ids=["channels last", "channels first", "grey", "floats"],
)
def test_arrays_in_the_usual_layouts(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    assert torch.equal(samples(tmp_path / "a.npy"), expected)
    np.savez(tmp_path / "only.npz", anything=array)
    assert torch.equal(samples(tmp_path / "only.npz"), expected)
    np.savez(tmp_path / "several.npz", images=array, labels=np.arange(4))
    assert torch.equal(samples(tmp_path / "several.npz"), expected)


def test_safetensors_carry_conditions(tmp_path):
    save_file({"sample": EXPECTED, "class_labels": torch.arange(4)}, tmp_path / "a.safetensors")
    examples = read_examples(tmp_path / "a.safetensors")
    assert examples[2]["class_labels"] == 2
    assert torch.equal(samples(tmp_path / "a.safetensors"), EXPECTED)


def test_what_cannot_be_read_says_so(tmp_path):
    def message(name, write=lambda path: path.write_bytes(b"nonsense")):
        write(tmp_path / name)
        with pytest.raises(InputError) as caught:
            len(read_examples(tmp_path / name)[0])
        return str(caught.value)

    assert "expected a folder, an image, or .npy, .npz, .safetensors" in message("a.csv")
    assert "no images in" in message("empty", lambda path: path.mkdir())
    assert "cannot read" in message("broken.npy")
    assert "cannot read" in message("broken.npz")
    assert "cannot read" in message("broken.safetensors")
    assert "cannot read the image" in message("broken.png")
    assert "expected one of sample, images" in message(
        "other.npz", lambda path: np.savez(path, x=PIXELS, y=PIXELS)
    )
    assert "expected 'sample' among them" in message(
        "other.safetensors", lambda path: save_file({"x": EXPECTED}, path)
    )
    assert "expected images [N, H, W(, C)]" in message(
        "flat.npy", lambda path: np.save(path, np.zeros(3))
    )


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        read_examples(tmp_path / "a.npy")
