"""What importing costs; each in a process of its own."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "statement",
    [
        "import retrac_plugin",
        "import retrac_plugin.hookspecs",
        "import retrac_plugin.cli",
        "from retrac_plugin import plugins; plugins.plugin_manager(); plugins.attributors()",
        "from retrac_plugin.cli.main import main; main(['--help'], standalone_mode=False)",
    ],
)
def test_torch_is_not_imported(statement):
    check = "import sys; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", f"{statement}; {check}"], check=True, capture_output=True)


def test_the_core_works_without_diffusers():
    statement = (
        "import sys; sys.modules['diffusers'] = None; import torch, retrac_plugin as retrac;"
        "schedule = retrac.VariancePreserving(torch.linspace(0.99, 0.01, 10));"
        "network = torch.nn.Linear(2, 2);"
        "network.forward = lambda x, t: torch.nn.functional.linear(x, network.weight);"
        "retrac.wrap(network, schedule)"
    )
    subprocess.run([sys.executable, "-c", statement], check=True)
