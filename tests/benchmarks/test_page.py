"""The page of a benchmark."""

import re

import pytest

from retrac_plugin.benchmarks.differences import Difference, write_differences
from retrac_plugin.benchmarks.page import render
from retrac_plugin.benchmarks.panels import panels
from retrac_plugin.benchmarks.rows import Row
from retrac_plugin.benchmarks.tables import read_rows, write_json
from retrac_plugin.errors import InputError
from tests.report.browser import accessibility_faults, launched, opened

ROWS = [
    Row("a", "kind", "lds", 0.1, 0.0, 0.2, True, 3.0),
    Row("b", "kind", "lds", 0.4, 0.3, 0.5, True, 5.0),
    Row("(best possible)", "kind", "lds", 0.3, higher_is_better=True),
    Row("random", "kind", "lds", -0.1, -0.2, 0.0, True, 0.1),
    Row("a", "kind", "hubness@10", 2.0, 1.0, 3.0, False, 3.0),
    Row("b", "kind", "hubness@10", 1.0, 0.5, 1.5, False, 5.0),
    Row("c", "kind", "lds", reason="it <failed>"),
    Row("a", "other", "specificity@10", 0.9, 0.8, 1.0, True, 3.0, 1000, 64.0, {"damping": 0.01}),
]
DIFFERENCES = [
    Difference("kind", "a", "b", -0.3, -0.4, -0.2),
    Difference("kind", "a", "random", 0.2, 0.1, 0.3),
    Difference("kind", "b", "random", 0.5, -0.1, 0.9),
]


@pytest.fixture
def folder(tmp_path):
    write_json(ROWS, {"task": "<small>", "versions": {"torch": "2"}}, tmp_path / "rows.json")
    write_differences(DIFFERENCES, tmp_path / "differences.csv")
    (tmp_path / "lds.png").write_bytes(b"\x89PNG")
    return tmp_path


def of_kind(kind):
    return panels([row for row in ROWS if row.queries == kind], ["random"])


def test_lds_is_the_first_panel_and_the_best_method_its_first_line():
    first, second = of_kind("kind")
    assert (first.metric, second.metric) == ("lds", "hubness@10")
    assert [line.method for line in first.lines] == ["b", "(best possible)", "a", "random"]
    assert [line.method for line in second.lines] == ["b", "a"]  # lower is better
    assert [line.is_control for line in first.lines] == [False, True, False, True]


def test_values_intervals_and_0_lie_on_one_scale():
    panel = of_kind("kind")[0]  # from -0.2 to 0.5
    places = {line.method: (line.start, line.at, line.end) for line in panel.lines}
    assert places["b"] == pytest.approx((71.43, 85.71, 100), abs=0.01)
    assert places["random"] == pytest.approx((0, 14.29, 28.57), abs=0.01)
    assert places["(best possible)"] == pytest.approx((71.43,) * 3, abs=0.01)
    assert panel.zero == pytest.approx(28.57, abs=0.01)


def test_0_is_shown_only_where_it_is_near():
    assert of_kind("other")[0].zero is None
    assert of_kind("kind")[1].zero == 0


def test_says_which_method_is_clearly_above_which_and_what_cannot_be_told_apart(folder):
    html = render(folder, [folder / "lds.png"])
    line = r'scope="row">([^<]*)</th>' + r'\s*<td class="number">(\d)</td><td>([^<]*)</td>' * 2
    assert re.findall(line, html) == [
        ("a", "1", "random", "0", ""),
        ("b", "1", "a", "1", "random"),
        ("random", "0", "", "1", "b"),
    ]


def test_holds_values_cost_reasons_figures_and_how_it_was_measured(folder):
    html = render(folder, [folder / "lds.png"])
    for text in (
        "0.4 [0.3, 0.5]",
        "\N{MINUS SIGN}0.1 [\N{MINUS SIGN}0.2, 0]",
        "damping 0.01",
        "1,000",
        "it &lt;failed&gt;",
        "c by lds",
        "Benchmark: &lt;small&gt;",
        "data:image/png;base64,iVBORw==",
        "torch 2",
    ):
        assert text in html
    assert "<script" not in html


def test_a_figure_that_an_earlier_benchmark_left_is_not_shown(folder):
    (folder / "curve.png").write_bytes(b"\x89PNG old")
    assert render(folder, [folder / "rows.json", folder / "lds.png"]).count("<img") == 1


def test_rows_are_read_back_as_they_were_written(folder):
    assert read_rows(folder / "rows.json") == ROWS


def test_needs_no_differences_and_no_figures(folder):
    (folder / "differences.csv").unlink()
    html = render(folder, [])
    assert "clearly" not in html
    assert "<img" not in html


def test_rows_that_are_none_are_an_error_of_ours(folder):
    (folder / "rows.json").write_text('{"rows": [{"metod": "a"}], "about": {}}')
    with pytest.raises(InputError, match="cannot read the rows"):
        render(folder, [])


def test_a_browser_shows_it_without_a_fault_and_a_request(folder):
    (folder / "index.html").write_text(render(folder, []), encoding="utf-8")
    with launched() as browser:
        for width, scheme in ((390, "dark"), (1280, "light")):
            size = {"width": width, "height": 800}
            path = folder / "index.html"
            with opened(browser, path, viewport=size, color_scheme=scheme) as page:
                page.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                assert page.locator(".panel li").count() == sum(
                    len(panel.lines) for kind in ("kind", "other") for panel in of_kind(kind)
                )
                assert accessibility_faults(page) == []
