"""The worked plugin of the docs, built and installed as a third party's distribution."""

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "docs" / "example-plugin"

pytestmark = pytest.mark.skipif(
    not SOURCE.is_dir(), reason="the docs are not part of the installed package"
)

USE = """
import torch, retrac_plugin as retrac
from retrac_plugin import plugins

class Denoiser(torch.nn.Conv2d):
    takes_noise_level = True
    def forward(self, noisy, level):
        return super().forward(noisy) * level[:, None, None, None]

model = retrac.wrap(Denoiser(1, 1, 3, padding=1), retrac.VariancePreserving(torch.rand(10)))
images = torch.rand(5, 1, 4, 4)
checkpoints = [retrac.Checkpoint(model.network.state_dict())]
ours = retrac.DiffusionReTrac(model, checkpoints, query_draws=retrac.Strided(2))
assert ours.attribute(images, images[:2]).values.isfinite().all()

theirs = plugins.get_attributor("edge-similarity")(model, checkpoints)
values = theirs.attribute(images, images[:2]).values
assert values.argmax(1).tolist() == [0, 1]
assert plugins.get_metric("decisiveness")(values, retrac_plugin.metrics.Evidence()) > 0
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the plugin was installed into, and how to run Python with it."""
    target = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*install, *offline, str(SOURCE)], check=True, capture_output=True)

    def run(*arguments):
        command = f"import sys; sys.path.insert(0, {str(target)!r})"
        return subprocess.run(
            [sys.executable, "-c", f"{command}; {arguments[0]}", *arguments[1:]],
            capture_output=True,
            text=True,
        )

    return run


def test_it_is_under_sixty_lines():
    lines = sum(len(p.read_text().splitlines()) for p in SOURCE.glob("retrac_example/*.py"))
    assert lines < 60


def test_its_attributor_metric_and_adapter_work(installed):
    done = installed(f"import retrac_plugin.metrics\nexec({USE!r})")
    assert done.returncode == 0, done.stderr


def test_the_list_says_who_brings_what(installed):
    done = installed("from retrac_plugin.cli import main; main()", "list")
    assert "edge-similarity            cosine of edges [example]" in done.stdout, done.stderr
    assert "decisiveness" in done.stdout
