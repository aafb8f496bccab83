"""The simulated population: women with published ages and prevalences of BAC, and the breasts of each woman.

Sizes are in millimetres, so a seed gives the same breasts at every pixel spacing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq

from bac_utils.settings import PAPER, PUBLISHED
from bac_utils.simulator.acquisition import Acquisition, draw_acquisition
from bac_utils.simulator.anatomy import (
    Outline,
    Vessel,
    VisibleSegment,
    calcify,
    draw_outline,
    draw_vessel,
    visible_segments,
)
from bac_utils.simulator.calcifications import Finding, draw_findings

COHORT, TRAINING, MEASURED = 0, 1, 3
"""First number of every seed (2 is used by `insertion`, 4 by `pretraining.synthetic_lesions`). Thus the women of a
cohort, of the pretraining and of the quantification set never coincide, whatever the user's seed."""
FOUR_VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
"""The views of an exam: (laterality, view)."""
AGE_KNOTS = (
    (44.5, 0.0), (52, 0.25), (59, 0.50), (60.5, 0.529), (68, 0.75), (70.5, 0.814), (73.5, 0.910), (87.5, 1.0),
)  # fmt: skip
"""(age in years, cumulative fraction of the women) before rounding to whole years: the paper's quartiles (52, 59, 68),
its range (45 to 87), and the class sizes implied by its BAC+ quartiles and prevalences."""


@dataclass(frozen=True)
class Breast:
    """One breast of a woman.

    Attributes:
        seed: Seed of the breast's tissue and particles.
        outlines: Outline by view (`CC`, `MLO`).
        density: Glandular fraction, 0 to 1.
        vessels: Arteries and veins.
        findings: Benign findings.
        visibility: By view, factor on the strength of calcification (positioning, exposure); about 1.
    """

    seed: tuple[int, ...]
    outlines: dict[str, Outline]
    density: float
    vessels: list[Vessel]
    findings: list[Finding]
    visibility: dict[str, float]

    def visible_segments(self, view: str) -> list[VisibleSegment]:
        """List the calcified segments that a view (`CC` or `MLO`) shows."""
        return visible_segments(self.vessels, self.outlines[view], self.density, self.visibility[view])


@dataclass(frozen=True)
class Woman:
    """A simulated woman; her breasts are determined by these values.

    Attributes:
        patient_id: Identifier.
        age: Age in years.
        bac: Whether she has calcified breast arteries.
        seed: Seed of her breasts and of the acquisition.
        film_share: Probability that her views are films.
    """

    patient_id: str
    age: int
    bac: bool
    seed: tuple[int, ...]
    film_share: float = 0.0

    @cached_property
    def breasts(self) -> dict[str, Breast]:
        """Her breasts by laterality; in a BAC+ woman at least one of the four views shows BAC."""
        for attempt in range(100):
            breasts = _draw_breasts(np.random.default_rng([*self.seed, attempt]), self, attempt)
            if not self.bac or any(breasts[side].visible_segments(view) for side, view in FOUR_VIEWS):
                return breasts
        raise RuntimeError(f"woman {self.patient_id}: no visible artery in 100 draws")

    @cached_property
    def acquisition(self) -> Acquisition:
        """The acquisition shared by her views."""
        return draw_acquisition(np.random.default_rng([*self.seed, 999]), self.film_share)

    def length_mm(self, side: str, view: str) -> float:
        """Centre-line length of the calcified arteries that a view shows, in mm: the ground truth."""
        return sum(s.length_mm for s in self.breasts[side].visible_segments(view))


def _draw_breasts(rng: np.random.Generator, woman: Woman, attempt: int) -> dict[str, Breast]:
    """Draw both breasts of a woman from one common burden of calcification."""
    depth = float(np.clip(rng.lognormal(np.log(88), 0.22), 50, 170))  # assumption
    spread = rng.uniform(0.82, 1.2)
    thickness = float(np.clip(rng.normal(54.6, 12), 25, 95))  # mean: IMS Giotto, Br J Radiol 89:20150831
    # Categories A to D in about 10/40/40/10 % (US, as commonly stated); density decreases with age (Sprague et al.
    # 2014), with an assumed slope.
    density = float(np.clip(rng.beta(1.7, 3.0) * 0.9 + 0.05 - 0.004 * (woman.age - 59), 0.04, 0.9))
    # Burden: the one published view with "moderate" BAC measures 41 mm (paper, Fig. 6a); the spread is an assumption.
    # It increases slightly with age (Spearman correlation of age and severity 0.32, Bochkareva et al. 2018).
    log_burden = np.log(45) + 0.02 * (woman.age - 68) + rng.normal(0, 0.85)
    burden = float(np.clip(np.exp(log_burden), 12, 320)) if woman.bac else 0.0
    strength = float(np.clip(0.62 + 0.18 * (np.log(max(burden, 1)) - np.log(45)) + rng.normal(0, 0.12), 0.2, 1))
    winding = rng.uniform(0.8, 2.8) + 0.02 * max(woman.age - 50, 0)
    # The sides correlate at about 0.95, but in about 30 % of BAC+ women, those with a small burden, only one side shows
    # BAC.
    spared = "RL"[rng.integers(2)] if rng.random() < 0.75 * np.exp(-burden / 40) else ""
    breasts = {}
    for number, side in enumerate("RL"):
        length = burden * rng.lognormal(0, 0.10) + rng.normal(0, 9) if burden and side != spared else 0.0
        own = depth * rng.lognormal(0, 0.04)
        outlines = {view: draw_outline(rng, view, own, spread, thickness) for view in ("CC", "MLO")}
        vessels = [draw_vessel(rng, own, own * spread, winding) for _ in range(rng.integers(4, 9))]
        if length > 12:
            vessels = calcify(rng, vessels, length, strength)
        seed = (*woman.seed, attempt, number)
        visibility = {view: float(rng.lognormal(0, 0.15)) for view in ("CC", "MLO")}
        breasts[side] = Breast(seed, outlines, density, vessels, draw_findings(rng), visibility)
    return breasts


def draw_women(number: int, seed: int, prevalence: float | None = None) -> list[Woman]:
    """Draw a screening population with the ages and prevalences of the paper.

    Sampling is stratified by age and by age class, so that small cohorts match the published values too.

    Args:
        number: Number of women, at least 1.
        seed: Any integer >= 0.
        prevalence: Fraction of BAC+ women; by default that of the paper. Other values scale the odds in each age class.

    Returns:
        The women in random order; their identifiers start with S.

    Raises:
        ValueError: If an argument is out of range.
    """
    if number < 1:
        raise ValueError(f"number: got {number}, must be at least 1")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be at least 0")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence: got {prevalence}, must lie in [0, 1]")
    return _draw_women(number, seed, prevalence, COHORT)


def draw_measured(number: int, seed: int) -> list[Woman]:
    """Draw BAC+ women who are in no cohort, for quantification only, like the paper's 56 women of an earlier study.

    Args:
        number: Number of women, 0 or more. Their ages are distributed as those of the BAC+ women of a population.
        seed: Any integer >= 0.

    Returns:
        The women; their identifiers start with Q.

    Raises:
        ValueError: If an argument is out of range.
    """
    if number < 0:
        raise ValueError(f"number: got {number}, must be at least 0")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be at least 0")
    share = PUBLISHED["bac_women"] / PUBLISHED["women"]
    population = _draw_women(int(np.ceil(1.2 * number / share)) + 10, seed, None, MEASURED)
    return [woman for woman in population if woman.bac][:number]


def _draw_women(number: int, seed: int, prevalence: float | None, stream: int) -> list[Woman]:
    """Draw a population from one stream of seeds; see `draw_women`."""
    rng = np.random.default_rng([stream, seed])
    knots = np.array(AGE_KNOTS)
    ranks = (np.arange(number) + rng.random(number)) / number
    ages = np.clip(np.rint(np.interp(ranks, knots[:, 1], knots[:, 0])).astype(int), *PUBLISHED["age_range"])
    classes = np.searchsorted(PAPER.age_limits, ages)
    shares = np.array(PUBLISHED["prevalence_by_age_class"])
    shares = shares[classes] if prevalence is None else _scale_odds(shares[classes], prevalence)
    # systematic sampling: in every age class the number of BAC+ women is the expected one
    within = np.lexsort([rng.random(number), classes])
    bac = np.zeros(number, bool)
    edges = np.floor(np.concatenate([[0], np.cumsum(shares[within])]) + rng.random() + 1e-9)
    bac[within] = np.diff(edges) > 0
    order = rng.permutation(number)
    letter = "S" if stream == COHORT else "Q"
    return [
        Woman(f"{letter}{seed}-{i + 1:05d}", int(ages[k]), bool(bac[k]), (stream, seed, i)) for i, k in enumerate(order)
    ]


def _scale_odds(shares: np.ndarray, wanted: float) -> np.ndarray:
    """Multiply the odds of all women by one factor so that the mean probability becomes `wanted`."""
    if wanted in (0, 1):
        return np.full(len(shares), float(wanted))
    odds = shares / (1 - shares)

    def gap(log_factor: float) -> float:
        scaled = odds * np.exp(log_factor)
        return float((scaled / (1 + scaled)).mean() - wanted)

    scaled = odds * np.exp(brentq(gap, -30, 30))
    return scaled / (1 + scaled)
