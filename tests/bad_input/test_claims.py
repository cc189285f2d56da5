"""Files that claim more than they hold, or that reading would never end of."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from retrac_adapters.images.captions import read_captioned
from retrac_adapters.scripts.arguments import read_arguments
from retrac_adapters.scripts.config_sizes import check_sizes
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.data.image_files import read_examples
from retrac_plugin.errors import CheckpointError, InputError, TraceError
from retrac_plugin.trace.reading import read_trace
from tests.fuzzing.formats import FORMATS
from tests.fuzzing.reading import Outcome, outcome_of

BILLIONS = 3_000_000_000


def header(shape, dtype="<f4"):
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", [(BILLIONS, 1, 8, 8), (BILLIONS, BILLIONS, BILLIONS, BILLIONS)])
def test_an_array_that_claims_billions_of_pictures_is_refused(tmp_path, shape):
    file = tmp_path / "x.npy"
    file.write_bytes(header(shape) + bytes(64))
    with pytest.raises(InputError, match=r"cannot read .*x\.npy': claims an array \[3000000000"):
        read_examples(file)


def test_so_is_one_in_an_archive(tmp_path):
    file = tmp_path / "x.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", header((BILLIONS, 8, 8)) + bytes(64))
    with pytest.raises(InputError, match=r"claims an array \[3000000000, 8, 8\]"):
        read_examples(file)


def test_arrays_that_hold_what_they_claim_are_read_to_the_bit(tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    np.savez_compressed(tmp_path / "x.npz", images=images, labels=np.arange(3))
    for name in ("x.npy", "x.npz"):
        read = read_examples(tmp_path / name)
        assert len(read) == 3
        for i in range(3):
            assert torch.equal(read[i]["sample"], torch.from_numpy(images[i]))


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        read_examples(tmp_path / "x.npy")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
class TestPipes:
    """Opening one would wait for a writer for ever."""

    @pytest.mark.parametrize("name", ["x.png", "x.npy", "x.npz", "x.safetensors"])
    def test_as_pictures(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="expected a file, got a pipe"):
            read_examples(tmp_path / name)[0]

    def test_among_pictures(self, tmp_path):
        os.mkfifo(tmp_path / "x.png")
        with pytest.raises(InputError, match=r"the image .*x\.png': expected a file, got a pipe"):
            read_examples(tmp_path)[0]

    @pytest.mark.parametrize(
        "name", ["log", "captions", "arguments", "scores", "shards", "network"]
    )
    def test_in_the_place_of_other_files(self, tmp_path, name):
        form = FORMATS[name]
        form.make(tmp_path)
        (tmp_path / form.file).unlink()
        os.mkfifo(tmp_path / form.file)
        outcome_of(form.read, tmp_path)  # does not hang, whether it is refused or not seen


def test_an_index_that_names_itself_is_refused(tmp_path):
    index = tmp_path / "x.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "x.safetensors.index.json"}}')
    with pytest.raises(CheckpointError, match=r"expected files of \.safetensors or \.bin"):
        read_weights(index)


def test_so_is_one_that_names_what_no_file_can_be_called(tmp_path):
    index = tmp_path / "x.safetensors.index.json"
    index.write_text(f'{{"weight_map": {{"a": "{"x" * 300}.bin"}}}}')
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_weights(index)


def test_aliases_that_stand_for_a_billion_values_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    log = tmp_path / "logs" / "own" / "1"
    log.mkdir(parents=True)
    (log / "hparams.yml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="stand for more than 100,000 values"):
        read_arguments(tmp_path, {})


def test_aliases_of_an_ordinary_file_are_followed(tmp_path):
    log = tmp_path / "logs" / "own" / "1"
    log.mkdir(parents=True)
    (log / "hparams.yml").write_text("a: &a [1, 2]\nb: *a\nlearning_rate: 0.5\n")
    values = read_arguments(tmp_path, {}).values
    assert values == {"a": [1, 2], "b": [1, 2], "learning_rate": 0.5}


def test_brackets_that_the_parser_would_take_hours_for_are_refused(tmp_path):
    log = tmp_path / "logs" / "own" / "1"
    log.mkdir(parents=True)
    (log / "hparams.yml").write_text("a: " + "[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply, more than 200 brackets"):
        read_arguments(tmp_path, {})


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": ' + "[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_captioned(tmp_path)


def test_captions_keep_their_separators(tmp_path):
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "0.png", "text": "a\u2028b\x85c"}\n', encoding="utf-8"
    )
    assert [row.caption for row in read_captioned(tmp_path)] == ["a\u2028b\x85c"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_samples", BILLIONS), ("processes", BILLIONS), ("step", -1), ("num_samples", -5)],
)
def test_a_trace_that_claims_too_much_is_refused(tmp_path, name, value):
    form = FORMATS["log"]
    form.make(tmp_path)
    about = (tmp_path / form.file).read_text()
    key = f'"{name}": '
    before, after = about.split(key, 1)
    rest = after[after.index(",") :]
    (tmp_path / form.file).write_text(f"{before}{key}{value}{rest}")
    with pytest.raises(TraceError, match=f"its {name} must lie between 0 and"):
        read_trace(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"layers_per_block": 10**6},
        {"block_out_channels": [4, 2**21]},
        {"num_train_timesteps": 10**12},
        {"down_block_types": ["DownBlock2D"] * 1001},
    ],
)
def test_a_configuration_that_building_would_not_end_of_is_refused(config):
    with pytest.raises(ValueError, match=next(iter(config))):
        check_sizes(config)


def test_a_decompression_bomb_is_refused(tmp_path):
    form = FORMATS["bmp"]
    form.make(tmp_path)
    data = bytearray((tmp_path / form.file).read_bytes())
    data[18:26] = struct.pack("<ii", 200_000, 200_000)
    (tmp_path / form.file).write_bytes(bytes(data))
    with pytest.raises(InputError, match="cannot read the image"):
        form.read(tmp_path)


def test_fields_of_different_lengths_are_refused(tmp_path):
    file = tmp_path / "x.safetensors"
    save_file({"sample": torch.zeros(3, 1, 8, 8), "class_labels": torch.zeros(2)}, file)
    with pytest.raises(InputError, match=r"fields of different lengths: \[2, 3\]"):
        read_examples(file)


def test_good_files_are_read():
    """The fuzzer's good files are read as such; it would find nothing in what is always refused."""
    import tempfile
    from pathlib import Path

    for name in ("npy", "png", "scores", "shards", "log"):
        with tempfile.TemporaryDirectory() as home:
            FORMATS[name].make(Path(home))
            assert outcome_of(FORMATS[name].read, Path(home)) is Outcome.RIGHT


def test_headers_are_made_as_numpy_makes_them():
    held = np.load(io.BytesIO(header((2,)) + np.array([1, 2], "<f4").tobytes()))
    assert held.tolist() == [1, 2]
