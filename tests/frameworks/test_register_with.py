"""``register_with`` puts our classes where a framework's users look; each in its own process."""

import subprocess
import sys

import pytest

from retrac_plugin import register_with
from retrac_plugin.errors import PluginError
from retrac_plugin.frameworks import FRONTENDS


def run(statement):
    return subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True)


@pytest.mark.parametrize("framework", FRONTENDS)
def test_the_names_can_be_imported_from_the_framework(framework):
    ours, theirs, names = FRONTENDS[framework]
    done = run(
        f"import retrac_plugin; retrac_plugin.register_with({framework!r});"
        f"retrac_plugin.register_with({framework!r});"
        f"from {theirs} import {', '.join(names)};"
        f"import {ours} as ours, {theirs} as theirs;"
        f"assert {names[0]} is ours.{names[0]};"
        f"assert all(theirs.__all__.count(name) == 1 for name in {names!r})"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("framework", FRONTENDS)
def test_nothing_is_added_unasked(framework):
    ours, theirs, names = FRONTENDS[framework]
    done = run(f"import {ours}, {theirs}; assert not hasattr({theirs}, {names[0]!r})")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("framework", FRONTENDS)
def test_a_missing_framework_says_what_to_install(framework):
    done = run(
        f"import sys; sys.modules[{framework!r}] = None; import retrac_plugin;"
        f"retrac_plugin.register_with({framework!r})"
    )
    assert f"pip install 'retrac-plugin[{framework}]'" in done.stderr


def test_an_unknown_framework_names_the_known_ones():
    with pytest.raises(PluginError, match="unknown framework 'trak': expected one of captum"):
        register_with("trak")
