"""The page of the architecture, and the rooms it describes."""

import re
from pathlib import Path

import pytest

import retrac_plugin

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "architecture.md"
PACKAGES = {
    "retrac_plugin": Path(retrac_plugin.__file__).parent,
    "retrac_adapters": ROOT / "adapters" / "retrac_adapters",
}
LONGEST = 220

needs_the_repository = pytest.mark.skipif(
    not PAGE.is_file(), reason="the docs are not part of the installed package"
)


def rooms(folder):
    own = {path.name + "/" for path in folder.iterdir() if (path / "__init__.py").is_file()}
    return own | {path.name for path in folder.glob("[a-z]*.py")}


@needs_the_repository
@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_on_the_page(package):
    cells = re.findall(r"^\|[^|]*\|([^|]+)\|", PAGE.read_text(), re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([\w./]+)`", cell)}
    assert rooms(PACKAGES[package]) <= named


@needs_the_repository
def test_every_file_that_the_page_names_is_there():
    named = set(re.findall(r"`((?:retrac_plugin|adapters|tests)/[\w./]+)`", PAGE.read_text()))
    missing = [n for n in named if "NAME" not in n and not (ROOT / n).exists()]
    assert len(named) > 10
    assert missing == []


@needs_the_repository
def test_no_file_is_longer_than_the_page_says():
    assert f"under {LONGEST} lines" in PAGE.read_text()
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in PACKAGES.values()
        for path in folder.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length >= LONGEST} == {}


@needs_the_repository
def test_no_import_goes_in_circles():
    """Not even one for type checking alone; import-linter holds the rooms, this the files."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph(*PACKAGES)
    waiting = {name: set(graph.find_modules_directly_imported_by(name)) for name in graph.modules}
    while ready := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert sorted(waiting) == []
