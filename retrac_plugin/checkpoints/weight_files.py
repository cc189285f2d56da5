"""Reading what training saved without ever running code from it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from retrac_plugin.errors import CheckpointError
from retrac_plugin.errors.guards import TEXT_BYTES, reading

WEIGHT_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where a folder's weights are looked for, in this order, then of a variant such as ``fp16`` if it
holds one alone; then the same in its ``unet`` folder."""

SHARD_SUFFIXES = (".safetensors", ".bin")
"""What an index names: weights, and no other index."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a file or folder.

    Raises:
        CheckpointError: If there is nothing to read, it is damaged, or it is an unsafe pickle.
    """
    if path.is_dir():
        return read_weights(find_weights(path))
    if path.suffix == ".json":
        return _read_sharded(path)
    return check_state_dict(read_safely(path), path)


def read_safely(path: Path) -> Any:
    """Read a ``.safetensors`` file, or a file of tensors and plain values that torch wrote.

    The tensors of the latter stay on disk until they are used.

    Raises:
        CheckpointError: If it is missing, damaged, or a pickle that would run code.
    """
    if not isfile(path):  # noqa: PTH113 takes a name that no file can have for a missing one
        raise CheckpointError(f"no checkpoint at {str(path)!r}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"refused to unpickle {str(path)!r}: it is not a plain file of tensors, and loading it "
            "could run code. Save the weights as safetensors"
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise CheckpointError(f"cannot read {str(path)!r}: {error!r}") from error


def check_state_dict(state: Any, path: Path) -> dict[str, Tensor]:
    """Return what a file held as a state dict.

    Raises:
        CheckpointError: If it is something else.
    """
    if not isinstance(state, Mapping) or not all(map(_is_entry, state, state.values())):
        raise CheckpointError(f"{str(path)!r} holds no state dict (a mapping of names to tensors)")
    return dict(state)


def _is_entry(name: Any, value: Any) -> bool:
    """Say whether a name and a value can stand in a state dict, with numbers that are there."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.layout == torch.strided and not value.is_quantized and not value.is_meta


def _is_zip(path: Path) -> bool:
    """Say whether a file is of torch's present format; only that can be mapped into memory."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def find_weights(directory: Path, variant: str | None = None) -> Path:
    """Return the file that holds a folder's weights, or their index.

    Args:
        directory: As ``save_pretrained`` leaves it.
        variant: What is to be taken before the file without a variant, such as ``"fp16"``.

    Raises:
        CheckpointError: If there is none, or there are several variants to choose from.
    """
    for folder in (directory, directory / "unet"):
        for name in (*_of_variant(variant), *WEIGHT_FILES):
            if (folder / name).is_file():
                return folder / name
        variants = sorted({found for path in folder.glob("*model*") for found in _variant_of(path)})
        if len(variants) > 1:
            raise CheckpointError(
                f"{str(folder)!r} holds the variants {', '.join(variants)} of its weights and none "
                "without a name: keep one of them"
            )
        for name in _of_variant(next(iter(variants), None)):
            if (folder / name).is_file():
                return folder / name
    raise CheckpointError(
        f"no weights in {str(directory)!r}: expected one of {', '.join(WEIGHT_FILES)}"
    )


def _of_variant(variant: str | None) -> list[str]:
    """Return the names of files of a variant: it comes before the last suffix."""
    if variant is None:
        return []
    return [f"{n.rpartition('.')[0]}.{variant}.{n.rpartition('.')[2]}" for n in WEIGHT_FILES]


def _variant_of(path: Path) -> list[str]:
    """Return the variant that a file's name has, if it has one."""
    parts = path.name.split(".")
    named = [p for p in parts[1:-1] if p not in ("safetensors", "bin", "index")]
    if named and "-of-" in named[0]:  # a shard, whose index tells of it
        return []
    return named if len(named) == 1 and path.name in _of_variant(named[0]) else []


def _read_sharded(index: Path) -> dict[str, Tensor]:
    with reading(index, CheckpointError, at_most=TEXT_BYTES):
        text = index.read_text()
    try:
        names = sorted(set(json.loads(text)["weight_map"].values()))
    except Exception as error:  # a damaged file may hold anything
        raise CheckpointError(f"{str(index)!r} is no index of weight files: {error}") from error
    state: dict[str, Tensor] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{str(index)!r} names a file outside its folder: {name!r}")
        if Path(name).suffix not in SHARD_SUFFIXES:
            raise CheckpointError(
                f"{str(index)!r} names {name!r}, expected files of {' or '.join(SHARD_SUFFIXES)}"
            )
        state |= check_state_dict(read_safely(index.parent / name), index.parent / name)
    return state
