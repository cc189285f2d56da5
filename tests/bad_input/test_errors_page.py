"""The table in ``docs/reference/errors.md``: each row names a test that is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "reference" / "errors.md"
ROW = re.compile(r"^\| (.+) \| `([\w/.]+)::(\w+)` \|$", re.MULTILINE)


def test_each_row_names_a_test_that_is_there():
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) > 25
    for what, file, name in rows:
        source = (TESTS / file).read_text()
        assert re.search(rf"^ *(def|class) {name}\b", source, re.MULTILINE), what


def test_every_kind_of_the_doors_is_a_row():
    from tests.bad_input.test_doors import ROWS

    named = {name for _, _, name in ROW.findall(PAGE.read_text())}
    assert {spoil.__name__ for spoil in ROWS} <= named
