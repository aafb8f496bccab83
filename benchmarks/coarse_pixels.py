"""How coarse may pixels be? For `preprocess.LARGEST_REDUCTION`; see docs/scoring.md.

Simulated MLO views (0.1 mm) of women with and without BAC are reduced by averaging, as an archive's previews are, and
detected and measured. The spacing of the copy is known, and copies that `score` would skip are measured all the same.

    .venv/bin/python benchmarks/coarse_pixels.py [--women 20] [--seed 951] [--model M]
"""

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from skimage.measure import block_reduce
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.agreement import length_agreement
from bac_utils.detector import Detector
from bac_utils.intake.mammogram import Mammogram
from bac_utils.preprocess import prepare
from bac_utils.simulator.population import draw_women
from bac_utils.simulator.render import render

SPACING_MM = 0.1
FACTORS = (1, 2, 3, 4, 5, 6, 8, 12)


def copies(pixels: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the pixel spacing in mm and the pixels of each copy; what lies beyond whole blocks of pixels is cut."""
    for k in FACTORS:
        rows, columns = (n // k * k for n in pixels.shape)
        yield k * SPACING_MM, block_reduce(pixels[:rows, :columns], (k, k), np.mean).astype(np.float32)


def summarise(views: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pixel spacing.

    Args:
        views: One row per copy: `spacing_mm`, true length `true` (mm), `score`, `bac` and measured `length` (mm).

    Returns:
        Numbers of views with BAC (`n`), of those found and traced, and of false alarms; AUC-ROC; and the bias of the
        length in the traced views, as a share.
    """
    rows = {}
    for spacing, part in views.groupby("spacing_mm"):
        real = part[part["true"] > 0]
        traced = real[(real["bac"] == 1) & real["length"].notna()]
        rows[spacing] = {"n": len(real), "found": real["bac"].sum(), "traced": len(traced)}
        rows[spacing]["false"] = part.loc[part["true"] == 0, "bac"].sum()
        rows[spacing]["AUC-ROC"] = roc_auc_score(part["true"] > 0, part["score"])
        known = length_agreement(traced["length"], traced["true"]) if len(traced) > 1 else {"bias": np.nan}
        rows[spacing]["bias"] = known["bias"]
    return pd.DataFrame(rows).T


def main() -> None:
    """Measure all copies, and print how many are found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--women", type=int, default=20, help="with BAC, and as many without")
    parser.add_argument("--seed", type=int, default=951)
    parser.add_argument("--model", default=None, help="by default the bundled detector")
    given = parser.parse_args()
    detector, rows = Detector(given.model), []
    women = [woman for share in (1.0, 0.0) for woman in draw_women(given.women, given.seed, prevalence=share)]
    for woman, side in tqdm([(woman, side) for woman in women for side in "RL"], unit="view"):
        true = woman.length_mm(side, "MLO")
        for spacing, pixels in copies(render(woman, side, "MLO", SPACING_MM)[0]):
            copy = Mammogram(pixels, spacing_mm=(spacing, spacing))
            found = detector.look(prepare(copy, detector.shape, detector.pixel_mm, any_pixels=True))
            row = {"spacing_mm": spacing, "true": true, "score": found.score, "bac": found.bac}
            rows.append(row | {"length": found.length_mm})
    print(summarise(pd.DataFrame(rows).astype({"length": float})).round(3).to_string())


if __name__ == "__main__":
    main()
