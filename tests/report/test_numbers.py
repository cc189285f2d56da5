import pytest

from retrac_plugin.report.numbers import decimals_for, exponent, row_texts, score_text, unit_text

NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "power"),
    [([3e-5, -7e-6], -5), ([0.5, -0.1], 0), ([0.02], -2), ([999.0], 0), ([1000.0], 3), ([0.0], 0)],
)
def test_takes_out_powers_of_ten_that_are_hard_to_read(scores, power):
    assert exponent(scores) == power


def test_writes_scores_in_that_unit():
    assert score_text(-3.456e-5, -5) == "\N{MINUS SIGN}3.46"
    assert score_text(0.5, 0) == "+0.50"
    assert unit_text(-5) == "scores \N{MULTIPLICATION SIGN} 10⁻⁵"
    assert unit_text(0) == ""


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.25, 0.5), ["0.250", "0.500"]),
        ((12.0, 3.0), ["12", "3"]),
        ((2.346, 1.0), ["2.35", "1.00"]),
        ((41.26, NAN), ["41.3", "n/a"]),
        ((-0.5, 1.0), ["\N{MINUS SIGN}0.500", "1.000"]),
        ((NAN,), ["n/a"]),
    ],
)
def test_writes_a_row_with_the_decimals_it_needs(values, texts):
    assert row_texts(values) == texts


def test_scores_have_the_decimals_that_tell_them_apart():
    scores = [0.123411, 0.123422, 0.5]
    assert decimals_for(scores, 0) == 5
    assert score_text(scores[0], 0, decimals=5) == "+0.12341"
    assert decimals_for([0.1, 0.1, 0.2], 0) == 2
