"""Orders that the datasets library 5.2 gave to folders, observed with it.

``files`` are written in the order of the list; a pair is a file of metadata with its rows.
``split`` is ``load_dataset("imagefolder", data_dir=FOLDER, split="train")``, ``all`` is
``data_files={"train": "FOLDER/**"}``; None where the library refuses the folder.
"""

from __future__ import annotations

LAYOUTS = {
    "flat": {
        "files": ["10.png", "9.png", "B.png", "a.png", "a-b.png", "a/b.png"],
        "split": ["10.png", "9.png", "B.png", "a-b.png", "a.png", "a/b.png"],
        "all": ["10.png", "9.png", "B.png", "a-b.png", "a.png", "a/b.png"],
    },
    "hidden": {
        "files": [
            ".x.png",
            ".ipynb_checkpoints/0.png",
            "__pycache__/1.png",
            "__2.png",
            "3.png",
            "d/__4.png",
            "d/.5.png",
        ],
        "split": ["3.png", "__2.png", "d/__4.png"],
        "all": ["3.png", "__2.png", "d/__4.png"],
    },
    "classes": {
        "files": ["cat/2.png", "cat/1.png", "dog/0.png"],
        "split": ["cat/1.png", "cat/2.png", "dog/0.png"],
        "all": ["cat/1.png", "cat/2.png", "dog/0.png"],
    },
    "train and test folders": {
        "files": ["train/b.png", "train/a.png", "test/c.png"],
        "split": ["train/a.png", "train/b.png"],
        "all": ["test/c.png", "train/a.png", "train/b.png"],
    },
    "only a test folder": {
        "files": ["test/c.png", "0.png"],
        "split": None,
        "all": ["0.png", "test/c.png"],
    },
    "splits below": {
        "files": ["data/train/b.png", "data/valid/a.png", "x.png"],
        "split": ["data/train/b.png"],
        "all": ["data/train/b.png", "data/valid/a.png", "x.png"],
    },
    "train in a folder's name": {
        "files": ["my-train-set/b.png", "other/a.png"],
        "split": ["my-train-set/b.png"],
        "all": ["my-train-set/b.png", "other/a.png"],
    },
    "training and train": {
        "files": ["training/a.png", "train/b.png", "train_2/c.png"],
        "split": ["train/b.png", "train_2/c.png", "training/a.png"],
        "all": ["train/b.png", "train_2/c.png", "training/a.png"],
    },
    "twice matched": {
        "files": ["x-train/train/a.png", "train/b.png"],
        "split": ["train/b.png", "x-train/train/a.png", "x-train/train/a.png"],
        "all": ["train/b.png", "x-train/train/a.png"],
    },
    "file names": {
        "files": ["train_1.png", "train-0.png", "test_0.png", "other.png"],
        "split": ["train-0.png", "train_1.png"],
        "all": ["other.png", "test_0.png", "train-0.png", "train_1.png"],
    },
    "file name in the middle": {
        "files": ["a_train_1.png", "b.png"],
        "split": ["a_train_1.png"],
        "all": ["a_train_1.png", "b.png"],
    },
    "a word of text": {
        "files": ["0.png", "1.png", "test_notes.txt"],
        "split": None,
        "all": ["0.png", "1.png"],
    },
    "trainer is no split": {
        "files": ["trainer/0.png", "testament/1.png"],
        "split": ["testament/1.png", "trainer/0.png"],
        "all": ["testament/1.png", "trainer/0.png"],
    },
    "train alone": {
        "files": ["train.png", "0.png"],
        "split": ["train.png"],
        "all": ["0.png", "train.png"],
    },
    "suffixes": {
        "files": ["0.PNG", "1.jpe", "2.png.bak", "3.txt", "4.ppm", "5.jfif"],
        "split": ["0.PNG", "1.jpe", "2.png.bak", "4.ppm", "5.jfif"],
        "all": ["0.PNG", "1.jpe", "2.png.bak", "4.ppm", "5.jfif"],
    },
    "table": {
        "files": ["0.png", "1.png", "2.png", ("metadata.jsonl", ["1.png", "0.png"])],
        "split": ["1.png", "0.png"],
        "all": ["1.png", "0.png"],
    },
    "csv": {
        "files": ["0.png", "1.png", "2.png", ("metadata.csv", ["2.png", "0.png"])],
        "split": ["2.png", "0.png"],
        "all": ["2.png", "0.png"],
    },
    "table in train": {
        "files": [
            "train/0.png",
            "train/1.png",
            "test/2.png",
            ("train/metadata.jsonl", ["1.png", "0.png"]),
            ("test/metadata.jsonl", ["2.png"]),
        ],
        "split": ["train/1.png", "train/0.png"],
        "all": ["test/2.png", "train/1.png", "train/0.png"],
    },
    "table above train": {
        "files": [
            "train/0.png",
            "train/1.png",
            "test/2.png",
            ("metadata.jsonl", ["train/1.png", "test/2.png", "train/0.png"]),
        ],
        "split": ["train/0.png", "train/1.png"],
        "all": ["train/1.png", "test/2.png", "train/0.png"],
    },
    "table in the test split alone": {
        "files": ["train/0.png", "train/1.png", "test/2.png", ("test/metadata.jsonl", ["2.png"])],
        "split": ["train/0.png", "train/1.png"],
        "all": ["test/2.png"],
    },
    "table in a class": {
        "files": ["a/0.png", "a/1.png", "b/2.png", ("a/metadata.jsonl", ["1.png", "0.png"])],
        "split": ["a/1.png", "a/0.png"],
        "all": ["a/1.png", "a/0.png"],
    },
    "both kinds": {
        "files": [
            "0.png",
            "1.png",
            ("metadata.jsonl", ["1.png", "0.png"]),
            ("metadata.csv", ["0.png"]),
        ],
        "split": None,
        "all": None,
    },
    "readme": {"files": ["0.png", "README.md", "train-log.txt"], "split": None, "all": ["0.png"]},
}
