"""Detection thresholds that are chosen from the scores of the archive itself, for `batch.score_files`.

All thresholds follow one rule: the lowest number of six significant digits (the digits of a table of scores) at which
at least a given share of some views is below it. Ties are kept together, so that more views may be below it.
"""

import csv
import math
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path

from bac_utils._files import file_digest
from bac_utils._tables import read_table
from bac_utils.scoring.journal import name_digest

SPECIFICITY = 0.95
"""Default share of the negatives that must be below the threshold."""
LEAST_NEGATIVES = 20
"""Fewest scored BAC- views for a threshold: the specificity can then be chosen in steps of 5 %."""
DIGITS = Context(prec=6, Emin=-300, Emax=0)
"""Numbers as in a table of scores."""


@dataclass(frozen=True)
class ThresholdRule:
    """The share of some views that must be below the threshold.

    Attributes:
        below: At least this share, in (0, 1).
        record: The rule as recorded next to the table of scores.
        negatives: The views, as absolute paths; None for all scored views.
    """

    below: float
    record: dict
    negatives: frozenset[str] | None = None

    def check_files(self, files: Iterable[str | os.PathLike]) -> None:
        """Raise ValueError unless all listed negatives are among the files to score."""
        missing = set(self.negatives or ())
        if missing:
            missing.difference_update(map(os.path.abspath, files))
        if missing:
            number, first = len(missing), min(missing)
            raise ValueError(f"negatives: got {number} files that are not among those to score, such as {first}")

    def choose(self, scores_csv: Path, negatives: Container[bytes | None] = ()) -> float:
        """Return the threshold for a finished table of scores.

        Args:
            scores_csv: The table.
            negatives: Digests of the names of the listed negatives in it, if the rule has a list.

        Raises:
            ValueError: Too few negatives were scored, or the threshold would exceed 1.
        """
        with open(scores_csv, newline="", encoding="utf-8") as stream:
            scored = (row for row in csv.DictReader(stream) if row["status"] == "scored")
            scores = [row["score"] for row in scored if self.negatives is None or name_digest(row["file"]) in negatives]
        if self.negatives is not None and len(scores) < LEAST_NEGATIVES:
            raise ValueError(f"negatives: got {len(scores)} that could be scored, must be at least {LEAST_NEGATIVES}")
        if not scores:
            raise ValueError("alarm_share: no view could be scored, so that there is no threshold")
        return lowest_threshold(scores, self.below)

    def lists(self, file: Path) -> bool:
        """Return whether a file is one of the listed negatives."""
        return self.negatives is not None and os.path.abspath(file) in self.negatives


def read_rule(
    alarm_share: float | None, negatives: str | os.PathLike | None, specificity: float
) -> ThresholdRule | None:
    """Return the rule for the arguments of `batch.score_files`, or None if neither of the first two is given.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: A share is not between 0 and 1, both rules are given, or the list is too short.
    """
    for name, share in (("alarm_share", alarm_share), ("specificity", specificity)):
        if share is not None and not 0 < share < 1:
            raise ValueError(f"{name}: got {share}, must be above 0 and below 1")
    if alarm_share is not None and negatives is not None:
        raise ValueError("alarm_share: got a share and a list of negatives, must be only one of them")
    if alarm_share is not None:
        return ThresholdRule(1 - alarm_share, {"alarm_share": alarm_share})
    if negatives is None:
        return None
    files = frozenset(map(os.path.abspath, _listed(Path(negatives))))
    if len(files) < LEAST_NEGATIVES:
        raise ValueError(f"negatives: got {len(files)} files, must be at least {LEAST_NEGATIVES}")
    record = {"negatives_sha256": file_digest(Path(negatives)), "specificity": specificity}
    return ThresholdRule(specificity, record, files)


def lowest_threshold(scores: Sequence[str], below: float) -> float:
    """Return the lowest number of six significant digits that at least a given share of the scores is below.

    Args:
        scores: Numbers of at most six significant digits in [0, 1], as text.
        below: The share, in (0, 1).

    Raises:
        ValueError: The number would exceed 1.
    """
    number = max(math.ceil(round(below * len(scores), 6)), 1)  # 0.95 * 20 is 19, whatever the rounding error
    highest = sorted(map(Decimal, scores))[number - 1]
    threshold = DIGITS.next_plus(highest)
    if threshold > 1:
        ones = sum(float(score) == 1 for score in scores)
        raise ValueError(
            f"threshold: {ones} of {len(scores)} views have a score of 1, so that no threshold up to 1 has a share of "
            f"{below:g} below it; choose a lower specificity or a larger share of alarms"
        )
    return float(threshold)


def _listed(path: Path) -> Iterator[str]:
    """Return the files of a list: the column `file` of a CSV file, or one path per line."""
    with open(path, encoding="utf-8-sig", errors="replace") as stream:
        lines = [line.strip() for line in stream]
    if lines and "file" in [cell.strip(' "') for cell in re.split("[,;\t|]", lines[0])]:
        return iter(read_table(path, ("file",)).cells["file"])
    return (line for line in lines if line)
