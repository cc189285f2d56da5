"""Where a page's pictures come from: the examples that were attributed, or files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from retrac_plugin.data.image_files import FileExamples, read_examples
from retrac_plugin.data.listed import Listed
from retrac_plugin.data.packed import read_packed
from retrac_plugin.data.pictures import read_picture
from retrac_plugin.errors import InputError
from retrac_plugin.report.contents import Pictures


@dataclass(frozen=True, eq=False)
class ExamplePictures:
    """The pictures of examples, read when they are asked for."""

    examples: FileExamples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor | None:
        return self.examples.picture(index)


@dataclass(frozen=True)
class NamedPictures:
    """Files of a folder by their names, read when they are asked for."""

    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor | None:
        return read_picture(_inside(self.folder, self.names[index]))


def pictures_at(
    path: Path, names: Sequence[str], count: int, positions: Sequence[int] | None = None
) -> Pictures:
    """Return the pictures that scores are of.

    Args:
        path: A folder of images, or what else ``read_examples`` reads.
        names: What the scores call them; empty where they do not.
        count: How many there are.
        positions: Which of the pictures there they are; None: all.

    Raises:
        InputError: If the place has other pictures, or a folder's cannot be told apart since the
            scores have no names.
    """
    if path.is_dir() and read_packed(path) is None:
        if not names:
            raise InputError(
                f"the scores have no names, so which image of {str(path)!r} is which is not known: "
                "pass a file of images in their order"
            )
        missing = next((name for name in names if not _inside(path, name).is_file()), None)
        if missing is not None:
            raise InputError(
                f"the scores are of {missing!r}, which is not in {str(path)!r}: pass the folder "
                "that was attributed"
            )
        return NamedPictures(path, names)
    examples = read_examples(path)
    if positions is not None and max(positions, default=-1) < len(examples):
        examples = Listed(examples, positions)
    if len(examples) != count or (names and list(names) != examples.names):
        raise InputError(
            f"the scores are of {_told(names, count)}, {str(path)!r} holds "
            f"{_told(examples.names, len(examples))}: pass what was attributed"
        )
    return ExamplePictures(examples)


def _told(names: Sequence[str], count: int) -> str:
    first = f", the first of them {names[0]!r}" if names else ""
    return f"{count} image{'s' if count != 1 else ''}{first}"


def _inside(folder: Path, name: str) -> Path:
    """Return a file of a folder; a file of scores can name no other place."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the scores name {name!r}, which lies outside of {str(folder)!r}")
    return path
