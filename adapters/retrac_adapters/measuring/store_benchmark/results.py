"""Results that a run of a benchmark adds to those of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from retrac_adapters.measuring.engine_benchmark.writing import machine
from retrac_plugin.files import write_atomically


@contextmanager
def added_to(file: Path) -> Iterator[dict[str, Any]]:
    """Yield what a JSON file holds; what is added, and the machine, are written at the end."""
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    yield results
    results["machine"] = machine()
    text = json.dumps(results, indent=1)
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
