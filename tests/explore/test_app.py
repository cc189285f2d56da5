"""``retrac explore`` as it is served: to this machine alone, the whole way in a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from importlib.util import find_spec

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from retrac_plugin.cli import main
from tests.report.browser import launched
from tests.run_folders import record, write_images, write_run

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")

FEW = ("--timesteps", "2", "--method", "retrac-ridge")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    levels = torch.randint(256, (8, 8, 8), generator=torch.Generator().manual_seed(0))
    images = levels[:, None].float() / 127.5 - 1
    record(write_run(folder / "run", steps=(90,)), images, steps=(90,))
    write_images(folder / "train.safetensors", images)
    Image.fromarray(levels[3].byte().numpy()).save(folder / "<b>third.png")
    Image.new("RGB", (5, 5)).save(folder / "wrong.png")
    given = [folder / "run", "--train", folder / "train.safetensors", "--store", folder / "store"]
    done = CliRunner().invoke(main, ["featurize", *map(str, given), *FEW])
    assert done.exit_code == 0, done.output
    return folder


def command(files, *more):
    given = [files / "run", "--train", files / "train.safetensors", "--store", files / "store"]
    return [sys.executable, "-m", "retrac_plugin", "explore", *map(str, given), *FEW, *more]


@pytest.fixture(scope="module")
def served(files):
    """The address, and the folder in which temporary files are made."""
    temporary = files / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(files),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        told = next(line for line in process.stdout if "Open http" in line)
        yield re.search(r"http://\S+", told)[0], temporary
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) is not None
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


def test_it_is_served_to_loopback_alone(served):
    url, _ = served
    with urllib.request.urlopen(url) as answered:
        assert answered.status == 200
    port = int(url.rstrip("/").rpartition(":")[2])
    other = socket.gethostbyname(socket.gethostname())
    if not other.startswith("127."):
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((other, port), timeout=2)


def test_other_hosts_and_taken_ports_are_errors_that_say_what_to_do(files, served):
    port = served[0].rstrip("/").rpartition(":")[2]
    for option, told in ((("--host", "0.0.0.0"), "ssh -L"), (("--port", port), "Name another")):
        done = subprocess.run(command(files, *option), capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert told in done.stderr


def test_from_a_picture_to_its_proponents_in_a_browser(files, served):
    url, temporary = served
    with launched() as browser:
        page = browser.new_page()
        requests, failures = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(url)
        page.wait_for_selector("input[type=file]", state="attached")
        page.set_input_files("input[type=file]", files / "<b>third.png")
        page.wait_for_timeout(1000)
        page.get_by_role("button", name="Show its proponents").click()
        answer = page.frame_locator("iframe[title='The answer']")
        answer.get_by_role("heading", level=1).wait_for(timeout=30_000)
        assert (
            "1 picture and 8 training images, by ReTrac ridge"
            in answer.locator("body").inner_text()
        )
        assert [path for path in temporary.rglob("*.png")] == []
        page.reload()
        page.wait_for_selector("input[type=file]", state="attached")
        page.set_input_files("input[type=file]", files / "wrong.png")
        page.wait_for_timeout(1000)
        page.get_by_role("button", name="Show its proponents").click()
        page.get_by_text("which the model was made for").first.wait_for(timeout=30_000)
        assert [u for u in requests if not u.startswith((url.rstrip("/"), "data:", "blob:"))] == []
        assert failures == []
