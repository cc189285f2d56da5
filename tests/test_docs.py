"""The docs must not fall behind the code."""

import inspect
import re
from pathlib import Path

import pytest

from retrac_plugin import hookspecs

DOCS = Path(__file__).resolve().parents[1] / "docs"
HOOKS = {
    name: list(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if name.startswith("retrac_")
}


@pytest.mark.skipif(not DOCS.is_dir(), reason="the docs are not part of the installed package")
def test_every_hook_is_documented_with_its_arguments():
    headings = re.findall(r"^## `(\w+)\((.*)\)`$", (DOCS / "hooks.md").read_text(), re.MULTILINE)
    documented = {name: [a for a in arguments.split(", ") if a] for name, arguments in headings}
    assert documented == HOOKS
