"""A kind of row: all that decides a row of a store beside its sample, in parts that have names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retrac_plugin.data.encoded import digest
from retrac_plugin.errors import InputError
from retrac_plugin.errors.guards import TEXT_BYTES, reading, writing
from retrac_plugin.files import write_atomically

FILE = "kind.json"


@dataclass(frozen=True)
class Kind:
    """What decides the rows of one kind.

    Attributes:
        label: Of what they are, for people.
        parts: What decides them, each as text or a digest, by name.
    """

    label: str
    parts: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Tells the kind from every other."""
        return digest(json.dumps(dict(self.parts), sort_keys=True))

    @property
    def folder(self) -> str:
        """The name of the folder of its rows."""
        return f"{self.label}-{self.digest[:16]}"

    def differences(self, other: Kind) -> list[str]:
        """Return in which parts another kind differs."""
        names = dict.fromkeys([*self.parts, *other.parts])
        return [name for name in names if self.parts.get(name) != other.parts.get(name)]

    def save(self, folder: Path) -> None:
        """Write it into its folder.

        Raises:
            OutputError: If it cannot be written.
        """
        text = json.dumps({"label": self.label, "parts": dict(self.parts)}, indent=1)
        with writing(folder / FILE):
            write_atomically(folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))

    @classmethod
    def load(cls, folder: Path) -> Kind:
        """Read it from its folder.

        Raises:
            InputError: If it is damaged, or its folder is not called as it is.
        """
        path = folder / FILE
        with reading(path, InputError, "the kind of rows in", at_most=TEXT_BYTES):
            found = json.loads(path.read_text(encoding="utf-8"))
            kind = cls(str(found["label"]), {str(k): str(v) for k, v in found["parts"].items()})
        if kind.folder != folder.name:
            raise InputError(f"{str(path)!r} is not of this folder: delete the folder")
        return kind
