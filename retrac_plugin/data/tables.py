"""Images in tables of the datasets library: Arrow files that it saved, and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrac_plugin.errors import InputError
from retrac_plugin.extras import requires


@dataclass(frozen=True, eq=False)
class InTable:
    """An image in a table, which is mapped into memory.

    Attributes:
        images: The table's column, ``{"bytes": ..., "path": ...}`` a row.
        column: Its name.
        row: Which row.
        name: The row's number, and the name of its file, if it had one.
    """

    images: Any
    column: str
    row: int
    name: str

    def read_bytes(self) -> bytes:
        """See ``Packed.read_bytes``.

        Raises:
            InputError: If the table names a file that is not there.
        """
        found = self.images[self.row][self.column]
        content: bytes | None = found["bytes"]
        if content is not None:
            return content
        try:
            return Path(found["path"]).read_bytes()
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"row {self.row} has no image: {error}") from error


def read_tables(
    path: Path, tables: Sequence[Path], caption: str, image: str
) -> list[tuple[InTable, Any]]:
    """Return the images of Parquet files, or of a dataset that was saved, with their captions.

    See ``packed.read_packed``.
    """
    with requires("reading a table of images", "datasets"):
        import datasets
    try:
        if tables:
            found = datasets.Dataset.from_parquet([str(table) for table in tables])
        else:
            found = datasets.load_from_disk(str(path))
    except Exception as error:  # a damaged table may raise anything
        raise InputError(f"cannot read the table {str(path)!r}: {error}") from error
    if isinstance(found, datasets.DatasetDict):
        if "train" not in found:
            raise InputError(f"{str(path)!r} has the splits {sorted(found)}, expected train")
        found = found["train"]
    column = _column(found, image, datasets, path)
    encoded = found.cast_column(column, datasets.Image(decode=False)).select_columns([column])
    captions = found[caption] if caption in found.column_names else None
    digits = len(str(max(0, len(found) - 1)))
    return [
        (InTable(encoded, column, row, f"{row:0{digits}d}"), captions and captions[row])
        for row in range(len(found))
    ]


def _column(found: Any, image: str, datasets: Any, path: Path) -> str:
    """Return the column of images: the one of that name, or the only one."""
    columns = [n for n, kind in found.features.items() if isinstance(kind, datasets.Image)]
    if image in columns or len(columns) == 1:
        return image if image in columns else str(columns[0])
    raise InputError(
        f"{str(path)!r} has the columns {', '.join(found.column_names)}, of which {columns} hold "
        f"images: expected {image!r}, or a single one"
    )
