"""Whatever is read ends in an error of ours or in data, never in another error or a hang.

The same inputs every time, a fixed number of them; ``python -m tests.fuzzing SECONDS`` tries more.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzzing.formats import FORMATS
from tests.fuzzing.reading import Outcome, outcome_of, quiet

SLOW = {"network", "schedule", "run's arguments", "rates", "optimizer", "arguments", "autoencoder"}
"""Read with a whole run, network included."""


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_end_in_errors_of_ours_or_in_data(name, tmp_path):
    form = FORMATS[name]
    form.make(tmp_path)
    good = (tmp_path / form.file).read_bytes()
    assert outcome_of(form.read, tmp_path) is Outcome.RIGHT
    outcomes = set()

    @settings(
        max_examples=12 if name in SLOW else 60,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(form.damaged(good))
    def try_one(damaged):
        (tmp_path / form.file).write_bytes(damaged)
        with quiet():
            outcomes.add(outcome_of(form.read, tmp_path))

    try_one()
    assert Outcome.REFUSED in outcomes, "no input was damaged enough to tell"
