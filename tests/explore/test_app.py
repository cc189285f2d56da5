"""``retrac explore`` as it is served: to this machine alone, the whole way in a browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from retrac_plugin.cli import main
from retrac_plugin.explore.app import serving
from retrac_plugin.explore.asking import Explorer
from tests.report.browser import PATIENCE, accessibility_faults, launched
from tests.run_folders import record, write_images, write_run

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed")

METHODS = ("retrac-ridge", "retrac-kernel", "diffusion-retrac")
FEW = ("--timesteps", "2", *(word for name in METHODS for word in ("--method", name)))
STEPS = (90, 180)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored")
    levels = torch.randint(256, (8, 8, 8), generator=torch.Generator().manual_seed(0))
    images = levels[:, None].float() / 127.5 - 1
    record(write_run(folder / "run", steps=STEPS), images, steps=STEPS)
    write_images(folder / "train.safetensors", images)
    Image.fromarray(levels[3].byte().numpy()).save(folder / "<b>third.png")
    Image.new("RGB", (5, 5)).save(folder / "wrong.png")
    given = [folder / "run", "--train", folder / "train.safetensors", "--store", folder / "store"]
    done = CliRunner().invoke(main, ["featurize", *map(str, given), *FEW])
    assert done.exit_code == 0, done.output
    return folder


def command(files, *more):
    given = [files / "run", "--train", files / "train.safetensors", "--store", files / "store"]
    options = [*map(str, given), *FEW, "--breakdown", *more]
    return [sys.executable, "-m", "retrac_plugin", "explore", *options]


def _interruptible():
    """Take SIGINT, which jobs in the background of a shell are born to ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
        preexec_fn=_interruptible,
    ) as process:
        try:
            told = next(line for line in process.stdout if "Open http" in line)
            yield re.search(r"http://\S+", told)[0], temporary
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=180) is not None
        finally:
            process.kill()  # or leaving the block waits for one that goes on
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
        done = subprocess.run(command(files, *option), capture_output=True, text=True, timeout=600)
        assert done.returncode == 1
        assert told in done.stderr


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@contextmanager
def opened(browser, url, **context):
    """Open the explorer, and see that it asks for nothing elsewhere and that nothing fails."""
    surroundings = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    surroundings.set_default_timeout(PATIENCE)
    page, requests, wrong = surroundings.new_page(), [], []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_selector("input[type=file]", state="attached")
    yield page
    surroundings.close()
    assert wrong == []
    assert [u for u in requests if not u.startswith((url.rstrip("/"), "data:", "blob:"))] == []


def bring(page, path):
    page.set_input_files("input[type=file]", path)
    page.get_by_text(path.suffix).first.wait_for()
    page.get_by_role("button", name="Show its proponents", exact=True).click()


def answer_of(page):
    answer = page.frame_locator("iframe[title='The answer']")
    answer.get_by_role("heading", level=1).wait_for()
    return answer


def test_from_a_picture_to_its_proponents(browser, files, served):
    url, temporary = served
    with opened(browser, url) as page:
        bring(page, files / "<b>third.png")
        answer = answer_of(page)
        told = answer.locator("body").inner_text()
        assert "1 picture and 8 training images, by ReTrac ridge, ReTrac kernel" in told
        assert answer.locator("#asked h2").inner_text() == "bthird.png"  # as gradio names it
        assert [path for path in temporary.rglob("*.png")] == []


def test_its_lists_are_ranked_by_one_checkpoint_or_some_timesteps_alone(browser, files, served):
    with opened(browser, served[0]) as page:
        bring(page, files / "<b>third.png")
        answer = answer_of(page)
        answer.get_by_role("combobox", name="Checkpoint").select_option(label="90")
        assert "at checkpoint 90" in answer.locator("#part").inner_text()
        answer.get_by_role("combobox", name="Timesteps").select_option(index=1)
        assert "at timesteps" in answer.locator("#part").inner_text()
        listed = answer.get_by_role("region", name=re.compile("retrac", re.IGNORECASE))
        assert listed.last.locator(".card").count() > 0


def test_a_picture_that_does_not_fit_is_refused_with_the_reason(browser, files, served):
    with opened(browser, served[0]) as page:
        bring(page, files / "wrong.png")
        page.get_by_text("which the model was made for").first.wait_for()


def test_a_picture_is_drawn_by_keyboard_alone_and_its_lists_are_filtered(browser, served):
    url, temporary = served
    with opened(browser, url) as page:
        seed = page.get_by_role("spinbutton", name="Seed")
        seed.focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("7")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("2")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        answer = answer_of(page)
        assert answer.locator("#asked h2").inner_text() == "seed 7, 2 steps.png"
        assert answer.locator(".answer").count() == 3
        page.keyboard.press("Tab")  # into the answer, onto the picture
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        answer.locator(".answer").nth(2).wait_for(state="detached")
        assert answer.locator(".answer").count() == 2
        assert [path for path in temporary.rglob("*.png")] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_serious_fault_and_nothing_is_too_wide(browser, served, scheme, width):
    size = {"width": width, "height": 900}
    with opened(browser, served[0], color_scheme=scheme, viewport=size) as page:
        page.get_by_role("spinbutton", name="Denoising steps").fill("2")
        page.get_by_role("button", name="Draw a picture").click()
        answer_of(page)
        page.mouse.move(0, 0)
        for part in page.frames:
            assert part.evaluate("document.documentElement.scrollWidth") <= width
            assert accessibility_faults(part) == []


# gradio looks for a port with sockets that it leaves open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_where_nothing_draws_the_reason_stands_in_the_button_s_place(browser):
    explorer = Explorer(lambda *_: None, lambda _: "", False, "its pipeline is a <b>Strange</b>")
    with (
        serving(explorer, "Nothing.", "127.0.0.1", None) as app,
        opened(browser, app.local_url) as page,
    ):
        page.get_by_text(
            "No picture can be drawn here: its pipeline is a <b>Strange</b>."
        ).wait_for()
        assert page.get_by_role("button", name="Draw").count() == 0
