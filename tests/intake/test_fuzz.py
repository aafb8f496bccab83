"""Damaged files: each ends in a reason, or in a view that agrees with the file, and none stops `score`."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.configuration import set_hypothesis_home_dir
from mutations import Reader, check, mutants

EXAMPLES = 600


@pytest.fixture
def reader(tmp_path):
    set_hypothesis_home_dir(tmp_path / "home")  # otherwise it creates a folder in the working directory
    reader = Reader(tmp_path)
    yield reader
    reader.close()
    set_hypothesis_home_dir(None)


def test_fuzz(reader):
    """The mutants are the same in each run; `benchmarks/fuzz.py` draws others."""
    counts = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(mutants())
    def holds(mutant):
        read = reader(mutant)
        check(mutant, read)
        counts[read.reason or "scored"] += 1

    holds()
    assert sum(counts.values()) >= EXAMPLES and len(counts) >= 8, counts
    assert 0.1 < counts["scored"] / sum(counts.values()) < 0.7, counts
