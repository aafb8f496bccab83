"""Computations of the threshold tuner, fast enough to keep up with a slider; independent of the widgets."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from bac_utils.agreement import correlate
from bac_utils.detection import ScoreCurve
from bac_utils.quantify import PER_IMAGE, bac_area, common_spacings
from bac_utils.views_table import SETS
from bac_utils.widgets.store import ViewStore

TH_STEP = 0.02
TH_GRID = np.round(np.arange(0.1, 1, TH_STEP), 2)
"""Heatmap thresholds on the slider, 0.10 to 0.98."""


class DetectionTuner:
    """Confusion counts and curves of each set at any threshold.

    Attributes:
        sets: The sets that contain both classes.
    """

    def __init__(self, predictions: pd.DataFrame) -> None:
        """Sort the scores of each set once.

        Args:
            predictions: One row per view: `split, bac` (0 or 1), `score`.
        """
        self._curves = {}
        for name in SETS:
            part = predictions[predictions["split"] == name]
            if part["bac"].nunique() == 2:
                self._curves[name] = ScoreCurve(part["bac"], part["score"])
        self.sets = tuple(self._curves)

    def at(self, split: str, threshold: float) -> dict:
        """Return the counts and metrics of `detection.detection_metrics` for a set at a threshold."""
        curve = self._curves[split]
        weights = np.ones(len(curve.labels))
        tn, tp, fn, fp = (int(n) for n in curve.counts(weights, threshold))
        return {"tn": tn, "tp": tp, "fn": fn, "fp": fp, **curve.metrics(weights, threshold)}

    def curve(self, split: str) -> dict[str, np.ndarray]:
        """Return the decreasing `threshold` (k,) with `recall`, `false_positive_rate` and `precision` at each."""
        curve = self._curves[split]
        tp, fp = curve.cumulate(np.ones(len(curve.labels)))
        found = {"threshold": curve.cuts, "recall": tp / tp[-1]}
        return found | {"false_positive_rate": fp / fp[-1], "precision": tp / (tp + fp)}


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """Outline a mask.

    Args:
        mask: bool (H, W).

    Returns:
        Closed polygons, float32 (n, 2): x and y of the centres of the mask's outermost pixels, in pixels of the
        prepared view, where pixel (0, 0) extends from 0 to 1. Holes have separate polygons.
    """
    found = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
    return [polygon[:, 0].astype(np.float32) + 0.5 for polygon in found]


def areas_by_threshold(
    pixels: np.ndarray,
    heat: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    thresholds: Sequence[float] = TH_GRID,
) -> np.ndarray:
    """Return the area of a view's heatmap above each Th, float64, in mm², or in pixels if the spacing is unknown."""
    mask, hottest = pixels != 0, heat.max()
    return np.array([bac_area(heat, mask.shape, th, spacing_mm, mask)[0] if th < hottest else 0.0 for th in thresholds])


class LengthTuner:
    """Spearman's rho of area and length as a function of Th, for the measured views of a set.

    Areas are those of notebook 04 (`quantify.heatmap_area`): only with the form `per-image-maximum`, views with a score
    below the detection threshold have an area of 0.

    Attributes:
        rows: The views' rows in the store.
        areas: Areas of the heatmaps above each Th, float64 (views, `len(TH_GRID)`), mm² or pixels; NaN for views
            without a heatmap.
        lengths: Lengths in the table, float64 (views,), mm.
    """

    def __init__(self, store: ViewStore, split: str, samples: int = 200, seed: int = 0) -> None:
        """Measure each view of the set once at each Th, which takes a few ms per view.

        Args:
            store: The run's views.
            split: Name of a set, or `quantification`.
            samples: Number of bootstrap resamples of women for each interval.
            seed: Seed of the bootstrap.
        """
        self._store, self.rows = store, store.measured_rows(split)
        self._samples, self._seed = samples, seed
        self._gated = np.array(store.point.heatmap == PER_IMAGE)
        self.areas = self._measure(TH_GRID)
        known = store.table.loc[self.rows]
        self.lengths = known["bac_length_mm"].to_numpy(float) if self.rows else np.zeros(0)
        self._scores, self._women = known["score"].to_numpy(float), known["patient_id"]
        self._curves: dict[float, np.ndarray] = {}

    def _measure(self, thresholds: Sequence[float]) -> np.ndarray:
        """Return the areas above each Th, (views, Th); NaN for views without a heatmap."""
        store = self._store
        spacings = common_spacings([store.spacing_mm(row) for row in self.rows])
        areas = np.full((len(self.rows), len(thresholds)), np.nan)
        for place, (row, spacing) in enumerate(zip(self.rows, spacings, strict=True)):
            heat = store.heat(row)
            if heat is not None:
                areas[place] = areas_by_threshold(store.pixels(row), heat, spacing, thresholds)
        return areas

    def curve(self, threshold: float) -> np.ndarray:
        """Return rho at each Th of `TH_GRID`, float64, for a detection threshold; NaN if undefined."""
        called = tuple(~self._gated | (self._scores >= threshold))
        if called not in self._curves:
            areas = pd.DataFrame(np.where(np.array(called)[:, None], self.areas, 0.0))
            known = areas.notna().all().to_numpy() & (len(areas) >= 3)
            rho = areas.rank().corrwith(pd.Series(self.lengths).rank())  # NaN if all areas are equal
            self._curves[called] = np.where(known, rho.to_numpy(float), np.nan)
        return self._curves[called]

    def rho(self, threshold: float, th: float) -> tuple[float, float | None, float | None]:
        """Return rho and its 95 % interval; NaN and None if rho is undefined.

        Args:
            threshold: Detection threshold.
            th: Heatmap threshold.
        """
        areas = self._areas(threshold, th)
        if len(areas) < 3 or np.isnan(areas).any() or not (np.ptp(areas) > 0 and np.ptp(self.lengths) > 0):
            return np.nan, None, None
        found = correlate(areas, self.lengths, self._women, self._samples, self._seed)
        return found["spearman_rho"], *found["spearman_ci"]

    def _areas(self, threshold: float, th: float) -> np.ndarray:
        """Return the areas of the views at one Th."""
        place = nearest(th)
        areas = self.areas[:, place] if abs(TH_GRID[place] - th) < 1e-9 else self._measure([th])[:, 0]
        return np.where(~self._gated | (self._scores >= threshold), areas, 0.0)


def nearest(threshold: float) -> int:
    """Return the index in `TH_GRID` of the Th nearest to `threshold`."""
    return int(np.abs(TH_GRID - threshold).argmin())
