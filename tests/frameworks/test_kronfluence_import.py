"""What importing kronfluence's methods takes, whether it is installed or not."""

import subprocess
import sys

import pytest


def run(statement):
    return subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True)


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
