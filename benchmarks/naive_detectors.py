"""Does brightness alone separate simulated BAC+ and BAC- views? It should not, as it does not on real mammograms.

Three naive detectors are applied to the test set of a run, at 0.26 mm: the mean of the 200 highest white top-hat
responses inside the breast (9 x 9 window), the number of bright pixels, and the length of the longest bright component
(top-hat response above 15 % of the range of grey levels).

    .venv/bin/python benchmarks/naive_detectors.py [runs/demo]
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import find_breast
from bac_utils.views_table import read_views

SPACING_MM = 0.26
"""Pixel spacing in mm to which the views are resampled."""
BRIGHT = 0.15
"""Top-hat response of a bright pixel, as a fraction of the range of grey levels inside the breast."""


def naive_measures(pixels: np.ndarray, spacing_mm: float) -> tuple[float, int, float]:
    """Measure a view in three ways.

    Args:
        pixels: (rows, columns), higher = denser.
        spacing_mm: Pixel spacing in mm.

    Returns:
        Mean of the 200 highest responses, number of bright pixels, length of the longest bright component in mm.
    """
    factor = spacing_mm / SPACING_MM
    image = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    breast = find_breast(image)
    inner = cv2.erode(breast.astype(np.uint8), np.ones((5, 5), np.uint8))
    response = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, np.ones((9, 9), np.uint8)) * inner
    bright = (response > BRIGHT * np.ptp(image[breast])).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    longest = np.hypot(stats[1:, 2], stats[1:, 3]).max(initial=0) * SPACING_MM
    return float(np.sort(response[breast])[-200:].mean()), int(bright.sum()), float(longest)


def main() -> None:
    """Print the AUC-ROC of each measure on the test set of a run."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    views = read_views(run / "views.csv")
    views = views[views["split"] == "test"]
    measures = []
    for row in tqdm(views.itertuples(), total=len(views), unit="view"):
        mammogram = read_mammogram(row.image_path)
        measures.append(naive_measures(mammogram.pixels, mammogram.spacing_mm[0]))
    print(f"{len(views)} views, {int(views['bac'].sum())} BAC+")
    names = ("200 highest responses", "number of bright pixels", "longest bright component")
    for name, values in zip(names, zip(*measures, strict=True), strict=True):
        print(f"{name}: AUC-ROC {roc_auc_score(views['bac'], values):.3f}")


if __name__ == "__main__":
    main()
