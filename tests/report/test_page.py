import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from retrac_plugin import Scores, files
from retrac_plugin.report import write_page
from retrac_plugin.report.neighbours import opponents, proponents
from retrac_plugin.report.numbers import PLUS_MINUS, exponent, score_text
from retrac_plugin.report.page import render
from tests.report import sample

VOID = {"meta", "img", "wbr", "circle", "line", "polyline"}


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


@pytest.fixture(scope="module")
def html():
    return render(sample.report())


def test_needs_nothing_from_elsewhere(html):
    elements = Elements(html)
    assert not elements.named("script", "link", "iframe")
    assert all(image["src"].startswith("data:image/png") for image in elements.named("img"))
    assert all(link["href"].startswith("#") for link in elements.named("a"))
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_holds_every_id_score_and_label(html):
    report = sample.report()
    text = re.sub(r"<[^>]*>", " ", html)
    for method in report.methods:
        for query in range(sample.QUERIES):
            for one in proponents(report, method, query) + opponents(report, method, query):
                assert f"#{one.index} " in text
    assert "scores \N{MULTIPLICATION SIGN} 10⁻⁵" in text


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
        "retrac demo --seed 0",
        "learning rate",
        "photo patch",
    ):
        assert text in html


def test_is_accessible(html):
    elements = Elements(html)
    assert all(image["alt"] for image in elements.named("img"))
    assert all(header["scope"] in ("col", "row") for header in elements.named("th"))
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a["aria-labelledby"] for _, a in elements.found if "aria-labelledby" in a]
    assert set(named) <= set(ids)
    assert {link["href"][1:] for link in elements.named("a")} <= set(ids)


def test_only_the_better_value_is_bold(html):
    assert re.findall(r'class="number best">([^<]*)<', html) == ["0.500"]


def test_escapes_what_users_write():
    evil = "<script>alert('x')</script>"
    method = sample.report().methods[0]
    html = render(
        sample.report(
            title=evil,
            lead=evil,
            train_labels=[evil] * sample.TRAIN,
            query_labels=[evil] * sample.QUERIES,
            minority_name=f'"{evil}',
            methods=[type(method)(evil, method.scores, formula=evil, summary=evil)],
            rows=[sample.MetricRow(evil, (1.0,), meaning=evil, caution=evil)],
            configuration={evil: evil},
            command=evil,
            notes=[evil],
            symbols=evil,
        )
    )
    assert not Elements(html).named("script")
    assert "<script" not in html


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
    assert Elements(render(sample.report(**changes))).named("article")


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
    scores = Scores(values, standard_errors=values.abs() / 4)
    methods = [replace(report.methods[0], scores=scores), *report.methods[1:]]
    shown = render(replace(report, methods=methods))
    first = float(values[0].max())
    power = exponent([first])
    assert score_text(first, power, first / 4) in re.sub(r"<[^>]*>", "", shown)
    assert PLUS_MINUS not in render(report)
