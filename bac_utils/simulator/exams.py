"""Exams of simulated women as a hospital knows them: identifiers, dates, and what an export of its archive contains."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from bac_utils.simulator.population import FOUR_VIEWS, Woman

EXPORT = 5
"""First number of the seeds of identifiers and dates; see `population.COHORT`."""
LEAST = (4, 8)
"""Smallest numbers of BAC+ and BAC- women, so that everything unusual occurs in the export."""
_EARLIER = 900
"""Last number of the seeds of women at an earlier exam."""


@dataclass(frozen=True)
class Exam:
    """One exam of a woman.

    Attributes:
        woman: The woman at this exam: age, and whether she has BAC.
        patient_id: Eight digits, some of them leading zeros.
        birth_date: Date of birth.
        day: Date of the study.
        accession: Accession number.
        number: Number of the woman, from 0. The form of her headers depends on it.
        reported: What the reader labelled: each `view`, each `breast`, `unknown` (unknown labels), or empty (nothing).
        views: The views that were taken: (laterality, view).
        extras: Unusual contents, keys of `pacs_export.CONTENTS`, and `no age`.
    """

    woman: Woman
    patient_id: str
    birth_date: date
    day: date
    accession: str
    number: int
    reported: str = "view"
    views: tuple[tuple[str, str], ...] = FOUR_VIEWS
    extras: frozenset[str] = frozenset()

    def length_mm(self, side: str, view: str) -> float:
        """Length of the calcified arteries that a view shows, in mm, to 0.1 mm: the ground truth."""
        return round(self.woman.length_mm(side, view), 1) if self.woman.bac else 0.0


def draw_exams(women: Sequence[Woman], seed: int) -> list[Exam]:
    """Draw the exams of an archive; a few women have two, years apart.

    Between her exams, one woman has developed BAC. Another one's earlier exam has two views, a third one's was labelled
    by breast, and of a fourth one only the later exam was labelled. One woman has implants, one view of another is
    damaged, one has unknown labels, one none, and one no age.

    Args:
        women: Women from `population.draw_women`.
        seed: Any integer >= 0, for identifiers and dates.

    Returns:
        The exams by woman; of each woman the earlier exam first.

    Raises:
        ValueError: There are fewer BAC+ or BAC- women than `LEAST`.
    """
    found = [sum(woman.bac for woman in women), sum(not woman.bac for woman in women)]
    if found[0] < LEAST[0] or found[1] < LEAST[1]:
        rule = f"must be at least {LEAST[0]} and {LEAST[1]}; change the number of women or the prevalence"
        raise ValueError(f"women: got {found[0]} BAC+ and {found[1]} BAC-, {rule}")
    rng = np.random.default_rng([EXPORT, seed])
    patients = [f"{number:08d}" for number in rng.choice(900_000, len(women), replace=False) + 1_000]
    exams, ranks = [], {True: 0, False: 0}
    for number, woman in enumerate(women):
        day = date(2022, 1, 3) + timedelta(days=int(rng.integers(700)))
        birth = date(day.year - woman.age, day.month, min(day.day, 28)) - timedelta(days=int(rng.integers(360)))
        later = Exam(woman, patients[number], birth, day, f"MG{day:%y}{number:04d}7", number)
        exams += _history(later, ranks[woman.bac], day - timedelta(days=int(rng.integers(600, 900))))
        ranks[woman.bac] += 1
    return exams


def _history(later: Exam, rank: int, day: date) -> list[Exam]:
    """Return the exams of one woman by her rank among those with or without BAC; `day` is that of an earlier exam."""
    age = day.year - later.birth_date.year - ((day.month, day.day) < (later.birth_date.month, later.birth_date.day))
    before = replace(later.woman, age=age, seed=(*later.woman.seed, _EARLIER))
    earlier = replace(later, woman=before, day=day, accession=f"MG{day:%y}{later.number:04d}3")
    if later.woman.bac:
        histories = {
            0: [replace(earlier, woman=replace(before, bac=False)), later],
            1: [replace(earlier, views=FOUR_VIEWS[1::2]), _with(later, "spot view")],
            2: [_with(replace(earlier, reported="breast"), "derived copy"), later],
            3: [replace(earlier, reported=""), _with(later, "text card")],
        }
        return histories.get(rank, [_with(later, "raw twin")] if rank % 2 else [later])
    histories = {
        0: [_with(later, "no age")],
        1: [_with(later, "implant")],
        2: [_with(later, "truncated")],
        3: [replace(later, reported="unknown")],
        4: [_with(earlier, "duplicate"), _with(later, "text card")],
        5: [replace(later, reported="")],
        6: [_with(later, "CT image", "raw twin")],
    }
    return histories.get(rank, [_with(later, "dose report")] if rank % 2 else [later])


def _with(exam: Exam, *extras: str) -> Exam:
    return replace(exam, extras=frozenset(extras))
