"""A finished run with a tiny detector, and masks of its arteries."""

import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from finished_run import SPACING_MM, VIEWS, draw_view, make_run

from bac_utils._files import write_json
from bac_utils.detector import OperatingPoint, save_point
from bac_utils.methods.interface import LabelledViews
from bac_utils.model import build_model
from bac_utils.run_folder import save_part, versions
from bac_utils.settings import preset

SHAPE, KINDS, SEED = (192, 96), 6, 0


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory):
    """24 women, 16 of them without BAC, with a VGG16 / 32 that was never trained, and `masks/` of the arteries."""
    folder = make_run(tmp_path_factory.mktemp("methods") / "run", shape=SHAPE, kinds=KINDS, seed=SEED)
    settings = preset("demo", input_shape=SHAPE, view_pixel_mm=SPACING_MM, width_divisor=32, weights="none", seed=SEED)
    build_model(settings).save(folder / "model.keras")
    write_json(folder / "training" / "fit.json", {"backbone": "VGG16", "batch_size": 8})
    pd.DataFrame({"epoch": [1], "seconds": [90.0]}).to_csv(folder / "history.csv", index=False)
    save_point(folder, OperatingPoint(0.5, 0.3, "local-logits", SPACING_MM, chosen_on="validation"))
    training = {"start": "none", "start_val_auc_pr": 0.1, "best_val_auc_pr": 0.2}
    save_part(folder, "cohort", preset="demo", seed=SEED)
    save_part(folder, "training", view_pixel_mm=SPACING_MM, training=training)
    save_part(folder, "detection", threshold={"value": 0.5, "chosen_on": "validation"})
    save_part(folder, "quantification")
    shutil.rmtree(folder / "cache")
    (folder / "notebooks").mkdir()
    asked = {"preset": "demo", "seed": SEED, "cohort": "", "parameters": {}, "folds": None}
    manifest = {"kit": "bac-utils", "kind": "run", "asked": asked, "versions": versions(), "notebooks": {}}
    write_json(folder / "manifest.json", manifest | {"finished": True})
    views = pd.read_csv(folder / "views.csv")
    (folder / "masks").mkdir()
    for row in views[views["bac"] == 1].itertuples():
        stem = row.image.removeprefix("images/").removesuffix(".png")
        kind = int(row.patient_id.removeprefix("QW").removeprefix("W")) % KINDS
        number = VIEWS.index((row.laterality, row.view))
        _, artery = draw_view(SHAPE, row.bac_length_mm, (SEED, kind, number))
        mask = artery[:, ::-1] if row.laterality == "R" else artery
        cv2.imwrite(str(folder / "masks" / f"{stem}.png"), mask.astype(np.uint8) * 255)
    return folder


@pytest.fixture(scope="session")
def line_views():
    """24 views of 64 x 48 pixels of 0.5 mm, a half ellipse of noise; a bright line in every second one."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:64, :48]
    breast = np.hypot((y - 32) / 32, x / 46) < 1
    pixels, outlines = np.zeros((24, 64, 48), np.float16), np.zeros((24, 64, 48), bool)
    for k in range(24):
        image, line = rng.normal(size=(64, 48)), np.zeros((64, 48), np.uint8)
        if k % 2:
            start = rng.integers([8, 20], [14, 28])
            cv2.line(line, tuple(int(n) for n in start), tuple(int(n) for n in start + rng.integers(10, 18, 2)), 1, 2)
        outlines[k] = (line > 0) & breast
        pixels[k] = np.where(breast, image + 5 * outlines[k], 0)
    table = pd.DataFrame({"patient_id": [f"W{k // 2}" for k in range(24)], "exam": "", "laterality": "L"})
    table = table.assign(view=["CC", "MLO"] * 12, bac=outlines.any(axis=(1, 2)).astype(int))
    table = table.assign(spacing_row_mm=0.5, spacing_column_mm=0.5, bac_length_mm=outlines.sum(axis=(1, 2)) / 4)
    return LabelledViews(pixels, table, outlines)
