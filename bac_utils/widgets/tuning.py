"""What a move of a slider changes, computed fast enough to follow it: no widgets here.

The widgets reach `quantify` through `outline`, `measure_view` and `areas_by_threshold` alone, so that they show what it
measures.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd

from bac_utils.agreement import correlate
from bac_utils.detection import ScoreCurve
from bac_utils.quantify import bac_area, bac_region, measure
from bac_utils.run_folder import SETS
from bac_utils.widgets.store import COLDEST, ViewStore

OUTCOMES = ("TP", "FP", "FN", "TN")
TH_STEP = 0.02
TH_GRID = np.round(np.arange(COLDEST, 1, TH_STEP), 2)
"""Heatmap thresholds that a slider offers, 0.10 to 0.98."""


def outcome(bac: Sequence[float], score: Sequence[float], threshold: float) -> np.ndarray:
    """Name the outcome of each view.

    Args:
        bac: 0, 1 or NaN (unknown).
        score: In [0, 1].
        threshold: A score of at least this is called BAC+.

    Returns:
        `TP`, `FP`, `FN`, `TN`, or an empty text where the label is unknown; object (N,).
    """
    bac, called = np.asarray(bac, float), np.asarray(score, float) >= threshold
    found = np.where(called, np.where(bac == 1, "TP", "FP"), np.where(bac == 1, "FN", "TN")).astype(object)
    found[np.isnan(bac)] = ""
    return found


class DetectionTuner:
    """Counts and curves of each set at any threshold.

    Attributes:
        sets: The sets that hold both classes.
    """

    def __init__(self, predictions: pd.DataFrame) -> None:
        """Sort each set once.

        Args:
            predictions: One row a view: `split, bac` (0 or 1), `score`.
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
        """Return `threshold` (k,), falling, with `recall`, `false_positive_rate` and `precision` there."""
        curve = self._curves[split]
        tp, fp = curve.cumulate(np.ones(len(curve.labels)))
        found = {"threshold": curve.cuts, "recall": tp / tp[-1]}
        return found | {"false_positive_rate": fp / fp[-1], "precision": tp / (tp + fp)}


def outline(pixels: np.ndarray, heat: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Outline the region that is measured.

    Args:
        pixels: The prepared view, (H, W), 0 outside the breast.
        heat: Its heatmap, (h, w) in [0, 1].
        threshold: Th in (0, 1).

    Returns:
        Closed polygons, float32 (n, 2): x and y of the centres of the region's outermost pixels, in pixels of the
        prepared view, where pixel (0, 0) reaches from 0 to 1. Holes have polygons of their own.
    """
    if not heat.max() > threshold:
        return []
    region = bac_region(heat, pixels.shape, threshold, pixels != 0)
    found = cv2.findContours(region.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0]
    return [polygon[:, 0].astype(np.float32) + 0.5 for polygon in found]


def measure_view(
    pixels: np.ndarray, heat: np.ndarray, threshold: float, spacing_mm: tuple[float, float] | None
) -> dict[str, float | str]:
    """Measure a view's region: `area, area_unit, length, length_unit`, as `quantify.measure`."""
    if not heat.max() > threshold:
        unit = ("px", "px") if spacing_mm is None else ("mm2", "mm")
        return {"area": 0.0, "area_unit": unit[0], "length": 0.0, "length_unit": unit[1]}
    return measure(heat, pixels.shape, threshold, spacing_mm, pixels != 0)


def areas_by_threshold(pixels: np.ndarray, heat: np.ndarray, spacing_mm: tuple[float, float] | None) -> np.ndarray:
    """Return a view's area at each Th of `TH_GRID`, float64, mm² or pixels."""
    mask, hottest = pixels != 0, heat.max()
    return np.array([bac_area(heat, mask.shape, th, spacing_mm, mask)[0] if th < hottest else 0.0 for th in TH_GRID])


class LengthTuner:
    """Spearman's rho of area and length over Th, for the measured views of a set.

    Attributes:
        rows: The views' rows in the store.
        areas: float64 (views, Th of `TH_GRID`), mm² or pixels.
        lengths: float64 (views,), mm.
        table: One row a Th: `threshold, rho, low, high` (95 %, bootstrap over women; NaN where undefined).
    """

    def __init__(self, store: ViewStore, split: str, samples: int = 200, seed: int = 0) -> None:
        """Measure each view of the set at each Th; this takes some ms a view, so it is done once.

        Args:
            store: The run's views.
            split: A set, or `quantification`.
            samples: Resamples of women behind each interval.
            seed: Seed of the draws.
        """
        self.rows = store.measured_rows(split)
        spacings = [store.spacing_mm(row) for row in self.rows]
        spacings = spacings if all(spacings) else [None] * len(spacings)
        each = zip(self.rows, spacings, strict=True)
        areas = [areas_by_threshold(store.pixels(row), store.heat(row), spacing) for row, spacing in each]
        self.areas = np.array(areas).reshape(-1, len(TH_GRID))
        known = store.table.loc[self.rows]
        self.lengths = known["bac_length_mm"].to_numpy(float) if self.rows else np.zeros(0)
        lines = [self._correlate(column, known["patient_id"], samples, seed) for column in self.areas.T]
        self.table = pd.DataFrame(lines, columns=["rho", "low", "high"], dtype=float)
        self.table.insert(0, "threshold", TH_GRID)

    def rho(self, threshold: float) -> float:
        """Return rho at the Th of the grid that is nearest to `threshold`; NaN where it is undefined."""
        return float(self.table["rho"].iloc[nearest(threshold)])

    def _correlate(self, areas: np.ndarray, women: pd.Series, samples: int, seed: int) -> tuple:
        if len(areas) < 3 or not (np.ptp(areas) > 0 and np.ptp(self.lengths) > 0):
            return np.nan, np.nan, np.nan
        found = correlate(areas, self.lengths, women, samples, seed)
        return found["spearman_rho"], *found["spearman_ci"]


def nearest(threshold: float) -> int:
    """Return the place in `TH_GRID` of the Th that is nearest to `threshold`."""
    return int(np.abs(TH_GRID - threshold).argmin())
