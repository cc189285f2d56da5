"""The pages that commands leave, as a reader opens them: of the demo's run, and of an adapter's."""

import json
import re

import pytest

from retrac_plugin.attribution.breakdown_files import Breakdown
from tests.adapters.latents.lora_run import write_lora_run
from tests.cli.calling import called
from tests.report.browser import accessibility_faults, launched, opened

SCRIPT = "<script>document.title='x'</script>\"'&\n"
NAME = "<img src=x onerror=alert(1)>\"'&\n{}.png"
LOOKS = [("light", 1280), ("dark", 390)]


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("sklearn")
    out = tmp_path_factory.mktemp("demo")
    called("demo", "--recipe", "quick", "--out", out)
    return out / "index.html"


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """The page of two pictures by an adapter that was trained on files of hostile names."""
    here = tmp_path_factory.mktemp("lora")
    captions = [f"{SCRIPT}{i}" for i in range(6)]
    run = write_lora_run(here, (10, 20), captions, name=NAME)
    given = ("--queries", here / "images", "--timesteps", 4, "--noise-draws", 1, "--top", 3)
    more = ("--repeats", 2, "--breakdown", "--cache", here / "cache", "--out", here / "out")
    called("attribute", run, *given, *more)
    return here / "out" / "index.html"


@pytest.fixture(params=["demo", "lora"])
def page_of(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_axe_finds_no_serious_fault_and_nothing_is_too_wide(browser, page_of, scheme, width):
    size = {"width": width, "height": 800}
    with opened(browser, page_of, color_scheme=scheme, viewport=size) as page:
        for fold in page.locator("summary").all():
            fold.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert accessibility_faults(page) == []
        page.locator(".card button").first.click()
        assert page.get_by_role("dialog").locator(".split").count() >= 1
        assert accessibility_faults(page) == []


def test_pictures_methods_and_parts_are_chosen_by_keyboard_alone(browser, page_of):
    with opened(browser, page_of) as page:
        asked = page.locator("#asked h2")
        first = asked.text_content()
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert asked.text_content() != first
        page.keyboard.press("Tab")  # the first method
        assert page.locator(".answer").count() == 2
        page.keyboard.press("Space")
        assert page.locator(".answer").count() == 1
        page.keyboard.press("Space")
        for _ in range(10):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.parentElement.textContent").startswith("Time"):
                break
        page.keyboard.press("ArrowDown")
        assert "at timesteps" in page.locator("#part").inner_text()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("ArrowDown")
        assert "at checkpoint" in page.locator("#part").inner_text()
        assert page.locator(".answers .card").count() > 0


def test_hostile_names_and_captions_are_text_and_are_exported_as_they_are(browser, lora):
    with opened(browser, lora) as page:
        names = page.evaluate("data.images.map((image) => image.name)")
        assert set(names) <= {NAME.format(i) for i in range(7)}
        assert all(name in names for name in page.locator(".card .name").all_text_contents())
        assert page.locator("#asked h2").text_content() in {NAME.format(i) for i in range(7)}
        assert page.locator("#asked .prompt").text_content().startswith(SCRIPT)
        assert page.locator("main script, main img:not([src^='data:'])").count() == 0
        page.locator(".card button").first.click()
        page.get_by_role("dialog").get_by_role("checkbox").check()
        shown = page.get_by_role("dialog").locator("figcaption").last.text_content()
        page.keyboard.press("Escape")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the list").click()
        (line,) = download.value.path().read_text(encoding="utf-8").splitlines()
        assert json.loads(line)["file_name"] in shown


def test_a_part_ranks_by_what_the_file_of_the_breakdown_says(browser, lora):
    split = Breakdown.load(lora.parent / "diffusion-retrac-breakdown.safetensors")
    with opened(browser, lora) as page:
        page.get_by_role("combobox", name="Checkpoint").select_option(label="20")
        region = page.get_by_role("region", name=re.compile("retrac", re.IGNORECASE))
        shown = (
            region.locator("ol, .none")
            .first.locator("li")
            .evaluate_all(
                "(items) => items.map((item) => data.images[Number(item.dataset.image)].index)"
            )
        )
        pairs = {int(i): n for n, (query, i) in enumerate(split.pairs.tolist()) if query == 0}
        values = {i: split.values[n, 1].sum().item() for i, n in pairs.items()}
        above = [i for i in values if values[i] > 0]
        assert shown == sorted(above, key=values.get, reverse=True)
