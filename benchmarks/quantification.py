"""How well are lengths measured on simulated women of a fresh seed, by `simulate` and `score` as they are installed?

Simulates BAC+ women, scores their MLO views, and prints, beside the paper's recipe, the rank correlation with the
true length, the error in mm, and how well the artery is located: the outline is that of the DICOM Segmentation, the
neighbourhood what lies within 2 mm of the true mask of the artery.

    .venv/bin/python benchmarks/quantification.py [--women 64] [--seed 5001] [--spacing 0.25] [--model runs/demo]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.agreement import length_agreement
from bac_utils.arteries.masks import grow
from bac_utils.detector import Detector
from bac_utils.heatmaps import PER_IMAGE, Explainer
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import load_model
from bac_utils.preprocess import prepare, to_original
from bac_utils.quantify import bac_area, upsample_map
from bac_utils.settings import PAPER_HEATMAP_THRESHOLD

NEAR_MM = 2.0


def command(*words: str) -> None:
    """Run a command of the kit."""
    subprocess.run([sys.executable, "-m", "bac_utils", *words], check=True)


def measure(folder: Path, given: argparse.Namespace) -> pd.DataFrame:
    """Simulate and score; return one row per MLO view, as `score` writes it, with `true` (mm) and its `image`."""
    options = [] if given.spacing is None else ["--spacing", str(given.spacing)]
    women = ["--women", str(given.women), "--seed", str(given.seed), "--prevalence", "1"]
    command("simulate", str(folder), *women, *options)
    table = pd.read_csv(folder / "views.csv").query("view == 'MLO'")
    files = [str(folder / image) for image in table["image"]]
    options = [] if given.model is None else ["--model", given.model]
    command("score", *files, "--output", str(folder / "scores.csv"), "--dicom", str(folder / "dicom"), *options)
    rows = pd.read_csv(folder / "scores.csv").drop(columns=["patient_id", "laterality", "view"])
    truth = table.rename(columns={"bac": "bac_true", "bac_length_mm": "true"}).assign(file=files)
    return truth.merge(rows, on="file", validate="one_to_one")


def compare(folder: Path, row: pd.Series, detector: Detector, paper: Explainer, outline: np.ndarray | None) -> dict:
    """Measure a view by the paper's recipe, and compare its heatmap and outline with the ground truth."""
    prepared = prepare(read_mammogram(row.file), detector.shape, detector.pixel_mm)
    heat = paper(prepared.pixels[None, ..., None])[1][PER_IMAGE][0]
    area, _ = bac_area(heat, detector.shape, PAPER_HEATMAP_THRESHOLD, prepared.spacing_mm, prepared.mask)
    found = {"paper": area * row.bac}
    if row.bac_true and row.bac:
        truth = cv2.imread(str(folder / "truth" / f"{Path(row.file).stem}.png"), cv2.IMREAD_GRAYSCALE) > 0
        near = grow(truth, (row.pixel_spacing_mm,) * 2, NEAR_MM)
        outline = np.zeros_like(near) if outline is None else outline
        found["dice"] = 2 * (outline & near).sum() / (outline.sum() + near.sum())
        heat = upsample_map(detector.heat(prepared), detector.shape) * prepared.mask
        peak = np.zeros(detector.shape, bool)
        peak.flat[heat.argmax()] = True
        found["inside"] = bool(near.flat[to_original(peak.astype(np.float32), prepared).argmax()])
    return found


def main() -> None:
    """Simulate, score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--women", type=int, default=64)
    parser.add_argument("--seed", type=int, default=5001)
    parser.add_argument("--spacing", type=float, default=None, help="by default that of simulate")
    parser.add_argument("--model", default=None)
    parser.add_argument("--output", default=None, help="CSV file for the rows")
    given = parser.parse_args()
    detector = Detector(given.model)
    paper = Explainer(load_model(detector.path), [PER_IMAGE])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame = measure(folder, given)
        index = pd.read_csv(folder / "dicom" / "index.csv").set_index("file")["segmentation"].dropna()
        seen = []
        for row in tqdm(frame.itertuples(), total=len(frame), unit="view"):
            path = index.get(row.file)
            outline = None if path is None else pydicom.dcmread(folder / "dicom" / path).pixel_array > 0
            seen.append(compare(folder, row, detector, paper, outline))
    frame = pd.concat([frame, pd.DataFrame(seen)], axis=1)
    if given.output:
        frame.to_csv(given.output, index=False)
    bac = frame["true"] > 0
    print(f"{len(frame)} MLO views of {given.women} women at {frame['pixel_spacing_mm'][0]} mm, {bac.sum()} with BAC; "
          f"seed {given.seed}")  # fmt: skip
    print(f"AUC-ROC {roc_auc_score(bac, frame['score']):.3f}; found {(frame['bac'] == 1)[bac].sum()} of {bac.sum()}, "
          f"false {(frame['bac'] == 1)[~bac].sum()} of {(~bac).sum()}")  # fmt: skip
    for name, column in (("length", "bac_length_mm"), ("area", "bac_area_mm2"), ("paper's recipe, area", "paper")):
        rho = [spearmanr(part[column], part["true"], nan_policy="omit")[0] for part in (frame, frame[bac])]
        print(f"{name}: Spearman {rho[0]:.3f}, views with BAC {rho[1]:.3f}")
    known = frame[bac & frame["bac_length_mm"].notna()]
    agreement = length_agreement(known["bac_length_mm"], known["true"])
    print(f"length: median absolute error {agreement['median_absolute_error_mm']:.1f} mm, "
          f"{agreement['median_relative_error']:.1%}; bias {agreement['bias']:+.1%}, {len(known)} views")  # fmt: skip
    print(f"true positives: hottest pixel in the neighbourhood {frame['inside'].mean():.1%}, Dice of the outline "
          f"{frame['dice'].mean():.2f} (mean), {frame['dice'].median():.2f} (median)")  # fmt: skip


if __name__ == "__main__":
    main()
