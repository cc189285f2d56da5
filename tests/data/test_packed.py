"""Images in shards and tables: those of the files that were packed, in their order, read alone."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from retrac_adapters.images.captions import read_captioned
from retrac_adapters.images.framed import FramedReader
from retrac_adapters.images.framing import Framing
from retrac_adapters.scripts.arguments import Arguments
from retrac_plugin.data.encoded import tensor_digest
from retrac_plugin.data.image_files import read_examples
from retrac_plugin.errors import InputError

COUNT = 7
CAPTIONS = [f"picture {number}" for number in range(COUNT)]


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def png(number):
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "png")
    return file.getvalue()


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    """Two shards, the samples in the order of their numbers; what is no sample lies between."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard, numbers in enumerate((range(4), range(4, COUNT))):
        with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as archive:
            for number in numbers:
                key = f"part/{9 - number}"  # no order of names
                about = {"text": CAPTIONS[number], "width": 8}
                add(archive, f"{key}.json", json.dumps(about).encode())
                add(archive, f"{key}.png", png(number))
                add(archive, f"part/._{9 - number}.png", b"no image")
            add(archive, "notes.txt", b"no sample")
    with tarfile.open(folder / "test-0000.tar", "w") as archive:
        add(archive, "1.png", png(99))
    return folder


@pytest.fixture
def tables(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": png(n), "path": None} for n in range(COUNT)], "text": CAPTIONS}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    return datasets, datasets.Dataset.from_dict(rows, features=features)


def check(path):
    """The images, their order, their captions, and what identifies them."""
    examples = read_examples(path)
    assert len(examples) == len(set(examples.names)) == COUNT
    for number in reversed(range(COUNT)):
        expected = torch.from_numpy(pixels(number)).permute(2, 0, 1).float() / 127.5 - 1
        assert torch.equal(examples[number]["sample"], expected)
        assert torch.equal(examples.picture(number), expected)
    captioned = read_captioned(path)
    assert [row.caption for row in captioned] == CAPTIONS
    assert [row.path.read_bytes() for row in captioned] == [png(n) for n in range(COUNT)]


def test_shards_are_read_in_their_order(shards):
    check(shards)
    names = read_examples(shards).names
    assert names[0] == "train-0000.tar/part/9.png"
    one = read_examples(shards / "train-0001.tar")
    assert one.names == names[4:]


def test_a_script_frames_images_of_a_shard_as_it_frames_files(shards, tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    for number in range(COUNT):
        (files / f"{number}.png").write_bytes(png(number))
    reader = FramedReader(Framing(4), Arguments({}, None, ()))
    found, expected = (
        reader.train(path, tmp_path, torch.device("cpu")) for path in (shards, files)
    )
    digests = [[tensor_digest(each["sample"]) for each in some] for some in (found, expected)]
    assert digests[0] == digests[1]
    (only,) = reader.queries(shards / "test-0000.tar", None, tmp_path, torch.device("cpu"))
    assert only["sample"].shape == (3, 4, 4)


@pytest.mark.parametrize("kind", ["saved", "splits", "parquet", "shards of parquet"])
def test_tables_are_read_in_their_order(tables, tmp_path, kind):
    datasets, table = tables
    path = tmp_path / ("table.parquet" if kind == "parquet" else "table")
    if kind == "saved":
        table.save_to_disk(path, num_shards=2)
    elif kind == "splits":
        datasets.DatasetDict({"test": table.select([0]), "train": table}).save_to_disk(path)
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        path.mkdir()
        table.select([0]).to_parquet(path / "test-00000-of-00001.parquet")
        for part in range(2):
            some = table.shard(2, part, contiguous=True)
            some.to_parquet(path / f"train-{part:05d}-of-00002.parquet")
    check(path)
    assert read_examples(path).names == [str(number) for number in range(COUNT)]


def test_a_caption_or_an_image_that_is_missing_is_said(shards, tables, tmp_path):
    with pytest.raises(InputError, match=r"train-0000.tar/part/9.png: expected a caption .* 'alt'"):
        read_captioned(shards, "alt")
    datasets, table = tables
    table.rename_column("image", "photo").save_to_disk(tmp_path / "one")
    assert len(read_examples(tmp_path / "one")) == COUNT
    table.remove_columns("image").save_to_disk(tmp_path / "none")
    with pytest.raises(InputError, match="has the columns text, of which"):
        read_examples(tmp_path / "none")
    datasets.DatasetDict({"test": table}).save_to_disk(tmp_path / "test")
    with pytest.raises(InputError, match=r"has the splits \['test'\], expected train"):
        read_examples(tmp_path / "test")


def test_damaged_shards_are_named(shards, tmp_path):
    examples = read_examples(shards)
    last = shards / "train-0001.tar"
    whole = last.read_bytes()
    last.write_bytes(whole[:1600])
    with pytest.raises(InputError, match=r"train-0001.tar"):
        examples[COUNT - 1]
    last.write_bytes(b"no archive at all, but text" * 50)
    with pytest.raises(InputError, match=r"cannot read the shard .*train-0001.tar"):
        read_examples(shards)
    with tarfile.open(last, "w") as archive:
        add(archive, "1.png", b"no image")
    with pytest.raises(InputError, match=r"cannot read the image 'train-0001.tar/1.png'"):
        read_examples(last)[0]
    with tarfile.open(last, "w") as archive:
        add(archive, "1.left.png", png(0))
        add(archive, "1.right.png", png(1))
    with pytest.raises(InputError, match=r"expected one image of a sample, got 1\.left"):
        read_examples(last)
    with tarfile.open(last, "w") as archive:
        add(archive, "1.txt", b"alone")
    with pytest.raises(InputError, match="no images in"):
        read_examples(last)
