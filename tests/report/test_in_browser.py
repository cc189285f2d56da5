"""The page as a reader has it: opened from a file, by hand and by keyboard."""

import json
from dataclasses import replace

import pytest
import torch

from retrac_plugin import Scores
from retrac_plugin.report import Method, write_page
from retrac_plugin.report.contents import Group
from tests.report import sample
from tests.report.browser import accessibility_faults, launched, opened
from tests.report.test_terms import broken

EVIL = "<script>document.title='x'</script>\"'&\nnew <img src=x onerror=alert(1)>.png"
QUERIES, TRAIN, K = 6, 120, 30


def big_report(**changes):
    """Six queries; image 7 is in the first places of all, by the first method."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(QUERIES, TRAIN, generator=generator)
    second = first + torch.randn(QUERIES, TRAIN, generator=generator)
    first[:, 7] = 9
    errors = {"standard_errors": first.abs() / 4, "rank_errors": torch.ones(QUERIES, TRAIN)}
    return replace(
        sample.report(),
        train_images=torch.rand(TRAIN, 3, 80, 80, generator=generator) * 2 - 1,
        query_images=torch.rand(QUERIES, 3, 80, 80, generator=generator) * 2 - 1,
        methods=[
            Method("First", Scores(first, about={"repeats": 4}, **errors)),
            Method("Second", Scores(second), formula="g", summary="Another."),
        ],
        k=K,
        groups=[Group("Outliers", "They stand out.", [(i, f"+{i}") for i in range(40)])],
        train_labels=(),
        query_labels=(),
        train_is_minority=None,
        train_names=[f"set/{i}.png" if i else EVIL for i in range(TRAIN)],
        train_captions=[f"a picture of {i}" for i in range(TRAIN)],
        query_names=[f"query {i}" for i in range(QUERIES)],
        query_captions=[f"prompt {i}" if i else EVIL for i in range(QUERIES)],
        **changes,
    )


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_page(big_report(), tmp_path_factory.mktemp("page") / "index.html")


def names(page, method, end=0):
    lists = page.get_by_role("region", name=method).locator("ol").nth(end)
    return lists.locator(".name").all_inner_texts()


def expected(method, query, count, end=0):
    order = big_report().methods[method].scores.values[query].argsort(descending=end == 0)
    return [f"set/{i}.png" if i else EVIL for i in order[:count].tolist()]


def asked(page):
    return page.locator("#asked h2").inner_text()


def test_opens_on_the_first_picture_with_its_strongest_by_every_method(browser, path):
    with opened(browser, path) as page:
        assert asked(page) == "query 0"
        for number, method in enumerate(("First", "Second")):
            for end in (0, 1):
                assert names(page, method, end) == expected(number, 0, 12, end)


def test_another_picture_is_chosen_and_the_address_says_which(browser, path):
    with opened(browser, path) as page:
        page.get_by_role("radio").nth(3).locator("..").click()
        assert asked(page) == "query 3"
        assert names(page, "Second") == expected(1, 3, 12)
        assert page.url.endswith("#query-3")
    with opened(browser, path, "#query-3") as page:
        assert asked(page) == "query 3"
    with opened(browser, path, "#query-77") as page:
        assert asked(page) == "query 0"


def test_opens_on_the_picture_that_the_report_says(browser, tmp_path):
    path = write_page(big_report(opening=4), tmp_path / "index.html")
    with opened(browser, path) as page:
        assert asked(page) == "query 4"
    for fragment, number in (("#query-0", 0), ("#query-77", 4)):
        with opened(browser, path, fragment) as page:
            assert asked(page) == f"query {number}"


def split_report():
    """The report; how the first method's scores of query 0 split, for its strongest image."""
    report = big_report()
    first = report.methods[0]
    split = broken(first.scores, [(0, 7)])
    return replace(report, methods=[replace(first, breakdown=split), report.methods[1]]), split


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_a_pair_shows_where_its_score_comes_from(browser, tmp_path, scheme, width):
    report, split = split_report()
    path = write_page(report, tmp_path / "index.html")
    size = {"width": width, "height": 900}
    with opened(browser, path, color_scheme=scheme, viewport=size) as page:
        page.locator(".card button").first.click()
        dialog = page.get_by_role("dialog")
        rows = dialog.locator(".split tr").all()
        texts = [row.locator("th, td").all_inner_texts() for row in rows]
        assert texts[0] == ["Checkpoint", "0", "450", "900", "all"]
        assert [row[0] for row in texts[1:]] == ["480", "2", "all"]
        assert texts[-1][-1] == "+9.00"
        terms = split.values[0][:, [1, 2, 0]]
        for row, expected in zip(texts[1:3], terms, strict=True):
            numbers = [float(text.replace("\N{MINUS SIGN}", "-")) for text in row[1:]]
            wanted = [*expected.tolist(), expected.sum().item()]
            assert numbers == pytest.approx(wanted, abs=0.006)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert accessibility_faults(page) == []
        shown = page.evaluate("[-0.004, 0.004, -0.006, 1.5].map((value) => number(value))")
        assert shown == ["0.00", "0.00", "\N{MINUS SIGN}0.01", "+1.50"]
        page.keyboard.press("ArrowRight")
        assert dialog.locator(".split").count() == 0


def parts_report():
    """The first method's scores of query 0 split for its 10 strongest at either end."""
    report = big_report()
    first = report.methods[0]
    order = first.scores.values[0].argsort(descending=True).tolist()
    split = broken(first.scores, [(0, i) for i in (*order[:10], *order[-10:])])
    return replace(report, methods=[replace(first, breakdown=split), report.methods[1]]), split


def by_part(split, part, sign):
    """The file names of the images that were split, the strongest first by a part of the terms."""
    values = part(split.values).flatten(1).sum(1) * sign
    order = [i for i in values.argsort(descending=True).tolist() if values[i] > 0]
    indices = [int(split.pairs[i, 1]) for i in order]
    return [f"set/{i}.png" if i else EVIL for i in indices]


def test_a_checkpoint_and_timesteps_rank_the_images_that_were_split(browser, tmp_path):
    report, split = parts_report()
    with opened(browser, write_page(report, tmp_path / "index.html")) as page:
        whole = names(page, "First")
        page.get_by_label("Images a list").select_option("30")
        parts = {  # timesteps are given in the order 900, 0, 450
            ("480", "all"): lambda v: v[:, 0],
            ("480", "450"): lambda v: v[:, 0, 2:],
            ("all", "900"): lambda v: v[:, :, 0],
        }
        for (checkpoint, timestep), part in parts.items():
            page.get_by_role("combobox", name="Checkpoint").select_option(label=checkpoint)
            page.get_by_role("combobox", name="Timesteps").select_option(label=timestep)
            for end, sign in enumerate((1, -1)):
                assert names(page, "First", end) == by_part(split, part, sign)
        shown = page.get_by_role("region", name="First").locator(".card b").first.inner_text()
        largest = parts["all", "900"](split.values).sum(1).max().item()
        assert float(shown) == pytest.approx(largest, rel=0.01)
        told = page.locator("#part")
        assert "at timesteps 900 of the picture" in told.inner_text()
        assert "Others may be stronger" in told.inner_text()
        assert "of 20 images that were split" in page.locator("h4").first.inner_text()
        assert "of 0 images that were split" in page.locator("h4").nth(2).inner_text()
        assert accessibility_faults(page) == []
        page.get_by_role("combobox", name="Timesteps").select_option(label="all")
        page.get_by_label("Images a list").select_option("12")
        assert not told.is_visible()
        assert names(page, "First") == whole


def test_timesteps_are_offered_in_few_bands(browser, tmp_path):
    report, split = parts_report()
    timesteps = torch.arange(50.0, 1000, 100).expand(20, 2, -1)
    values = split.values.repeat(1, 1, 4)[:, :, :10] / 4
    values[:, 0, 0] += split.values.sum((1, 2)) - values.sum((1, 2))
    many = replace(split, values=values, timesteps=timesteps)
    report = replace(
        report, methods=[replace(report.methods[0], breakdown=many), report.methods[1]]
    )
    with opened(browser, write_page(report, tmp_path / "index.html")) as page:
        page.get_by_label("Images a list").select_option("30")
        select = page.get_by_role("combobox", name="Timesteps")
        bands = ["50 to 150", "250 to 350", "450 to 550", "650 to 750", "850 to 950"]
        assert select.locator("option").all_inner_texts() == ["all", *bands]
        select.select_option(label="250 to 350")
        assert names(page, "First") == by_part(many, lambda v: v[:, :, 2:4], 1)


def test_pairs_without_common_timesteps_are_ranked_by_checkpoint_alone(browser, tmp_path):
    report, split = parts_report()
    other = replace(split, timesteps=split.timesteps + torch.arange(20.0)[:, None, None])
    report = replace(
        report, methods=[replace(report.methods[0], breakdown=other), report.methods[1]]
    )
    with opened(browser, write_page(report, tmp_path / "index.html")) as page:
        assert page.get_by_role("combobox", name="Timesteps").count() == 0
        page.get_by_role("combobox", name="Checkpoint").select_option(label="2")
        assert names(page, "First") == by_part(other, lambda v: v[:, 1], 1)


def test_filters_by_method_length_agreement_and_generality(browser, path):
    with opened(browser, path) as page:
        page.get_by_label("Images a list").select_option("30")
        assert names(page, "First") == expected(0, 0, 30)
        page.get_by_label("Only where methods agree").check()
        both = set(expected(0, 0, 30)) & set(expected(1, 0, 30))
        assert names(page, "First") == [n for n in expected(0, 0, 30) if n in both]
        page.get_by_label("Only where methods agree").uncheck()
        page.get_by_label("Hide the generally influential").check()
        assert names(page, "First") == [n for n in expected(0, 0, 30) if n != "set/7.png"]
        page.get_by_role("checkbox", name="First").uncheck()
        assert page.locator(".answer").count() == 1
        page.get_by_role("checkbox", name="Second").uncheck()
        assert page.locator(".answer").count() == 0


def test_marks_the_generally_influential_and_where_methods_agree(browser, path):
    with opened(browser, path) as page:
        general = page.locator(".answers .general .name").all_inner_texts()
        assert general == ["set/7.png"]
        both = set(expected(0, 0, 12)) & set(expected(1, 0, 12))
        proponents = page.get_by_role("region", name="First").locator("ol").first
        assert set(proponents.locator(".agreed .name").all_inner_texts()) == both


def test_says_how_many_stand_out_of_the_noise(browser, path):
    with opened(browser, path) as page:
        told = page.locator(".sure").all_inner_texts()
        assert told == [
            "120 of 120 beyond 3 standard errors of 4 draws; about 7 would be by chance"
        ]


def test_is_used_by_keyboard_alone(browser, path):
    with opened(browser, path) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert asked(page) == "query 1"
        for _ in range(6):  # both methods, length, agreement, generality, the first image
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        assert dialog.locator("figcaption").last.inner_text().endswith("\na picture of 7")
        assert "among the 10 first of 6 pictures, of 6" in dialog.inner_text()
        page.keyboard.press("ArrowRight")
        second = expected(0, 1, 2)[1]
        assert second in dialog.locator("figcaption").last.inner_text()
        page.keyboard.press("Escape")
        assert not dialog.is_visible()


def test_ticked_images_are_downloaded_as_a_list_with_their_exact_names(browser, path):
    with opened(browser, path) as page:
        bar = page.get_by_label("Images to leave out")
        assert not bar.is_visible()
        group = page.locator(".group")
        assert group.locator(".card").count() == 24
        page.get_by_role("button", name="Show all 40").click()
        assert group.locator(".card").count() == 40
        for image in (39, 0):
            group.locator(".tick input").nth(image).check()
        assert "2 images to leave out" in bar.inner_text()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the list").click()
        assert download.value.suggested_filename == "leave-out.jsonl"
        lines = download.value.path().read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [
            {"file_name": EVIL, "index": 0},
            {"file_name": "set/39.png", "index": 39},
        ]
        page.get_by_role("button", name="Clear").click()
        assert not bar.is_visible()
        assert page.locator(".tick input:checked").count() == 0


def test_an_image_ticked_in_one_place_is_ticked_in_all(browser, path):
    with opened(browser, path) as page:
        page.locator(".answers .card", has_text="set/7.png").first.get_by_role("button").click()
        page.get_by_role("dialog").get_by_role("checkbox").check()
        page.keyboard.press("Escape")
        assert page.locator(".answers .ticked .name").all_inner_texts()[0] == "set/7.png"
        assert page.locator(".group .tick input").nth(7).is_checked()


def test_whatever_users_wrote_is_shown_as_text(browser, path):
    with opened(browser, path) as page:
        assert page.title() == "A small report"
        assert page.locator("#asked .prompt").text_content() == EVIL
        assert page.locator(".group .name").first.text_content() == EVIL
        assert page.locator("img:not([src^='data:'])").count() == 0


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_is_wider_than_the_window(browser, path, width):
    with opened(browser, path, viewport={"width": width, "height": 800}) as page:
        for fold in page.locator("summary").all():
            fold.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".card button").first.click()
        box = page.get_by_role("dialog").bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_no_serious_fault(browser, path, scheme, width):
    size = {"width": width, "height": 800}
    with opened(browser, path, color_scheme=scheme, viewport=size) as page:
        for fold in page.locator("summary").all():
            fold.click()
        page.locator(".group .tick input").first.check()
        assert accessibility_faults(page) == []
        page.locator(".card button").first.click()
        assert accessibility_faults(page) == []


def test_print_has_the_pictures_and_what_is_to_be_read_but_no_controls(browser, path):
    with opened(browser, path) as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator("#controls").is_visible()
        assert not page.locator("#queries").is_visible()
        assert page.locator(".answers .card").first.is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0


def test_a_large_page_is_light_and_answers_at_once(browser, tmp_path):
    generator = torch.Generator().manual_seed(0)
    queries, train = 200, 3000
    values = torch.randn(2, queries, train, generator=generator)
    waves = torch.linspace(0, 30, 96).sin().outer(torch.linspace(0, 9, 96).cos())
    shade = torch.rand(train, 3, 1, 1, generator=generator)
    report = replace(
        big_report(),
        train_images=(waves * shade).clamp(-1, 1),
        query_images=(waves * shade[:queries]).clamp(-1, 1),
        methods=[Method(f"Method {n}", Scores(v)) for n, v in enumerate(values)],
        k=50,
        groups=(),
        rows=(),
        **{f"{side}_{what}": () for side in ("train", "query") for what in ("names", "captions")},
    )
    path = write_page(report, tmp_path / "large.html")
    assert path.stat().st_size < 20e6
    with opened(browser, path) as page:
        page.get_by_label("Images a list").select_option("50")
        seconds = page.evaluate(
            "() => { const start = performance.now(); showQuery(150); document.body.offsetHeight;"
            " return (performance.now() - start) / 1000 }"
        )
        assert page.locator(".answers .card").count() == 200
        assert seconds < 1
