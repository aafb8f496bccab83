"""How often do the 95 % intervals contain the true value in small cohorts whose views are clustered within women?

Cohorts of women with 4 views are drawn until they have 5, 15 or 50 BAC+ women (prevalence 13 %). A BAC+ woman has 1 to
4 BAC+ views, as often as in the kit's simulated cohorts. Scores are normal, with a correlation of 0.3 between the views
of a woman, and BAC+ views are shifted so that the AUC-ROC by view is 0.85, 0.95 or 0.99. The threshold is fixed; it has
the largest F1 in the population. For Spearman's rho, the BAC+ women have two MLO views each, with lengths of 0 in about
a quarter of them; the three columns are three levels of noise in the areas. True values are those of 400,000 women.

The table has one row per interval, and one column per number of BAC+ women and level: coverage in % and mean width.

    .venv/bin/python benchmarks/interval_coverage.py [--repeats 1000]
"""

import argparse

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from bac_utils.agreement import correlate
from bac_utils.detection import METRICS, by_woman, choose_threshold, detection_intervals, detection_metrics

BAC_WOMEN = (5, 15, 50)
AUCS = (0.85, 0.95, 0.99)
NOISES = (1.1, 0.6, 0.3)
"""Standard deviation of the noise of log areas, relative to that of log lengths."""
PREVALENCE = 0.13
BAC_VIEWS = (0.13, 0.27, 0.09, 0.51)
"""Share of BAC+ women with 1, 2, 3 and 4 BAC+ views, from 150 BAC+ women of `simulator.population`."""
CORRELATION = 0.3
"""Correlation of the scores (and of the noise of areas) of a woman's views with the same label."""
LENGTH_CORRELATION, ZERO_BELOW = 0.75, -0.62
"""Correlation of the log lengths of a woman's two views; standardised log length below which a view shows no BAC."""
POPULATION, SAMPLES, SEED = 400_000, 200, 2023


def clustered(rng: np.random.Generator, women: int, views: int, correlation: float) -> np.ndarray:
    """Draw standard normal numbers, (women, views), with a correlation within women."""
    shared, own = rng.normal(size=(women, 1)), rng.normal(size=(women, views))
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own


def draw_scores(rng: np.random.Generator, bac_women: int, others: int, auc: float) -> pd.DataFrame:
    """Draw the views of a cohort: `patient_id, bac, score`."""
    women = bac_women + others
    positive = np.append(rng.choice([1, 2, 3, 4], bac_women, p=BAC_VIEWS), np.zeros(others, int))
    bac = rng.permuted(np.tile(np.arange(4), (women, 1)), axis=1) < positive[:, None]
    score = clustered(rng, women, 4, CORRELATION) + np.sqrt(2) * stats.norm.ppf(auc) * bac
    ids = np.repeat(np.arange(women), 4)
    return pd.DataFrame({"patient_id": ids, "bac": bac.ravel().astype(int), "score": score.ravel()})


def draw_areas(rng: np.random.Generator, women: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw areas, lengths and women of two views per woman."""
    lengths = clustered(rng, women, 2, LENGTH_CORRELATION)
    areas = lengths + noise * clustered(rng, women, 2, CORRELATION)
    areas, lengths = (np.where(x > ZERO_BELOW, np.exp(x), 0).ravel() for x in (areas, lengths))
    return areas, lengths, np.repeat(np.arange(women), 2)


class Tally:
    """Counts of intervals that contain the true value, by row and column of the table."""

    def __init__(self) -> None:
        """Start with no interval."""
        self.found: dict[tuple[str, str], list] = {}

    def add(self, row: str, column: str, interval: list, true: float) -> None:
        """Add an interval; undefined ones are counted apart."""
        low, high = interval
        hit = (np.nan, np.nan) if low is None else (low <= true <= high, high - low)
        self.found.setdefault((row, column), []).append(hit)

    def table(self) -> pd.DataFrame:
        """Return the coverage in % and, in brackets, the mean width; with a star outside 92 to 98 %."""
        cells: dict[str, dict[str, str]] = {}
        for (row, column), hits in self.found.items():
            values = np.array(hits, float)
            covered, width = 100 * np.nanmean(values[:, 0]), np.nanmean(values[:, 1])
            star = "" if 92 <= covered <= 98 else "*"
            undefined = int(np.isnan(values[:, 0]).sum())
            note = f" ({undefined} undefined)" if undefined else ""
            cells.setdefault(column, {})[row] = f"{covered:.1f}{star} [{width:.2f}]{note}"
        return pd.DataFrame(cells)


def add_detection(tally: Tally, bac_women: int, auc: float, repeats: int) -> None:
    """Add the intervals of all metrics, by view and by woman."""
    whole = int(POPULATION * PREVALENCE)
    population = draw_scores(np.random.default_rng(SEED), whole, POPULATION - whole, auc)
    threshold = choose_threshold(population["bac"], population["score"])
    levels = {"view": lambda cohort: cohort, "woman": by_woman}
    true = {}
    for level, reduce in levels.items():
        rows = reduce(population)
        true[level] = detection_metrics(rows["bac"], rows["score"], threshold)
    rng = np.random.default_rng([SEED, bac_women, round(100 * auc)])
    for number in tqdm(range(repeats), desc=f"{bac_women} BAC+ women, AUC-ROC {auc}", leave=False):
        cohort = draw_scores(rng, bac_women, max(5, rng.negative_binomial(bac_women, PREVALENCE)), auc)
        for level, reduce in levels.items():
            intervals = detection_intervals(reduce(cohort), threshold, SAMPLES, number)
            for name in METRICS:
                tally.add(f"{name}, by {level}", f"{bac_women}: {auc}", intervals[name], true[level][name])


def add_correlation(tally: Tally, bac_women: int, level: int, repeats: int) -> None:
    """Add the intervals of Spearman's rho at one level of noise."""
    true = stats.spearmanr(*draw_areas(np.random.default_rng(SEED), POPULATION, NOISES[level])[:2])[0]
    rng = np.random.default_rng([SEED, bac_women, level])
    for number in range(repeats):
        found = correlate(*draw_areas(rng, bac_women, NOISES[level]), SAMPLES, number)
        tally.add("spearman_rho", f"{bac_women}: {AUCS[level]}", found["spearman_ci"], true)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="cohorts per column (default: %(default)s)")
    repeats = parser.parse_args().repeats
    tally = Tally()
    for bac_women in BAC_WOMEN:
        for level, auc in enumerate(AUCS):
            add_detection(tally, bac_women, auc, repeats)
            add_correlation(tally, bac_women, level, repeats)
    with pd.option_context("display.width", None, "display.max_columns", None):
        print(tally.table().to_string())


if __name__ == "__main__":
    main()
