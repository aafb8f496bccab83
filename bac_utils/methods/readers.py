"""Readers as a method: a length, a CSBI grade, a twelve-point score or BAC-SS from a table of readings.

The semi-automatic tool of Trimboli et al. (Radiol Med 123:168, 2018) and the visual score BAC-SS (Trimboli et al.,
Quant Imaging Med Surg 11:2019, 2021, doi 10.21037/qims-20-560) enter the comparison in this way: a reader measures or
scores the same women, and the table of readings takes the place of a network.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bac_utils._tables import read_table
from bac_utils.burden import READER_SCALES, ReaderScore
from bac_utils.methods.table import correlation, detection
from bac_utils.views_table import VIEWS

LENGTH = "length_mm"
SCALES = (LENGTH, *READER_SCALES)
"""What a reader may give: a length in mm, or points of one of the scales of `burden.ReaderScore`."""
OF_VIEWS, OF_WOMEN = {"bac_length_mm": LENGTH}, {"csbi": "csbi", "bac_ss": "bac_ss"}
"""Columns of the readings of notebook 09, and the scales that they hold."""
SOURCES = {
    LENGTH: "Trimboli et al., Radiol Med 123:168 (2018)",
    "csbi": "Canadian Society of Breast Imaging, position statement",
    "twelve_point": "Margolies et al., JACC Cardiovasc Imaging 9:350 (2016)",
    "bac_ss": "Trimboli et al., Quant Imaging Med Surg 11:2019 (2021), doi 10.21037/qims-20-560",
}


def read_readings(path: str | os.PathLike) -> pd.DataFrame:
    """Read a table of readings.

    Args:
        path: CSV or Excel file with the columns `patient_id, reader, scale` (one of `SCALES`), `value` and, optionally,
            `exam, laterality, view, reading` (1 for the first reading of a reader, 2 for a repeated one). A value
            without a view is that of the woman. Or a file of readings of notebook 09 (`docs/readers.md`), which has
            the columns of `OF_VIEWS` and `OF_WOMEN` in place of `scale` and `value`.

    Returns:
        One row per reading: these columns, `value` float64 and `reading` int64, 1 where empty.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no such table, or a cell breaks its rule; the message names all of them.
    """
    optional = ("exam", "laterality", "view", "reading")
    table = read_table(
        path, ("patient_id", "reader"), (*optional, "scale", "value", *OF_VIEWS, *OF_WOMEN), collect=True
    )
    if not {"scale", "value"} <= set(table.cells):
        if not {*OF_VIEWS, *OF_WOMEN} & set(table.cells):
            raise ValueError(f"{table.name}: got no columns 'scale' and 'value', must have both")
        table = replace(table, cells=_one_value_a_row(table.cells))
    cells = table.cells
    for name in ("patient_id", "reader"):
        table.refuse(cells[name] == "", name, "must be text")
    table.refuse(~cells["scale"].isin(SCALES), "scale", f"must be one of {', '.join(SCALES)}")
    values = table.numbers("value", lambda v: (v >= 0) & (v < np.inf), "must be a number, 0 or more")
    table.refuse(cells["value"] == "", "value", "must be a number, 0 or more")
    found = cells[["patient_id", "reader", "scale"]].assign(value=values)
    for name in ("exam", "laterality", "view"):
        found[name] = cells.get(name, "")
    for name, known in (("laterality", ("L", "R")), ("view", VIEWS)):
        if name in cells:
            table.refuse(~cells[name].isin(("", *known)), name, f"must be {', '.join(known)} or empty")
    found["reading"] = 1
    if "reading" in cells:
        numbers = table.numbers("reading", lambda v: (v >= 1) & (v % 1 == 0), "must be a whole number, 1 or more")
        found["reading"] = numbers.fillna(1).astype("int64")
    table.check()
    for row, reading in zip(cells.index, found.itertuples(), strict=True):
        if reading.scale != LENGTH:
            try:
                ReaderScore(reading.patient_id, reading.scale, reading.value, reading.reader, reading.laterality)
            except ValueError as error:
                raise ValueError(f"{table.name}, row {row}: {error}") from None
    key = ["patient_id", "exam", "laterality", "view", "reader", "scale", "reading"]
    twice = found.duplicated(key)
    if twice.any():
        raise ValueError(f"{table.name}, row {cells.index[twice.argmax()]}: a second value of the same reading")
    return found.reset_index(drop=True)


def _one_value_a_row(cells: pd.DataFrame) -> pd.DataFrame:
    """Return readings of notebook 09 with one value per row; points of a woman come once, without a view."""
    parts = []
    for column, scale in (OF_VIEWS | OF_WOMEN).items():
        if column not in cells:
            continue
        part = cells[cells[column] != ""].assign(scale=scale, value=lambda rows, c=column: rows[c])
        if column in OF_WOMEN:
            part = part.assign(laterality="", view="")
            part = part[~part.duplicated(["patient_id", "reader", "value", *(["exam"] if "exam" in part else [])])]
        parts.append(part)
    return pd.concat(parts).drop(columns=[*OF_VIEWS, *OF_WOMEN], errors="ignore")


@dataclass(frozen=True)
class ReaderScores:
    """The values that one reader gave on one scale.

    Attributes:
        name: Name of the row: `reader NAME, SCALE`, with the number of a repeated reading.
        scale: One of `SCALES`.
        level: `view` if each value is that of a view, else `woman`.
        scores: One row per view or woman: `patient_id, bac, score, bac_length_mm` (of a woman: the sum of her views).
    """

    name: str
    scale: str
    level: str
    scores: pd.DataFrame


def reader_scores(readings: pd.DataFrame, views: pd.DataFrame) -> list[ReaderScores]:
    """Match readings with labels.

    Args:
        readings: Of `read_readings`.
        views: Labelled views of the set on which methods are compared.

    Returns:
        One entry per reader, scale and reading; those without a value in the set are left out.
    """
    found = []
    views = views.assign(exam=views.get("exam", ""))
    if "bac_length_mm" not in views:
        views = views.assign(bac_length_mm=np.nan)
    for (reader, scale, number), part in readings.groupby(["reader", "scale", "reading"], sort=True):
        level = "view" if ((part["laterality"] != "") & (part["view"] != "")).all() else "woman"
        merged = _matched(part, views, level)
        if len(merged):
            again = f", reading {number}" if number > 1 else ""
            found.append(ReaderScores(f"reader {reader}, {scale}{again}", scale, level, merged))
    return found


def _matched(part: pd.DataFrame, views: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return the values of one reader beside the labels: of views, or the largest ones of women."""
    given = part.rename(columns={"value": "score"})
    if level == "view":
        key = ["patient_id", "laterality", "view"] + ["exam"] * bool((given["exam"] != "").any())
        return views[[*key, "bac", "bac_length_mm"]].merge(given[[*key, "score"]], on=key)
    key = ["patient_id"] + ["exam"] * bool((given["exam"] != "").any())
    women = views.groupby(key).agg(bac=("bac", "max"), bac_length_mm=("bac_length_mm", lambda v: v.sum(min_count=1)))
    highest = given.groupby(key)["score"].agg("sum" if (given["scale"] == LENGTH).all() else "max")
    return women.join(highest, how="inner").reset_index()


def reader_row(reader: ReaderScores, samples: int, seed: int) -> dict:
    """Summarise a reader as `table.method_row` does a method; rho is over the views or women with BAC or a length."""
    scores = reader.scores
    row = {"method": reader.name, "supervision": "none", "start": "reader", "parameters": 0, "training_minutes": 0.0}
    row |= detection(scores, samples, seed) | {"level": reader.level, "views": len(scores)}
    with_bac = scores["bac"].groupby(scores["patient_id"]).transform("max") == 1
    measured = scores[with_bac & scores["bac_length_mm"].notna()].rename(columns={"score": "measure"})
    row |= correlation(measured, samples, seed)
    return row | {"measure": reader.scale, "title": reader.name, "source": SOURCES[reader.scale]}


def reading_pairs(readings: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield pairs of readings of the same views or women, for their agreement.

    Args:
        readings: Of `read_readings`.

    Yields:
        Name of the pair (`A and B` for two readers, `A, readings 1 and 2` for one), scale, and the pairs: `patient_id,
        first, second`.
    """
    key = ["patient_id", "exam", "laterality", "view"]
    for scale, of_scale in readings.groupby("scale", sort=True):
        columns = of_scale.pivot_table("value", key, ["reader", "reading"])
        names = list(columns)
        for k, first in enumerate(names):
            for second in names[k + 1 :]:
                same, numbers = first[0] == second[0], (first[1], second[1])
                if not same and numbers != (1, 1):
                    continue
                pairs = columns[[first, second]].dropna()
                if len(pairs):
                    name = f"{first[0]}, readings {first[1]} and {second[1]}" if same else f"{first[0]} and {second[0]}"
                    table = pairs.reset_index()["patient_id"].to_frame()
                    yield name, scale, table.assign(first=pairs[first].to_numpy(), second=pairs[second].to_numpy())
