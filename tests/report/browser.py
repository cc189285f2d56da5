"""A browser that opens pages as a reader's does, and notes whatever goes wrong in them."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 180_000
"""Milliseconds until something is taken not to happen: other work may keep the machine busy."""

NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Watched:
    """A page, what it wrote to its console, and what it asked of any network."""

    page: object
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def launched():
    """Start the machine's own Chromium; skip where there is none, or nothing to drive it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def opened(browser, path: Path, fragment: str = "", **context):
    """Open a page of a file, and see that it asks for nothing and complains of nothing."""
    surroundings = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    surroundings.set_default_timeout(PATIENCE)
    watched = Watched(surroundings.new_page())
    watched.page.on("console", lambda message: watched.complaints.append(message.text))
    watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    watched.page.goto(path.as_uri() + fragment)
    yield watched.page
    surroundings.close()
    assert watched.complaints == []
    asked = [url for url in watched.requests if not url.startswith(("data:", "blob:"))]
    assert asked == [path.as_uri()]


def accessibility_faults(page):
    """Return what axe-core calls serious or critical; skip where it is not installed."""
    pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    page.evaluate((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    return [
        (fault["id"], [node["html"] for node in fault["nodes"]])
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
