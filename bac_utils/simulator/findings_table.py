"""The table of a reader's findings on simulated exams, as a German spreadsheet program saves it."""

import csv
from collections.abc import Sequence
from pathlib import Path

from bac_utils.simulator.exams import Exam

COLUMNS = (
    "Pat-ID", "Geburtsdatum", "Zugangsnummer", "Untersuchungsdatum", "Seite", "Ansicht", "Verkalkung", "Länge mm",
    "Bemerkung",
)  # fmt: skip
_SIDES = {"R": "rechts", "L": "links"}
_VIEWS = {"CC": "kranio-kaudal", "MLO": "schräg"}


def findings(exams: Sequence[Exam]) -> list[list[str]]:
    """Return the rows of the table.

    A breast without BAC has one row with an empty view (`Ansicht`), for both breasts the side is `beidseits`. A breast
    with BAC has one row per view with its length or, where the exam was reported by breast, one row without a length.

    Args:
        exams: The exams; those without a report have no row.

    Returns:
        Cells in the order of `COLUMNS`, by date.
    """
    rows = []
    for exam in sorted(exams, key=lambda exam: (exam.day, exam.accession)):
        days = [f"{day:%d.%m.%Y}" for day in (exam.birth_date, exam.day)]
        head = [exam.patient_id, days[0], exam.accession, days[1]]
        if exam.reported == "unknown":
            rows.append([*head, "beidseits", "", "k.A.", "", "nicht beurteilbar"])
        elif exam.reported:
            rows += [[*head, *row] for row in _breasts(exam)]
    return rows


def _breasts(exam: Exam) -> list[list[str]]:
    """Return the cells from `Seite` on of an exam's rows."""
    lengths: dict[str, dict[str, float]] = {}
    for side, view in exam.views:
        lengths.setdefault(side, {})[view] = exam.length_mm(side, view)
    with_bac = {side: any(of_side.values()) for side, of_side in lengths.items()}
    if len(lengths) == 2 and not any(with_bac.values()):
        return [["beidseits", "", "nein", "", ""]]
    rows = []
    for side, of_side in lengths.items():
        if exam.reported == "view" and with_bac[side]:
            for view, length in of_side.items():
                found = ["ja", f"{length:.1f}".replace(".", ",")] if length else ["nein", ""]
                rows.append([_SIDES[side], _VIEWS[view], *found, ""])
        else:
            rows.append([_SIDES[side], "", "ja" if with_bac[side] else "nein", "", ""])
    return rows


def write_findings(exams: Sequence[Exam], path: Path) -> None:
    """Write the table: semicolons, decimal commas and a byte-order mark, a title above and a total below.

    Args:
        exams: The exams.
        path: The CSV file.
    """
    rows, blank = findings(exams), [""] * (len(COLUMNS) - 2)
    absent = ["00999999", "01.04.1950", "MG2299990", "02.05.2022", "beidseits", "", "nein", "", "Bilder fehlen"]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
        writer.writerow(["Befunde Gefäßkalk", "", *blank])
        writer.writerow(COLUMNS)
        writer.writerows([*rows, absent])
        writer.writerow(["Summe", str(len(rows) + 1), *blank])
