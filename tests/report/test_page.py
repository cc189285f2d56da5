import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from retrac_plugin import Scores, files
from retrac_plugin.report import write_page
from retrac_plugin.report.contents import Group
from retrac_plugin.report.numbers import PLUS_MINUS, exponent, score_text
from retrac_plugin.report.page import render
from tests.report import sample

VOID = {"meta", "wbr", "circle", "line", "polyline"}


class Elements(HTMLParser):
    """Collects all elements, and complains about tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def named(self, *tags):
        return [attributes for tag, attributes in self.found if tag in tags]


def listed(html):
    """What the script is given."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1]
    )


@pytest.mark.parametrize(("side", "drawn"), [(8, True), (80, False)])
def test_pictures_so_small_that_their_pixels_are_to_be_seen_are_drawn_as_blocks(side, drawn):
    images = torch.zeros(sample.TRAIN, 1, side, side)
    html = render(sample.report(train_images=images, query_images=images[: sample.QUERIES]))
    assert ("<main class=blocks>" in html) == drawn
    assert ('class="evidence blocks"' in html) == drawn


def scripts(html):
    return re.findall(r"<script>(.*?)</script>", html, re.DOTALL)


@pytest.fixture(scope="module")
def html():
    return render(sample.report())


def test_needs_nothing_from_elsewhere(html):
    elements = Elements(html)
    assert not elements.named("link", "iframe", "img", "a", "form")
    assert not any("src" in script for script in elements.named("script"))
    data = listed(html)
    pictures = [*data["images"], *data["queries"]]
    assert all(picture["source"].startswith("data:image/png;base64,") for picture in pictures)
    assert not re.search("https?:|url\\(|@import", html)


def test_its_policy_lets_nothing_be_loaded_and_no_script_run_but_its_own(html):
    (policy,) = [meta["content"] for meta in Elements(html).named("meta") if "http-equiv" in meta]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    (script,) = scripts(html)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_lists_every_neighbour_with_its_score_rank_and_label():
    report = sample.report()
    data = listed(render(report))
    for query in range(sample.QUERIES):
        for method, answer in zip(report.methods, data["answers"][query], strict=True):
            order = method.scores.values[query].argsort(descending=True).tolist()
            high, low = (end["entries"] for end in answer["ends"])
            assert [data["images"][e[0]]["index"] for e in high] == order[: sample.K]
            assert [data["images"][e[0]]["index"] for e in low] == order[::-1][: sample.K]
            assert [e[2] for e in high] == ["1", "2", "3", "4"]
            assert [e[2] for e in low] == ["20", "19", "18", "17"]
            assert all(data["images"][e[0]]["label"] in ("cat", "dog") for e in high + low)
    assert data["answers"][0][0]["unit"] == "scores \N{MULTIPLICATION SIGN} 10⁻⁵"


def test_only_images_that_are_listed_are_read():
    whole = sample.report()
    asked = []

    class Reader:
        def __len__(self):
            return sample.TRAIN

        def __getitem__(self, index):
            asked.append(index)
            return whole.train_images[index]

    data = listed(render(sample.report(train_images=Reader(), k=1)))
    assert set(asked) == {image["index"] for image in data["images"]}
    assert len(set(asked)) < sample.TRAIN


def test_what_is_no_picture_is_listed_without_one():
    class Latents:
        def __len__(self):
            return sample.TRAIN

        def __getitem__(self, index):
            return None

    data = listed(render(sample.report(train_images=Latents())))
    assert {image["source"] for image in data["images"]} == {""}


def test_holds_everything_else(html):
    for text in (
        "<title>A small report</title>",
        "It says little.",
        "lowered the loss of this picture most",
        "n/a",
        "12.5",
        "how different",
        "not how right",
        "τ = &lt;g, g&gt;",
        "q: the query",
        "A note.",
        "noise: drawn anew",
        "retrac demo --seed 0",
        "learning rate",
        "photo patch",
    ):
        assert text in html


def test_is_accessible(html):
    elements = Elements(html)
    assert all(header["scope"] in ("col", "row") for header in elements.named("th"))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in elements.found if "aria-labelledby" in a]
    assert set(named) <= set(ids)


def test_only_the_better_value_is_bold(html):
    assert re.findall(r'class="number best">([^<]*)<', html) == ["0.500"]


def test_escapes_what_users_write():
    evil = "<script>alert('x')</script>\u2028\n\"--><!--"
    method = sample.report().methods[0]
    html = render(
        sample.report(
            title=evil,
            lead=evil,
            train_labels=[evil] * sample.TRAIN,
            train_names=[evil] * sample.TRAIN,
            train_captions=[evil] * sample.TRAIN,
            query_labels=[evil] * sample.QUERIES,
            query_names=[evil] * sample.QUERIES,
            query_captions=[evil] * sample.QUERIES,
            groups=[Group(evil, evil, [(0, evil)])],
            findings=[evil],
            minority_name=f'"{evil}',
            methods=[type(method)(evil, method.scores, formula=evil, summary=evil)],
            rows=[sample.MetricRow(evil, (1.0,), meaning=evil, caution=evil)],
            configuration={evil: evil},
            command=evil,
            notes=[evil],
            symbols=evil,
        )
    )
    assert len(Elements(html).named("script")) == 2
    assert html.count("<script") == 2
    assert listed(html)["images"][0]["caption"] == evil
    assert listed(html)["answers"][0][0]["ends"]


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": (), "query_labels": (), "train_is_minority": None},
        {"rows": (), "norms": None, "configuration": {}, "command": "", "notes": ()},
        {"k": 1},
        {"k": sample.TRAIN},
        {"train_images": torch.zeros(sample.TRAIN, 3, 100, 300)},
        {"methods": [type(sample.report().methods[0])("Only", sample.scores(0))], "rows": ()},
    ],
)
def test_what_is_missing_is_left_out(changes):
    html = render(sample.report(**changes))
    assert Elements(html).found
    assert len(listed(html)["answers"]) == sample.QUERIES


def test_is_the_same_every_time(html):
    assert render(sample.report()) == html


def test_returns_where_it_wrote(tmp_path, html):
    path = write_page(sample.report(), tmp_path / "new" / "page.html")
    assert path == tmp_path / "new" / "page.html"
    assert path.read_text(encoding="utf-8") == html


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")

    def disk_full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", disk_full)
    with pytest.raises(OSError, match="disk full"):
        write_page(sample.report(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == "old"


def test_standard_errors_stand_beside_their_scores():
    report = sample.report()
    values = report.methods[0].scores.values
    errors = {"standard_errors": values.abs() / 4, "rank_errors": torch.full_like(values, 1.25)}
    scores = Scores(values, **errors)
    methods = [replace(report.methods[0], scores=scores), *report.methods[1:]]
    (with_errors, without), *_ = listed(render(replace(report, methods=methods)))["answers"]
    first = float(values[0].max())
    power = exponent([first])
    _, score, rank, _ = with_errors["ends"][0]["entries"][0]
    assert score == score_text(first, power, first / 4)
    assert rank == f"1 {PLUS_MINUS} 1.2"
    assert with_errors["certainty"] == "20 of 20 beyond 3 standard errors"
    assert without["certainty"] == ""
    assert PLUS_MINUS not in without["ends"][0]["entries"][0][1]


def test_a_name_that_is_no_text_does_not_keep_the_page_from_being_written(tmp_path):
    undecodable = "a\udcff.png"  # how Python names a file of other bytes than UTF-8
    report = sample.report(
        train_names=[undecodable] * sample.TRAIN, configuration={"run": undecodable}
    )
    assert "a?.png" in write_page(report, tmp_path / "page.html").read_text(encoding="utf-8")


def test_groups_are_given_in_their_order():
    group = Group("Outliers", "They stand out.", [(7, "+3"), (2, "+1")])
    data = listed(render(sample.report(groups=[group])))
    (found,) = data["groups"]
    assert (found["name"], found["remark"]) == ("Outliers", "They stand out.")
    assert [(data["images"][p]["index"], t) for p, t in found["members"]] == [(7, "+3"), (2, "+1")]


def test_a_page_of_groups_alone_needs_no_method():
    group = Group("Outliers", "They stand out.", [(7, "+3")])
    alone = {"methods": [], "rows": (), "query_images": [], "query_labels": (), "groups": [group]}
    data = listed(render(sample.report(**alone)))
    assert [image["index"] for image in data["images"]] == [7]
