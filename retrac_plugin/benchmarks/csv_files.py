"""Records as CSV, a line each, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from retrac_plugin.files import write_atomically


def write_records(kind: type[Any], records: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write records, whole or not at all.

    Args:
        kind: The dataclass whose fields are the columns.
        records: A mapping each, by the names of its fields.
        path: The file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    write_atomically(path, lambda file: file.write_text(text.getvalue()))
