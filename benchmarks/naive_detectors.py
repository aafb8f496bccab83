"""Can brightness alone tell simulated BAC+ views from BAC- ones? It must not: on real mammograms it cannot.

Three naive detectors on a run's test set, at 0.26 mm: the mean of the 200 brightest white top-hat responses inside the
breast (9 x 9 window), the number of bright pixels and the longest bright blob (top-hat above 15 % of the grey range).

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
BRIGHT = 0.15


def naive_measures(pixels: np.ndarray, spacing_mm: float) -> tuple[float, int, float]:
    """Measure a view: (mean of the 200 brightest responses, bright pixels, longest blob in mm).

    Args:
        pixels: (rows, columns) in display polarity.
        spacing_mm: Pixel spacing.

    Returns:
        The three numbers.
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
    """Print the AUC-ROC of each measure on the test set."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    views = read_views(run / "views.csv")
    views = views[views["split"] == "test"]
    measures = []
    for row in tqdm(views.itertuples(), total=len(views), unit="view"):
        mammogram = read_mammogram(row.image_path)
        measures.append(naive_measures(mammogram.pixels, mammogram.spacing_mm[0]))
    print(f"{len(views)} views, {int(views['bac'].sum())} BAC+")
    for name, values in zip(
        ("200 brightest", "bright pixels", "longest blob"), zip(*measures, strict=True), strict=True
    ):
        print(f"{name}: AUC-ROC {roc_auc_score(views['bac'], values):.3f}")


if __name__ == "__main__":
    main()
