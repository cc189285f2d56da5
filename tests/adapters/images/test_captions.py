import json

import pytest
from PIL import Image

from retrac_adapters.images.captions import images_in, read_captioned
from retrac_plugin.errors import InputError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "a/b.png", "a-b.png", "B.png", "9.JPG", ".hidden.png", "__x/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path, format="PNG")
    return tmp_path


def write(folder, *rows):
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_images_are_in_the_order_of_the_datasets_library(folder):
    # Observed with datasets 5.2: load_dataset("imagefolder", data_files={"train": "folder/**"})
    names = [path.relative_to(folder).as_posix() for path in images_in(folder)]
    assert names == ["9.JPG", "B.png", "a-b.png", "a.png", "a/b.png"]


def test_captions_are_in_the_order_of_their_rows(folder):
    write(folder, {"file_name": "a.png", "text": "one"}, {"file_name": "9.JPG", "text": "two"})
    assert read_captioned(folder) == [(folder / "a.png", "one"), (folder / "9.JPG", "two")]


def test_a_table_in_a_subfolder_names_files_there(folder):
    (folder / "a" / "metadata.csv").write_text('file_name,said\nb.png,"a tree, green"\n')
    assert read_captioned(folder, "said") == [(folder / "a" / "b.png", "a tree, green")]


def test_of_several_captions_the_first_is_taken(folder):
    write(folder, {"file_name": "a.png", "text": ["one", "two"]})
    assert read_captioned(folder)[0].caption == "one"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "one"}, "row 1: expected a file_name, got the columns"),
        ({"file_name": "a.png"}, "row 1: expected a caption in the column 'text', got None"),
        ({"file_name": "a.png", "text": []}, "expected a caption in the column 'text'"),
        ({"file_name": "c.png", "text": "one"}, "no file 'c.png'"),
        ({"file_name": "../outside.png", "text": "one"}, "no file '../outside.png'"),
        ({"file_name": "a" * 300 + ".png", "text": "one"}, "no file 'aaa"),
        ({"file_name": "a\0.png", "text": "one"}, "no file 'a"),
        (["a.png", "one"], "expected a JSON object on every line"),
    ],
)
def test_a_row_that_names_no_image_or_caption_is_refused(folder, row, message):
    (folder.parent / "outside.png").write_bytes(b"")
    write(folder, row)
    with pytest.raises(InputError, match=message):
        read_captioned(folder)


def test_a_folder_without_images_or_captions_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"no captions in .* metadata.jsonl or metadata.csv"):
        read_captioned(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in"):
        images_in(tmp_path / "empty")
