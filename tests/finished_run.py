"""A run's folder as the notebooks leave it, made in a second: breasts are ellipses, arteries lines of known length."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from bac_utils.dataset import INDEX_FILE, PIXELS_FILE
from bac_utils.detector import OperatingPoint, save_point
from bac_utils.intake.mammogram import Mammogram
from bac_utils.preprocess import prepare
from bac_utils.run_folder import save_heatmaps, save_part
from bac_utils.settings import LOWEST_SCORE
from bac_utils.views_table import is_compared

SPACING_MM = 0.5
FORM = "local-logits"
VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))


def draw_view(shape, length_mm, seed):
    """Return uint16 pixels with the chest wall at the left, and the artery's mask; pixels of SPACING_MM."""
    rng = np.random.default_rng(seed)
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns]
    breast = np.hypot((y - rows / 2) / (0.42 * rows), x / (0.85 * columns)) < 1
    tissue = cv2.GaussianBlur(rng.normal(size=shape).astype(np.float32), (0, 0), 6)
    grey = 300 + breast * (1200 + 2500 * tissue + rng.normal(scale=30, size=shape))
    artery = np.zeros(shape, np.uint8)
    if length_mm:
        angle, size = rng.uniform(-0.6, 0.6), length_mm / SPACING_MM
        start = np.array([0.25 * columns, rng.uniform(0.4, 0.6) * rows])
        end = start + size * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(artery, start.astype(int).tolist(), end.astype(int).tolist(), 1, 2)
    grey = grey + 1800.0 * artery * breast
    return np.clip(grey, 0, 4095).astype(np.uint16), artery.astype(bool) & breast


def make_run(folder: Path, women=24, shape=(192, 96), kinds=6, seed=0, subset=True, form=FORM, names=None) -> Path:
    """Fill a folder: `women` with four views each, of which `kinds` differ; the first kinds have BAC.

    `names` are the women's identifiers, W0000 and so on by default.
    """
    names = names or [f"W{woman:04d}" for woman in range(women)]
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    drawn = {}
    for kind in range(kinds):
        for number, (side, view) in enumerate(VIEWS):
            length = 0.0 if kind >= kinds // 3 else float(rng.uniform(8, 0.3 * shape[1]))
            pixels, artery = draw_view(shape, length, (seed, kind, number))
            prepared = prepare(
                Mammogram(pixels.astype(np.float32), spacing_mm=(SPACING_MM,) * 2, laterality="L", view=view),
                shape,
                SPACING_MM,
            )
            name = f"images/k{kind}_{side}_{view}.png"
            Image.fromarray(pixels[:, ::-1] if side == "R" else pixels).save(folder / name)
            heat = cv2.resize(artery.astype(np.float32), (shape[1] // 8, shape[0] // 8), interpolation=cv2.INTER_AREA)
            heat = cv2.GaussianBlur(heat, (0, 0), 0.7)
            drawn[kind, side, view] = length, prepared, name, heat / max(float(heat.max()), 1e-6)
    rows, heats, pixels, spacing = [], [], [], []
    sets = ["train"] * (women // 2) + ["validation"] * (women // 4)
    sets += ["test"] * (women - len(sets))
    for woman in range(women):
        age = int(rng.integers(46, 88))
        for side, view in VIEWS:
            length, prepared, original, heat = drawn[woman % kinds, side, view]
            name = f"images/W{woman:04d}_{side}_{view}.png"  # a file may come once only
            shutil.copy(folder / original, folder / name)
            score = float(np.clip(rng.normal(0.75 if length else 0.3, 0.15), 0.01, 0.99))
            rows.append(
                (names[woman], age, side, view, name, float(length > 0), length, SPACING_MM, sets[woman], score)
            )
            heats.append(heat * score)
            pixels.append(prepared.pixels.astype(np.float16))
            spacing.append(prepared.spacing_mm)
    columns = [
        "patient_id",
        "age",
        "laterality",
        "view",
        "image",
        "bac",
        "bac_length_mm",
        "pixel_spacing_mm",
        "split",
        "score",
    ]
    table = pd.DataFrame(rows, columns=columns)
    table["order"] = pd.Categorical(table["split"], ["train", "validation", "test"])
    (folder / "cache").mkdir()
    np.save(folder / "cache" / PIXELS_FILE, np.stack(pixels))
    (folder / "cache" / INDEX_FILE).write_text(
        json.dumps({"keys": ["k"] * len(rows), "spacing": spacing, "doubt": [""] * len(rows)})
    )
    table.drop(columns=["score", "order"]).to_csv(folder / "views.csv", index=False)
    predictions = table[["patient_id", "laterality", "view", "split", "bac", "score"]].astype({"bac": int})
    predictions.to_csv(folder / "predictions.csv", index=False)
    wanted = table.index[(table["split"] != "train") & ((table["score"] >= LOWEST_SCORE) | is_compared(table))]
    made, spacings = np.stack([heats[i] for i in wanted]), [spacing[i] for i in wanted]
    save_heatmaps(folder, "detection", form, table.loc[wanted], made, spacings)
    if subset:
        _save_subset(folder, table, heats, pixels, spacing)
    (folder / "model.keras").write_bytes(b"a model")
    save_point(folder, OperatingPoint(0.5, 0.3, form, SPACING_MM, chosen_on="validation"))
    save_part(folder, "cohort", preset="demo", seed=seed)
    save_part(folder, "training", view_pixel_mm=SPACING_MM)
    save_part(folder, "detection", threshold={"value": 0.5, "chosen_on": "validation"})
    if subset:
        save_part(folder, "quantification")
    return folder


def _save_subset(folder, table, heats, pixels, spacing):
    """Save six MLO views of three more BAC+ women, as notebook 04 does."""
    part = table[(table["view"] == "MLO") & (table["bac"] == 1)].head(6)
    images = "images/Q" + part["image"].str.removeprefix("images/")
    for old, new in zip(part["image"], images, strict=True):
        shutil.copy(folder / old, folder / new)
    rows = part.assign(patient_id="Q" + part["patient_id"], split="quantification", image=images)
    views = pd.read_csv(folder / "views.csv", dtype=str, keep_default_na=False)
    pd.concat([views, rows.drop(columns=["score", "order"])]).to_csv(folder / "views.csv", index=False)
    columns = ["patient_id", "laterality", "view", "split", "bac", "bac_length_mm", "score"]
    rows[columns].to_csv(folder / "quantification.csv", index=False)
    args = ([values[i] for i in part.index] for values in (heats, spacing, pixels))
    save_heatmaps(folder, "quantification", FORM, rows, *args)
