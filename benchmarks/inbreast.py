"""How well does a detector find and measure calcified arteries on the views of INbreast?

INbreast (Moreira et al., Acad Radiol 19:236, 2012) has 410 full-field digital views and is given on request. This
script scores the views in a folder and compares the scores with `inbreast_labels.csv`, two readings of each view; no
radiologist has read them (`inbreast_labels.md` explains the columns and their limits).

Two sets of views are compared by score, and a third by length:

- "both readings agree": BAC+ are definite in the second reading and at least probable in the first; BAC- are views in
  which both saw none. Views that only one of them judged, or on which they differ, are left out.
- "second reading": BAC+ are definite in the second reading, including the faint ones that the first did not see; BAC-
  are views in which the second saw none. Doubtful views are left out.
- "reader's length": the BAC+ views of the second set. A view that the detector classifies as BAC- has a measured length
  of 0 and counts. A BAC+ view in which no artery could be traced has an unknown length; such views are counted and left
  out.

DICOM and PNG files are named as in INbreast (`20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm`) or by their number alone
(`20586908.png`). The second part of the long name identifies the woman. With the number alone no woman is known, and
intervals treat such views as independent. Files with other names are ignored. A DICOM file whose header does not say
that it is a mammogram is not scored, but a PNG copy of it can be. Results: `inbreast_labels.md`.

    .venv/bin/python benchmarks/inbreast.py FOLDER [--labels CSV] [--model M] [--pixel-mm MM] [--output scores.csv]
"""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from bac_utils._files import walk_files, written_whole
from bac_utils._tables import read_table
from bac_utils.agreement import correlate
from bac_utils.detection import ScoreCurve, detection_intervals, detection_metrics
from bac_utils.detector import Detector
from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import prepare
from bac_utils.statistics import with_interval
from bac_utils.views_table import MAXIMUM_SPACING_MM

LABELS = Path(__file__).with_name("inbreast_labels.csv")
NAME = re.compile(r"(\d+)(?:_([0-9a-f]{16})_\w+)?", re.IGNORECASE)
"""Image number and, in long names, the woman."""
ENDINGS = (".dcm", ".dicom", ".png")
FORMATS = ((3328, 2560), (4084, 3328))
"""Rows and columns of INbreast's detector with the small and the large compression plate (Moreira et al. 2012)."""
DETECTOR_MM = 0.07
"""Pixel size of the detector, mm (Moreira et al. 2012)."""
TOLERANCE = 0.005
"""Largest relative difference in proportions between a reduced copy and its format; the two formats differ by 6 %."""
MISSING = "missing"
SAMPLES, SEED = 2000, 2023


def read_labels(path: str | Path) -> pd.DataFrame:
    """Read and check a table of labels.

    Args:
        path: CSV file with the columns `image, side, view, first_reader, second_reader, length_mm` and, optionally,
            `pixel_spacing_mm` for images that state none.

    Returns:
        The columns of the file, `image`, `side` and `view` as text, the others as float64, NaN where empty.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, or a value breaks a rule; the message names the row and the column.
    """
    readers = ("first_reader", "second_reader")
    table = read_table(path, ("image", "side", "view", *readers, "length_mm"), ("pixel_spacing_mm",))
    found = {"image": table.identifiers("image")}
    table.refuse(found["image"].duplicated(), "image", "must occur once")
    found["side"] = table.choices("side", {"L": "L", "R": "R"})
    found["view"] = table.choices("view", {"CC": "CC", "MLO": "MLO", "": ""})
    for name in readers:
        found[name] = table.numbers(name, lambda x: x.isin([0, 1, 2]), "must be 0, 1, 2, or empty (not judged)")
    rule = "must be a number of mm above 0{}, or empty"
    found["length_mm"] = table.numbers("length_mm", lambda x: (x > 0) & (x < np.inf), rule.format(""))
    if "pixel_spacing_mm" in table.cells:
        most, rule = MAXIMUM_SPACING_MM, rule.format(f" and at most {MAXIMUM_SPACING_MM:g}")
        found["pixel_spacing_mm"] = table.numbers("pixel_spacing_mm", lambda x: (x > 0) & (x <= most), rule)
    return pd.DataFrame(found).reset_index(drop=True)


def find_images(folder: str | Path) -> dict[str, list[Path]]:
    """Return the DICOM and PNG files in a folder and below it by image number; see `NAME`."""
    found: dict[str, list[Path]] = {}
    for path in walk_files([folder]):
        match = NAME.fullmatch(path.stem)
        if match and path.suffix.lower() in ENDINGS:
            found.setdefault(match[1], []).append(path)
    return found


def copy_spacing(shape: tuple[int, int]) -> float | None:
    """Return the pixel size in mm of an uncropped copy of an INbreast view, of any size; None if it has no format."""
    for rows, columns in FORMATS:
        if abs(shape[0] * columns / (shape[1] * rows) - 1) <= TOLERANCE:
            return DETECTOR_MM * rows / shape[0]
    return None


def read_view(path: Path, label: dict, pixel_mm: float | None) -> Mammogram:
    """Read a labelled view.

    Args:
        path: A DICOM or PNG file.
        label: A row of `read_labels`. Side and view must be those of a DICOM file. They are not compared with the name
            of a PNG file, since the woman's part of it may contain `cc`.
        pixel_mm: Pixel size of files that state none, mm, if `label` has none either; None: see `copy_spacing`.

    Returns:
        The view, with a pixel spacing.

    Raises:
        Skip: The file cannot be used, contradicts the label, or has no known pixel spacing.
    """
    given = label.get("pixel_spacing_mm", np.nan)
    given = pixel_mm if np.isnan(given) else given
    stated = {} if path.suffix.lower() == ".png" else {"laterality": label["side"], "view": label["view"] or None}
    found = read_mammogram(path, pixel_spacing_mm=given, **stated)
    if found.spacing_mm is None:
        spacing = copy_spacing(found.pixels.shape)
        if spacing is None:
            rows, columns = found.pixels.shape
            raise Skip("unreadable", f"{rows} x {columns} pixels of unknown size: use --pixel-mm, see --help")
        found = replace(found, spacing_mm=(spacing, spacing), spacing_rule="given")
    return found


def score_views(
    labels: pd.DataFrame, images: dict[str, list[Path]], detector: Detector, pixel_mm: float | None = None
) -> pd.DataFrame:
    """Score each labelled view.

    Args:
        labels: From `read_labels`.
        images: From `find_images`.
        detector: The detector.
        pixel_mm: As for `read_view`.

    Returns:
        One row per label: its columns, `file`, `patient_id` (the woman in the file's name, else the image number),
        `named` (whether the name has the woman), `height_mm` of the image, `not_scored` (why; empty if scored), and the
        columns of `Detector.measure`.
    """
    rows = []
    for label in tqdm(labels.to_dict("records"), unit="view"):
        paths = images.get(label["image"], [])
        row = label | {"file": paths[0].name if paths else "", "patient_id": label["image"], "named": False}
        row |= {"not_scored": "", "height_mm": np.nan, "score": np.nan, "bac": np.nan, "bac_length_mm": np.nan}
        rows.append(row)
        if len(paths) != 1:
            row["not_scored"] = f"{len(paths)} files with this number, must be one" if paths else MISSING
            continue
        woman = NAME.fullmatch(paths[0].stem)[2]
        row |= {"patient_id": woman.lower(), "named": True} if woman else {}
        try:
            mammogram = read_view(paths[0], label, pixel_mm)
            measured = detector.measure(prepare(mammogram, detector.shape, detector.pixel_mm))
        except Skip as skip:
            row["not_scored"] = str(skip)
        else:
            row |= measured | {"height_mm": mammogram.pixels.shape[0] * mammogram.spacing_mm[0]}
    return pd.DataFrame(rows)


def detection_rows(
    views: pd.DataFrame, positive: pd.Series, negative: pd.Series, threshold: float, share: str, least: Callable
) -> dict[str, str]:
    """Compare scores with labels.

    Args:
        views: Scored views: `patient_id, score`.
        positive: Whether each view is BAC+ by its label.
        negative: Whether it is BAC-; views that are neither are left out.
        threshold: The detector's own threshold.
        share: Words for `least`.
        least: Returns how many BAC+ views must be found, given their number.

    Returns:
        Text by measure. For `share`, the threshold is the highest that finds at least as many; with ties it finds more.
    """
    part = views.assign(bac=positive.astype(int))[positive | negative]
    bac, others = int(positive.sum()), int(negative.sum())
    rows = {"views": f"{bac} BAC+, {others} BAC-"}
    if not (bac and others):
        return rows
    found = detection_metrics(part["bac"], part["score"], threshold)
    limits = detection_intervals(part, threshold, SAMPLES, SEED)["auc_roc"]
    tps, fps = ScoreCurve(part["bac"], part["score"]).cumulate(np.ones(len(part)))
    place = int(np.argmax(tps >= max(least(bac), 1)))
    called = {share: (tps[place], fps[place]), f"found at the threshold {threshold:g}": (found["tp"], found["fp"])}
    rows["AUC-ROC [95 %]"] = with_interval(found["auc_roc"], limits, digits=3)
    return rows | {name: f"{tp:.0f} of {bac}, false alarms {fp:.0f} of {others}" for name, (tp, fp) in called.items()}


def length_rows(views: pd.DataFrame) -> dict[str, str]:
    """Compare measured lengths with the reader's.

    Args:
        views: Scored views with a reader's length: `patient_id, length_mm, bac_length_mm`, NaN if unknown.

    Returns:
        Text by measure; rho and ratio are those of the views with a known measured length.
    """
    known = views.dropna(subset=["bac_length_mm"])
    measured, length = known["bac_length_mm"], known["length_mm"]
    rows = {
        "views": f"{len(views)}, {(measured == 0).sum()} measured as 0 mm (BAC-)",
        "left out": f"{len(views) - len(known)}, no artery traced",
    }
    if known.empty:
        return rows
    rho = correlate(measured, length, known["patient_id"], SAMPLES, SEED)
    rows["Spearman's rho [95 %]"] = with_interval(rho["spearman_rho"], rho["spearman_ci"])
    return rows | {"median of measured / reader's length": f"{(measured / length).median():.2f}"}


def results(views: pd.DataFrame, threshold: float) -> pd.Series:
    """Return the results as text, by set of views and measure.

    Args:
        views: Scored views, from `score_views`.
        threshold: The detector's own threshold.
    """
    first, second = views["first_reader"], views["second_reader"]
    both, none = (first >= 1) & (second == 2), (first == 0) & (second == 0)
    all_but_one, most = ("found, all but one", lambda n: n - 1), ("found, 90 %", lambda n: -(-9 * n // 10))
    parts = {
        "both readings agree": detection_rows(views, both, none, threshold, *all_but_one),
        "second reading": detection_rows(views, second == 2, second == 0, threshold, *most),
        "reader's length": length_rows(views[(second == 2) & views["length_mm"].notna()]),
    }
    return pd.Series({(name, measure): text for name, rows in parts.items() for measure, text in rows.items()})


def print_coverage(views: pd.DataFrame) -> None:
    """Print how many of the labelled views were scored, why others were not, the number of women, and image heights."""
    scored, missing = views["not_scored"] == "", views["not_scored"] == MISSING
    failed = views[~scored & ~missing]
    print(f"{len(views)} labelled views: {scored.sum()} scored, {missing.sum()} missing, {len(failed)} not usable")
    for row in failed.itertuples():
        print(f"  {row.image}: {row.not_scored}")
    views = views[scored]
    if views.empty:
        return
    unnamed = int((~views["named"]).sum())
    print(f"women by file name: {views.loc[views['named'], 'patient_id'].nunique()}")
    if unnamed:
        print(f"views whose file name has no woman: {unnamed}; intervals treat each as that of another woman and may "
              "be too narrow")  # fmt: skip
    expected = " and ".join(f"{rows * DETECTOR_MM:.0f}" for rows, _ in FORMATS)
    low, high = views["height_mm"].min(), views["height_mm"].max()
    print(f"height of the images: {low:.0f} to {high:.0f} mm (uncropped views of INbreast: {expected} mm)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the views, print the results and, if wanted, save the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the views; subfolders are included")
    parser.add_argument("--labels", default=LABELS, help="CSV file of the labels (default: that beside this script)")
    parser.add_argument(
        "--model", default=None, help="a .keras file or a finished run's folder; by default the bundled detector"
    )
    parser.add_argument(
        "--pixel-mm", type=float, default=None, metavar="MM",
        help="pixel size in mm of files that state none (PNG, and DICOM without a pixel spacing). INbreast's detector "
        "has 0.07 mm; a copy of half the width has 0.14 mm. By default it follows from the image's proportions, which "
        "is right for copies of whole views at any size, not for crops. If it differs between images, add a column "
        "pixel_spacing_mm to a copy of the labels",
    )  # fmt: skip
    parser.add_argument("--output", default=None, help="CSV file for the scores, one row per labelled view")
    given = parser.parse_args(arguments)
    if given.pixel_mm is not None and not 0 < given.pixel_mm <= MAXIMUM_SPACING_MM:
        parser.error(f"--pixel-mm: got {given.pixel_mm}, must be above 0 and at most {MAXIMUM_SPACING_MM:g} mm")
    try:
        labels, images = read_labels(given.labels), find_images(given.folder)
        if not set(labels["image"]) & set(images):
            raise FileNotFoundError(f"folder: got {given.folder}, must contain files whose names begin with a labelled "
                                    "number; see --help")  # fmt: skip
        detector = Detector(given.model)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    views = score_views(labels, images, detector, given.pixel_mm)
    if given.output:
        with written_whole(given.output) as part:
            views.to_csv(part, index=False)
    print_coverage(views)
    scored = views[views["not_scored"] == ""]
    if len(scored):
        print(results(scored, detector.point.threshold).to_string())


if __name__ == "__main__":
    main()
