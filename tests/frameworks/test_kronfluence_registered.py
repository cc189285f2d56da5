"""What is known of kronfluence's methods whether it is installed or not."""

import subprocess
import sys

import pytest

from retrac_plugin.frameworks import kronfluence_methods


def run(statement):
    return subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True)


def test_every_method_is_registered():
    pytest.importorskip("kronfluence", reason="kronfluence is not installed, see make test")
    from retrac_plugin.frameworks.kronfluence.methods import STRATEGIES

    entries = list(kronfluence_methods.retrac_register_attributors())
    assert {entry.name for entry in entries} == set(STRATEGIES)
    assert all("kronfluence" in entry.needs and entry.source for entry in entries)
    assert all(isinstance(entry.load(), type) for entry in entries)


def test_registering_them_imports_nothing_heavy():
    done = run(
        "import sys; from retrac_plugin.frameworks import kronfluence_methods as m;"
        "list(m.retrac_register_attributors());"
        "assert not {'torch', 'kronfluence'} & set(sys.modules)"
    )
    assert done.returncode == 0, done.stderr


def test_torchvision_is_not_imported():
    pytest.importorskip("kronfluence", reason="kronfluence is not installed, see make test")
    done = run(
        "import sys; sys.modules['torchvision'] = None;import retrac_plugin.frameworks.kronfluence"
    )
    assert done.returncode == 0, done.stderr


def test_where_it_is_missing_the_error_says_what_to_install():
    done = run(
        "import sys; sys.modules['kronfluence'] = None;import retrac_plugin.frameworks.kronfluence"
    )
    commands = "pip install 'retrac-plugin[kronfluence]' && pip install --no-deps kronfluence"
    assert commands in done.stderr
