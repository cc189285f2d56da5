"""Fuzzes by hand, for as long as told: ``python -m tests.fuzzing SECONDS [FORMAT ...]``.

Prints how many inputs were read, how many ended in errors of ours, and each place that raised
another error, with how often it did.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzzing.formats import FORMATS
from tests.fuzzing.reading import Hang, Outcome, outcome_of, quiet

MEMORY = 12 * 2**30


def main(seconds: float, names: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    counts, places = Counter(), Counter()
    for name in names:
        until = time.monotonic() + seconds / len(names)
        before = counts["inputs"]
        with tempfile.TemporaryDirectory() as home:
            _fuzz(name, Path(home), until, counts, places)
        print(f"{name}: {counts['inputs'] - before} inputs", flush=True)
    print(dict(counts))
    for place, count in places.most_common():
        print(f"{count:6} {place!a}")
    return len(places)


def _fuzz(name, home, until, counts, places) -> None:
    form = FORMATS[name]
    form.make(home)
    good = (home / form.file).read_bytes()
    assert outcome_of(form.read, home) is Outcome.RIGHT, name

    @settings(
        max_examples=10**6,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(form.damaged(good))
    def try_one(damaged):
        if time.monotonic() > until:
            raise TimeoutError
        (home / form.file).write_bytes(damaged)
        counts["inputs"] += 1
        try:
            with quiet():
                counts[outcome_of(form.read, home).value] += 1
        except Hang:
            places[f"{name}: HANG"] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)
            own = [f for f in last if "/retrac_" in f.filename][-1]
            place = f"{Path(own.filename).name}:{own.lineno} {type(error).__name__}: {error}"
            places[f"{name}: {place[:150]}"] += 1

    with contextlib.suppress(TimeoutError):
        try_one()


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:] or list(FORMATS)) > 0)
