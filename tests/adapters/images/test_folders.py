"""A folder's images are in the order in which the datasets library reads them."""

import csv
import json

import pytest
from PIL import Image

from retrac_adapters.images.captions import read_captioned, read_images
from retrac_adapters.images.folders import every_file, train_split
from retrac_plugin.errors import InputError
from tests.adapters.images.folder_orders import LAYOUTS


def write_folder(folder, files):
    for file in files:
        name, rows = file if isinstance(file, tuple) else (file, None)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if rows is not None:
            write_table(path, [{"file_name": row, "text": f"of {row}"} for row in rows])
        elif path.suffix in (".txt", ".md"):
            path.write_text("words")
        else:
            Image.new("RGB", (4, 4)).save(path, format="PNG")
    return folder


def write_table(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


@pytest.mark.parametrize(("how", "choice"), [("split", train_split), ("all", every_file)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_order_is_the_datasets_librarys(tmp_path, layout, how, choice):
    folder = write_folder(tmp_path, LAYOUTS[layout]["files"])
    expected = LAYOUTS[layout][how]
    if expected is None:
        with pytest.raises(InputError):
            read_images(folder, choice)
        return
    assert [p.relative_to(folder).as_posix() for p in read_images(folder, choice)] == expected


def test_several_tables_have_no_order_that_a_recorded_id_could_mean(tmp_path):
    folder = write_folder(tmp_path, LAYOUTS["table in train"]["files"])
    assert len(read_captioned(folder)) == 3
    with pytest.raises(InputError, match=r"2 metadata files, between which .* no fixed order"):
        read_captioned(folder, ordered=True)


def test_another_image_column_is_read(tmp_path):
    folder = write_folder(tmp_path, ["a.png", "b.png"])
    rows = [{"file_name": "a.png", "edited_file_name": "b.png", "text": "c"}]
    write_table(folder / "metadata.jsonl", rows)
    assert [row.path.name for row in read_captioned(folder)] == ["a.png"]
    assert [row.path.name for row in read_captioned(folder, image="edited")] == ["b.png"]
    with pytest.raises(InputError, match="expected a mask_file_name"):
        read_captioned(folder, image="mask")


def test_a_caption_may_hold_any_character(tmp_path):
    folder = write_folder(tmp_path, ["a.png"])
    caption = "two\u2028lines"
    row = json.dumps({"file_name": "a.png", "text": caption}, ensure_ascii=False)
    (folder / "metadata.jsonl").write_text(row + "\n", encoding="utf-8")
    assert read_captioned(folder)[0].caption == caption


@pytest.mark.parametrize("name", ["images.zip", "metadata.parquet"])
def test_what_the_library_would_unpack_is_refused(tmp_path, name):
    folder = write_folder(tmp_path, ["a.png"])
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=name):
        read_images(folder)
