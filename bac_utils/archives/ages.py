"""Ages of women from a table: as stated, or from the date of birth."""

import os
from dataclasses import dataclass

import pandas as pd

from bac_utils.archives.columns import Columns, read_mapped
from bac_utils.views_table import AGE_BOUNDS


@dataclass(frozen=True)
class Ages:
    """Ages from a table.

    Attributes:
        name: The file's name.
        years: Ages in years by `patient_id`.
        births: Dates of birth, YYYY-MM-DD, by `patient_id`.
    """

    name: str
    years: pd.Series
    births: pd.Series

    @property
    def women(self) -> set[str]:
        """The women of whom the table has an age or a date of birth."""
        return {*self.years.index, *self.births.index}

    def __str__(self) -> str:
        """Return the numbers of ages and dates of birth."""
        births = f", {len(self.births)} dates of birth" if len(self.births) else ""
        return f"{self.name}: {len(self.years)} ages{births}"

    def at(self, patient_ids: pd.Series, dates: pd.Series) -> pd.Series:
        """Return the age of each image's woman when it was taken.

        Args:
            patient_ids: Her identifier.
            dates: The date of its study, YYYY-MM-DD; empty where unknown.

        Returns:
            Years, float64: in whole years from her date of birth to the study, else as stated; NaN where unknown.
        """
        births = pd.to_datetime(patient_ids.map(self.births), format="ISO8601")
        taken = pd.to_datetime(dates, format="ISO8601", errors="coerce")
        before = taken.dt.month * 100 + taken.dt.day < births.dt.month * 100 + births.dt.day
        years = (taken.dt.year - births.dt.year - before).astype("float64")
        return years.where(years.between(*AGE_BOUNDS)).fillna(patient_ids.map(self.years).astype("float64"))


def read_ages(path: str | os.PathLike, mapping: Columns | None = None) -> Ages:
    """Read a table of ages.

    Args:
        path: A CSV or Excel file with the columns `patient_id` (as in the archive) and `age` (years).
        mapping: Its mapping, if columns have other names. It may name a column `birth_date` instead of `age` or beside
            it, and a woman may have several rows with the same values.

    Returns:
        The ages.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Cells break rules, or a woman occurs twice.
    """
    born = mapping is not None and "birth_date" in mapping.columns
    table, _ = read_mapped(path, mapping, "ages", ("patient_id",) if born else ("patient_id", "age"))
    rule = "must be a number of years from {} to {}".format(*AGE_BOUNDS)
    women = table.cells["patient_id"]
    table.refuse(women == "", "patient_id", "must not be empty")
    table.refuse_lost_digits("patient_id")
    found = {name: pd.Series(dtype=kind) for name, kind in (("age", "float64"), ("birth_date", "object"))}
    if "age" in table.cells:
        found["age"] = table.numbers("age", lambda x: x.between(*AGE_BOUNDS), rule)
    if mapping is None:
        table.refuse(found["age"].isna(), "age", rule)
        table.refuse(women.duplicated(), "patient_id", "must occur once")
    if born:
        dates = table.cells["birth_date"]
        found["birth_date"] = dates.where(dates != "")
    for name, values in found.items():
        differs = values.notna() & (values != values.groupby(women).transform("first"))
        if len(values):
            table.refuse(differs, name, "must be the same in all her rows")
    table.check()
    return Ages(table.name, *(_by_woman(values, women) for values in found.values()))


def _by_woman(values: pd.Series, women: pd.Series) -> pd.Series:
    """Return the known values by woman."""
    known = values.dropna()
    return known.groupby(women.reindex(known.index), sort=False).first().rename_axis(None)
