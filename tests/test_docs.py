"""The docs must not fall behind the code."""

import ast
import inspect
import re
from importlib import import_module
from inspect import ismodule
from pathlib import Path

import pytest

import retrac_plugin
from retrac_plugin import hookspecs, plugins
from retrac_plugin.metrics import ENTRIES

DOCS = Path(__file__).resolve().parents[1] / "docs"
HOOKS = {
    name: list(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if name.startswith("retrac_")
}

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the docs are not part of the installed package"
)


def documented(page):
    """Return what a page's autodoc directives name."""
    directive = r"^\.\. auto(?:class|function|module|data|exception):: (\S+)$"
    return re.findall(directive, page.read_text(), re.MULTILINE)


def resolve(name):
    """Return what a dotted name stands for."""
    module, attributes = name, []
    while True:
        try:
            found = import_module(module)
            break
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            attributes.insert(0, last)
    for attribute in attributes:
        found = getattr(found, attribute)
    return found


def test_every_hook_is_documented_with_its_arguments():
    headings = re.findall(
        r"^## `(\w+)\((.*)\)`$", (DOCS / "reference" / "hooks.md").read_text(), re.MULTILINE
    )
    documented = {name: [a for a in arguments.split(", ") if a] for name, arguments in headings}
    assert documented == HOOKS


def test_every_public_name_is_on_the_api_page():
    listed = [resolve(name) for name in documented(DOCS / "reference" / "api.md")]
    listed += [thing for one in listed if ismodule(one) for thing in vars(one).values()]
    missing = [
        name
        for name in retrac_plugin.__all__
        if not any(getattr(retrac_plugin, name) is thing for thing in listed)
    ]
    assert missing == [], "public names without a line in docs/reference/api.md"


def test_every_public_name_is_told_to_type_checkers():
    """Those that are loaded on first use; mypy would take them for Any, and say nothing."""
    tree = ast.parse(Path(retrac_plugin.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    told = {alias.name for node in imports for alias in node.names}
    missing = sorted(set(retrac_plugin.__all__) - told)
    assert missing == [], "not under `if TYPE_CHECKING` in retrac_plugin/__init__.py"


def test_every_command_has_a_section():
    page = (DOCS / "reference" / "command-line.md").read_text()
    sections = re.findall(r"^## `retrac ([\w-]+)`$", page, re.MULTILINE)
    assert sorted(sections) == sorted(plugins.commands())


def test_every_metric_has_a_row():
    page = (DOCS / "reference" / "metrics.md").read_text()
    family = {entry.name: entry.name.partition("@")[0] + "@K" for entry in ENTRIES}
    missing = [n for n in family if f"`{n}`" not in page and f"`{family[n]}`" not in page]
    assert missing == [], "no row in docs/reference/metrics.md"


def test_what_the_pages_list_can_be_imported():
    names = {name for page in DOCS.rglob("*.md") for name in documented(page)}
    assert len(names) > 40
    for name in names:
        assert resolve(name) is not None


def test_the_example_plugin_imports_only_what_the_api_page_lists():
    """So a plugin can be written from the docs alone."""
    listed = set(documented(DOCS / "reference" / "api.md"))
    used = set()
    for path in (DOCS / "example-plugin").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("retrac_plugin"):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert len(used) > 3
    assert used - listed == set()
