"""From the readings of several readers to one label and one length per view, with what is left to adjudicate."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bac_utils.readings.table import KEYS, is_read, readers_in

REASONS = ("", "disagreement", "no majority", "one reading", "no reading", "lengths differ")
"""Why a view should be adjudicated; empty if it need not be."""
LARGEST_DIFFERENCE_MM = 10.0
"""Lengths of readers that differ by more are listed for adjudication, unless another limit is given. A convention of
this kit, not a published limit."""


def majority(readings: pd.DataFrame) -> pd.DataFrame:
    """Take for each view the value that more than half of its readers gave.

    Args:
        readings: One row per view, one column per reader, labels or grades; empty where a reader gave none.

    Returns:
        With the table's index: `consensus` (NaN without a majority), `readings` and `votes` (numbers of readers who
        gave a value, and this value) and `reason`, one of `REASONS`, why a view should be adjudicated: empty if two
        readers or more agree and none differs, `disagreement` (a majority, but not all), `no majority` (ties, too),
        `one reading`, `no reading`. Select the views to adjudicate with `table[table["reason"] != ""]`.

    Raises:
        TypeError: `readings` is not a DataFrame.
        ValueError: There are no readers.
    """
    if not isinstance(readings, pd.DataFrame):
        raise TypeError(f"readings: got {type(readings).__name__}, must be a pandas.DataFrame")
    if not readings.shape[1]:
        raise ValueError("readings: got no columns, must have one per reader")
    rows = [_majority(row[row.notna() & (row != "")]) for _, row in readings.astype(object).iterrows()]
    return pd.DataFrame(rows, columns=["consensus", "readings", "votes", "reason"], index=readings.index)


def side_by_side(readings: pd.DataFrame, column: str, readers: Sequence[str] | None = None) -> pd.DataFrame:
    """Put the readers' values of a column beside each other.

    Args:
        readings: A table of `table.read_file` or `table.read_folder`. Rows of views that the reader has not read are
            left out.
        column: `bac`, `bac_length_mm`, `csbi` or `bac_ss`.
        readers: The readers; all by default.

    Returns:
        One row per view, indexed by `KEYS`, and one column per reader; NaN where a reader gave no value.
    """
    readers = readers_in(readings) if readers is None else list(readers)
    known = readings[is_read(readings) & readings["reader"].isin(readers)]
    values = known.set_index([*KEYS, "reader"])[column]
    index = pd.MultiIndex.from_frame(known[list(KEYS)].drop_duplicates().sort_values(list(KEYS)))
    columns = {name: values[values.index.get_level_values("reader") == name].droplevel("reader") for name in readers}
    return pd.DataFrame({name: found.reindex(index) for name, found in columns.items()}, index=index, dtype=float)


def join_readings(
    readings: pd.DataFrame, adjudicator: str = "", largest_difference_mm: float = LARGEST_DIFFERENCE_MM
) -> pd.DataFrame:
    """Join the readings of a study to one label and one length per view.

    The label is that of the majority; `undecided` counts as no reading. The length of a BAC+ view is the median of the
    lengths that the readers with this label measured (of two, their mean), and missing if none of them measured it;
    that of a BAC- view is 0. Where the adjudicator decided, her label and length count instead; a BAC+ view that she
    did not measure keeps the median of the readers.

    Args:
        readings: A table of `table.read_folder`.
        adjudicator: The reader who decides about the views that are left open; her readings are not counted among the
            others. Empty: nobody.
        largest_difference_mm: Lengths of readers that differ by more are to be adjudicated, mm.

    Returns:
        One row per view that was read: `KEYS`, `bac` (NaN without a majority), `bac_length_mm`, `readings`, `votes` and
        `reason` (`majority`; or `lengths differ`), `length_difference_mm` (largest minus smallest; NaN with fewer than
        two), `adjudicated` (bool). A view that was adjudicated has no `reason`.

    Raises:
        ValueError: The adjudicator has no readings, or is the only reader; or the limit is not above 0.
    """
    if not 0 < largest_difference_mm < np.inf:
        raise ValueError(f"largest_difference_mm: got {largest_difference_mm!r}, must be a number of mm above 0")
    readers = readers_in(readings)
    if adjudicator and adjudicator not in readers:
        raise ValueError(f"adjudicator: got {adjudicator!r}, must be one of {', '.join(map(repr, readers))}, or empty")
    others = [name for name in readers if name != adjudicator]
    if not others:
        raise ValueError(f"readers: got {adjudicator!r} only, must be one or more besides the adjudicator")
    index = side_by_side(readings, "bac").index
    labels = side_by_side(readings, "bac", others).reindex(index)
    lengths = side_by_side(readings, "bac_length_mm", others).reindex(index)
    found = majority(labels)
    table = found.drop(columns="consensus").assign(bac=found["consensus"].astype(float))
    measured = lengths.where(labels.eq(1) & lengths.gt(0))
    table["length_difference_mm"] = (measured.max(axis=1) - measured.min(axis=1)).where(measured.count(axis=1) > 1)
    differ = (table["bac"] == 1) & (table["reason"] == "") & (table["length_difference_mm"] > largest_difference_mm)
    table["reason"] = table["reason"].mask(differ, "lengths differ")
    table["adjudicated"], length = False, measured.median(axis=1)
    if adjudicator:
        hers = side_by_side(readings, "bac", [adjudicator])[adjudicator].reindex(index)
        her_length = side_by_side(readings, "bac_length_mm", [adjudicator])[adjudicator].reindex(index)
        table["adjudicated"] = hers.notna()
        table["bac"], length = hers.fillna(table["bac"]), her_length.where(hers == 1).fillna(length)
        table["reason"] = table["reason"].mask(table["adjudicated"], "")
    table["bac_length_mm"] = length.where(table["bac"] == 1).mask(table["bac"] == 0, 0.0)
    names = ["bac", "bac_length_mm", "readings", "votes", "reason", "length_difference_mm", "adjudicated"]
    return table[names].reset_index()


def _majority(given: pd.Series) -> tuple:
    """Return consensus, readings, votes and reason of one view."""
    if given.empty:
        return np.nan, 0, 0, "no reading"
    counts = given.value_counts()
    votes = int(counts.iloc[0])
    if 2 * votes <= len(given):
        return np.nan, len(given), 0, "no majority"
    reason = "one reading" if len(given) == 1 else "" if votes == len(given) else "disagreement"
    return counts.index[0], len(given), votes, reason
