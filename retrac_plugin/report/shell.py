"""What all pages have in common: one HTML file that may load nothing and run one script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from retrac_plugin.files import write_atomically

GENERATOR = '<meta name="generator" content="retrac-plugin">'
"""By which a page of ours is known."""


def fill(template: str, scripts: Sequence[str] = (), **values: Any) -> str:
    """Return a template with values; every text in it is escaped.

    The page's policy forbids whatever it does not need: it can load nothing from anywhere, and
    runs no script but ours, which the policy knows by its digest.

    Args:
        template: Its file below ``templates``.
        scripts: The parts of its script, likewise, in order.
        values: What it is given.
    """
    environment = Environment(
        loader=PackageLoader("retrac_plugin.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "".join(_part(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return environment.get_template(template).render(
        **values, generator=Markup(GENERATOR), script=Markup(script), digest=digest
    )


def put(html: str, path: Path) -> Path:
    """Write a page, whole or not at all, and return its path.

    File names may hold bytes that are no text; each becomes a question mark.
    """
    page = html.encode("utf-8", errors="replace")
    write_atomically(path, lambda temporary: temporary.write_bytes(page))
    return path


def is_ours(path: Path) -> bool:
    """Say whether a file is a page of ours, so that it may be written over."""
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(2048)


def _part(name: str) -> str:
    return (files("retrac_plugin.report") / "templates" / name).read_text(encoding="utf-8")
