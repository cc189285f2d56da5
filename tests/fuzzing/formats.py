"""Every format that is read: a good file of it, how it is damaged, and what reads it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import retrac_plugin as retrac
from retrac_adapters.images.captions import read_captioned
from retrac_adapters.images.framing import Framing
from retrac_adapters.latents.vae import read_vae
from retrac_adapters.scripts.arguments import read_arguments
from retrac_plugin.attribution.features import Side
from retrac_plugin.checkpoints.weight_files import read_weights
from retrac_plugin.data.encoded import EncodedRows
from retrac_plugin.data.image_files import read_examples
from retrac_plugin.recording.visit_log import VisitLog, Visits
from retrac_plugin.store.key_list import KEY_BYTES, KeyList
from retrac_plugin.store.kind import Kind
from retrac_plugin.store.store import Store
from retrac_plugin.trace.parts import Origin
from retrac_plugin.trace.reading import read_trace
from tests.fuzzing import damage
from tests.run_folders import record, write_run

IMAGES = torch.linspace(-1, 1, 3 * 64).view(3, 1, 8, 8)


@dataclass(frozen=True)
class Format:
    """A file among others that are as they should be.

    Attributes:
        file: Its path in a folder that ``make`` fills.
        make: Fills the folder.
        damaged: Damages the file's bytes.
        read: Reads the folder; what it returns is right or an error of ours is raised.
    """

    file: str
    make: Callable
    damaged: Callable
    read: Callable


def _bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _npy(folder):
    np.save(folder / "x.npy", IMAGES.numpy())


def _npz(folder):
    np.savez_compressed(folder / "x.npz", images=IMAGES.numpy(), other=np.arange(3))


def _tensors(folder):
    save_file({"sample": IMAGES, "class_labels": torch.arange(3)}, folder / "x.safetensors")


def _image(kind):
    def make(folder):
        file = io.BytesIO()
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, kind)
        _bytes(folder / f"x.{kind}", file.getvalue())

    return make


def _examples(name):
    def read(folder):
        examples = read_examples(folder / name)
        return [examples[i] for i in range(min(3, len(examples)))]

    return read


def _framed(name):
    return lambda folder: Framing(8).read(folder / name)


def _scores(folder):
    values = torch.linspace(-1, 1, 6).view(2, 3)
    names = {"train_names": ("a", "b", "c"), "query_names": ("p", "q"), "prompts": ("x", "y")}
    retrac.Scores(values, torch.ones(1, 3), {"repeats": 1}, **names).save(folder / "x.safetensors")


def _read_scores(folder):
    return retrac.Scores.load(folder / "x.safetensors").proponents(1)


def _shards(folder):
    save_file({"a": torch.ones(2)}, folder / "one.safetensors")
    save_file({"b": torch.ones(2)}, folder / "two.safetensors")
    index = {"metadata": {"total_size": 16}, "weight_map": {"a": "one.safetensors"}}
    index["weight_map"]["b"] = "two.safetensors"
    _bytes(folder / "x.safetensors.index.json", damage.as_json(index))


def _weights(name):
    def make(folder):
        state = {"a": torch.ones(2), "b": torch.ones(1, 1)}
        save = save_file if name.endswith("safetensors") else torch.save
        save(state, folder / name)

    return make


def _old_weights(folder):
    torch.save({"a": torch.ones(2)}, folder / "old.bin", _use_new_zipfile_serialization=False)


def _of(read, name=""):
    return lambda folder: read(folder / name)


def _run(folder):
    write_run(folder, steps=(90, 500))
    about = {"learning_rate": 0.1, "train_batch_size": 2, "max_train_steps": 500, "seed": 1}
    _bytes(folder / "logs" / "own" / "1" / "hparams.yml", yaml.safe_dump(about).encode())
    _bytes(folder / "x.png", b"")
    for step in (90, 500):
        torch.save({"_last_lr": [0.1]}, folder / f"checkpoint-{step}" / "scheduler.bin")
        groups = {"param_groups": [{"lr": 0.1}], "state": {}}
        torch.save(groups, folder / f"checkpoint-{step}" / "optimizer.bin")


def _recorded(folder):
    write_run(folder, steps=(90, 500))
    record(folder, IMAGES, steps=(90, 500))


def _logged(folder):
    log = VisitLog(folder, Origin(3, "kept", 0), ["noise"], {"names": ["a", "b", "c"]})
    visits = Visits(torch.arange(3), torch.arange(3), torch.arange(3) + 1, {"noise": IMAGES})
    log.append(visits, 0, 0.1)
    log.close()
    home = next((folder / "retrac_trace").glob("step*"))
    shutil.move(home, folder / "retrac_trace" / "log")


def _read_trace(folder):
    trace = read_trace(folder)
    return trace.step_size_between(0, 500)


def _captions(folder):
    for name in ("0.png", "1.png"):
        Image.new("L", (8, 8)).save(folder / name)
    rows = [{"file_name": f"{i}.png", "text": f"a {i}"} for i in range(2)]
    _bytes(folder / "metadata.jsonl", b"\n".join(map(damage.as_json, rows)))


def _captions_csv(folder):
    _captions(folder)
    (folder / "metadata.jsonl").unlink()
    _bytes(folder / "metadata.csv", b'file_name,text\n0.png,"a 0"\n1.png,a 1\n')


def _vae(folder):
    from tests.adapters.latents.latent_base import make_vae

    make_vae().save_pretrained(folder)


def _encoded(folder):
    rows = EncodedRows(lambda places: {"a": torch.ones(len(places), 2)}, "e", ["1", "2"], folder)
    assert rows[1]["a"].tolist() == [1, 1]
    shutil.copy(next(folder.glob("*.safetensors")), folder / "x")


def _read_encoded(folder):
    target = next(folder.glob("*.safetensors"))
    shutil.copy(folder / "x", target)
    return EncodedRows(lambda places: 1 / 0, "e", ["1", "2"], folder)[0]


KIND = Kind("rows", {"a": "1", "b": "2"})


def _store(folder):
    keys = KeyList.of(bytes([number] * KEY_BYTES) for number in range(3))
    rows = Store.create(folder, "float16", 2).adding(KIND).adding(keys)
    for shard in rows.shards():
        count = len(shard.keys)
        side = Side(torch.ones(count, 2, 4), torch.ones(count), torch.zeros(count))
        shard.write(side)


def _read_store(folder):
    (kind,) = Store.open(folder).kinds()
    rows = Store.open(folder).rows_of(kind)
    side = rows.side(torch.arange(len(rows.samples.places)))
    assert side.features.eq(1).all()  # whatever is read is right
    return side


def _run_of(folder):
    return retrac.read_run(folder).description


def _arguments(folder):
    return [str(finding) for finding in read_arguments(folder, {"seed": 2}).findings]


def _in_yaml(whole: bytes):
    changed = damage.in_values(yaml.safe_load(whole)).map(
        lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
    )
    return damage.in_bytes(whole) | changed


_UNET = "checkpoint-90/unet/config.json"
FORMATS = {
    "npy": Format("x.npy", _npy, damage.in_bytes, _examples("x.npy")),
    "npz": Format("x.npz", _npz, damage.in_bytes, _examples("x.npz")),
    "tensors": Format("x.safetensors", _tensors, damage.in_safetensors, _examples("x.safetensors")),
    **{
        kind: Format(f"x.{kind}", _image(kind), damage.in_bytes, _examples(f"x.{kind}"))
        for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp")
    },
    "framed png": Format("x.png", _image("png"), damage.in_bytes, _framed("x.png")),
    "scores": Format("x.safetensors", _scores, damage.in_safetensors, _read_scores),
    "shards": Format(
        "x.safetensors.index.json",
        _shards,
        damage.in_json,
        _of(read_weights, "x.safetensors.index.json"),
    ),
    "weights": Format(
        "x.safetensors",
        _weights("x.safetensors"),
        damage.in_safetensors,
        _of(read_weights, "x.safetensors"),
    ),
    "bin": Format("x.bin", _weights("x.bin"), damage.in_bytes, _of(read_weights, "x.bin")),
    "old bin": Format("old.bin", _old_weights, damage.in_bytes, _of(read_weights, "old.bin")),
    "trace": Format(
        "checkpoint-90/retrac_trace.safetensors", _recorded, damage.in_safetensors, _read_trace
    ),
    "log": Format("retrac_trace/log/about.json", _logged, damage.in_json, _read_trace),
    "visits": Format("retrac_trace/log/visits.bin", _logged, damage.in_bytes, _read_trace),
    "captions": Format("metadata.jsonl", _captions, damage.in_lines, read_captioned),
    "captions csv": Format("metadata.csv", _captions_csv, damage.in_bytes, read_captioned),
    "arguments": Format("logs/own/1/hparams.yml", _run, _in_yaml, _arguments),
    "network": Format("unet/config.json", _run, damage.in_json, _run_of),
    "schedule": Format("scheduler/scheduler_config.json", _run, damage.in_json, _run_of),
    "run's arguments": Format("logs/own/1/hparams.yml", _run, _in_yaml, _run_of),
    "rates": Format("checkpoint-90/scheduler.bin", _run, damage.in_bytes, _run_of),
    "optimizer": Format("checkpoint-500/optimizer.bin", _run, damage.in_bytes, _run_of),
    "autoencoder": Format("config.json", _vae, damage.in_json, _of(read_vae)),
    "store": Format("store.json", _store, damage.in_json, _read_store),
    "kind of rows": Format(f"{KIND.folder}/kind.json", _store, damage.in_json, _read_store),
    "rows": Format(
        f"{KIND.folder}/000-000000.safetensors", _store, damage.in_safetensors, _read_store
    ),
    "samples of rows": Format(
        f"{KIND.folder}/samples-000.safetensors", _store, damage.in_safetensors, _read_store
    ),
    "encoded": Format("x", _encoded, damage.in_safetensors, _read_encoded),
}
