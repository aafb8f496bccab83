"""How well are lengths measured on simulated women of a fresh seed, with the bundled detector's default settings?

Simulates BAC+ women, measures their MLO views as `score` does, and prints, beside the paper's own recipe, the rank
correlation with the true length, the error in mm, and how well the artery is located. The neighbourhood is what lies
within 2 mm of the true mask of the artery.

    .venv/bin/python benchmarks/quantification.py [--women 64] [--seed 5001] [--spacing 0.15] [--model runs/demo]
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.agreement import length_agreement
from bac_utils.heat import OWN, Explainer
from bac_utils.intake import read_mammogram
from bac_utils.model import load_model
from bac_utils.phantom import cohort_table, draw_measured, write_views
from bac_utils.preprocess import mask_to_original, prepare, to_original
from bac_utils.quantify import bac_area, upsample_map
from bac_utils.scoring import Detector
from bac_utils.settings import PAPER_THRESHOLD
from bac_utils.vessels import grow

NEAR_MM = 2.0


def look(folder: Path, row: pd.Series, detector: Detector, paper: Explainer) -> dict:
    """Measure one view and compare it with its truth."""
    prepared = prepare(read_mammogram(folder / row.image), detector.shape, detector.pixel_mm)
    found = detector.measure(prepared)
    own = paper(prepared.pixels[None, ..., None])[1][OWN][0]
    area, _ = bac_area(own, detector.shape, PAPER_THRESHOLD, prepared.spacing_mm, prepared.mask)
    found |= {"true": row.bac_length_mm, "paper": area * found["bac"], "woman": row.patient_id}
    if row.bac and found["bac"]:
        truth = cv2.imread(str(folder / "truth" / f"{Path(row.image).stem}.png"), cv2.IMREAD_GRAYSCALE) > 0
        near = grow(truth, (row.pixel_spacing_mm,) * 2, NEAR_MM)
        outline = mask_to_original(detector.outline(prepared), prepared)
        found["dice"] = 2 * (outline & near).sum() / (outline.sum() + near.sum())
        heat = upsample_map(detector.heat(prepared), detector.shape) * prepared.mask
        peak = np.zeros(detector.shape, bool)
        peak.flat[heat.argmax()] = True
        found["inside"] = bool(near.flat[to_original(peak.astype(np.float32), prepared).argmax()])
    return found


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--women", type=int, default=64)
    parser.add_argument("--seed", type=int, default=5001)
    parser.add_argument("--spacing", type=float, default=0.15)
    parser.add_argument("--model", default=None)
    parser.add_argument("--output", default=None, help="CSV file for the rows")
    given = parser.parse_args()
    detector = Detector(given.model)
    paper = Explainer(load_model(detector.path), [OWN])
    women = draw_measured(given.women, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        write_views(women, folder, given.spacing, views=("MLO",))
        table = cohort_table(women, given.spacing)
        rows = table[table["view"] == "MLO"].itertuples()
        seen = [look(Path(folder), row, detector, paper) for row in tqdm(rows, total=2 * len(women), unit="view")]
    frame = pd.DataFrame(seen)
    if given.output:
        frame.to_csv(given.output, index=False)
    bac = frame["true"] > 0
    print(f"{len(frame)} MLO views of {len(women)} women, {bac.sum()} with BAC; seed {given.seed}")
    print(f"AUC-ROC {roc_auc_score(bac, frame['score']):.3f}; found {(frame['bac'] == 1)[bac].sum()} of {bac.sum()}, "
          f"false {(frame['bac'] == 1)[~bac].sum()} of {(~bac).sum()}")  # fmt: skip
    for name, column in (("length", "bac_length_mm"), ("area", "bac_area_mm2"), ("paper's recipe, area", "paper")):
        rho = [spearmanr(part[column], part["true"])[0] for part in (frame, frame[bac])]
        print(f"{name}: Spearman {rho[0]:.3f}, views with BAC {rho[1]:.3f}")
    agreement = length_agreement(frame.loc[bac, "bac_length_mm"], frame.loc[bac, "true"])
    print(f"length: median absolute error {agreement['median_absolute_error_mm']:.1f} mm, "
          f"{agreement['median_relative_error']:.1%}; bias {agreement['bias']:+.1%}")  # fmt: skip
    print(f"true positives: hottest pixel in the neighbourhood {frame['inside'].mean():.1%}, Dice of the outline "
          f"{frame['dice'].mean():.2f} (mean), {frame['dice'].median():.2f} (median)")  # fmt: skip


if __name__ == "__main__":
    main()
