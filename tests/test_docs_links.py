"""Every link of the docs and the README leads somewhere; every command they show can be typed."""

import re
import shlex
from pathlib import Path

import click
import pytest

from retrac_plugin.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INCLUDED = re.compile(r"results/\w[\w-]*/table\.md$")  # parts of pages
PAGES = sorted(p for p in DOCS.rglob("*.md") if not INCLUDED.search(p.as_posix()))
LINK = re.compile(r"\]\(([^)\s]+)\)|\{(?:include|literalinclude)\} (\S+)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the docs are not part of the installed package"
)


def anchors(page):
    """Return where a page can be linked: its headings as GitHub and MyST write them, its labels."""
    text = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


def broken(page):
    """Return the relative links of a page that lead nowhere."""
    found = [a or b for a, b in LINK.findall(page.read_text())]
    for link in found:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link) or (target.exists() and not anchor):
            continue
        if not target.exists() or anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {link}"


def test_every_relative_link_leads_somewhere():
    assert len(PAGES) > 30
    assert [one for page in (*PAGES, ROOT / "README.md") for one in broken(page)] == []


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w-]+/[\w-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    there = [str(page.relative_to(DOCS).with_suffix("")) for page in PAGES]
    assert sorted(listed) == sorted(name for name in there if name != "index")


def shown(page):
    """Return the calls of `retrac` in a page's blocks, as words, continued lines joined."""
    blocks = "\n".join(FENCE.findall(page.read_text()))
    lines = re.sub(r"\\+\n\s*", " ", blocks).splitlines()
    for line in lines:
        start = re.match(r"(?:\$ |.*\bshell\(\"+|command = \")?(retrac [a-z][\w-]*.*)", line)
        if start:
            yield shlex.split(re.sub(r"[\"')]+$", "", start[1]), comments=True)


def unknown(words):
    """Return what a call of `retrac` says that the command line does not know."""
    command = main.get_command(click.Context(main), words[1])
    if command is None:
        return [words[1]]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    given = words[2:]
    if words[1] == "record":  # what follows the script or its launcher is theirs
        recorded = (n for n, word in enumerate(given) if re.search(r"\.py$|^[a-z]+$", word))
        given = given[: next(recorded, None)]
    options = [word.partition("=")[0] for word in given if re.match(r"--?[a-z]", word)]
    return [option for option in options if option not in {*known, "-h", "--help"}]


def test_every_command_that_is_shown_can_be_typed():
    calls = [(page, words) for page in (*PAGES, ROOT / "README.md") for words in shown(page)]
    assert len(calls) > 30
    wrong = {(page.name, " ".join(words)): unknown(words) for page, words in calls}
    assert {call: found for call, found in wrong.items() if found} == {}
