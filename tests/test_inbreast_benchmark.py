"""The table of `benchmarks/inbreast.py` against hand calculations, on drawn files and with a stand-in for the model."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mammogram_files import write
from PIL import Image

PATH = Path(__file__).parents[1] / "benchmarks" / "inbreast.py"
SPEC = importlib.util.spec_from_file_location("inbreast", PATH)
inbreast = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(inbreast)

COLUMNS = "image,side,view,first_reader,second_reader,length_mm"
WOMAN = "6c613a14b80a8591"
NAN = np.nan


class Detector:
    """Finds an artery of 30 mm in images of at least 210 rows; traces none in those of at least 220."""

    shape, pixel_mm, point = (96, 64), 1.0, SimpleNamespace(threshold=0.5)

    def __init__(self, model=None):
        self.model = model

    def measure(self, prepared):
        rows = prepared.original_shape[0]
        length = None if rows >= 220 else 30.0 if rows >= 210 else 0.0
        reason = "no_artery_traced" if length is None else ""
        return {"score": rows / 1000 + 0.29, "bac": int(rows >= 210), "reason": reason, "bac_length_mm": length}


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(inbreast, "Detector", Detector)


def breast(rows, columns=160):
    """Draw a breast, uint8 (rows, columns)."""
    y, x = np.mgrid[:rows, :columns]
    inside = np.hypot((y - rows / 2) / (0.4 * rows), x / (0.7 * columns)) < 1
    return np.where(inside, 120 + 40 * np.sin(y / 9) * np.sin(x / 7), 0).astype(np.uint8)


def png(path, rows, columns=160):
    Image.fromarray(breast(rows, columns)).save(path)


def labels_file(tmp_path, *rows, header=COLUMNS):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def scored_views(rows):
    """Return scored views: first and second reader, score, length of the reader, measured length."""
    names = ["first_reader", "second_reader", "score", "length_mm", "bac_length_mm"]
    return pd.DataFrame(rows, columns=names, dtype=float).assign(patient_id=[f"W{n}" for n in range(len(rows))])


VIEWS = [
    (2, 2, 0.9, 10, 12), (1, 2, 0.8, 20, 30), (2, 2, 0.6, 30, 24), (1, 2, 0.3, 40, 0),  # BAC+ by both
    (0, 0, 0.7, NAN, 9), (0, 0, 0.5, NAN, 9), (0, 0, 0.4, NAN, 0), (0, 0, 0.2, NAN, 0), (0, 0, 0.1, NAN, 0),
    (0, 2, 0.45, 50, NAN), (NAN, 0, 0.55, NAN, NAN), (0, 1, 0.95, 8, 16),
]  # fmt: skip


def test_results_by_hand():
    """AUC-ROC: (5 + 5 + 4 + 2) of 20 pairs, then (6 + 6 + 5 + 3 + 2) of 30; 90 % of 5 BAC+ is all 5.

    Lengths: ranks of (10, 20, 30, 40) are 1 to 4, those of (12, 30, 24, 0) are 2, 4, 3, 1, so that the sum of squared
    differences is 14 and rho 1 - 6 x 14 / 60; ratios 1.2, 1.5, 0.8 and 0.
    """
    found = inbreast.results(scored_views(VIEWS), 0.5)
    assert found["both readings agree"].to_dict() == {
        "views": "4 BAC+, 5 BAC-",
        "AUC-ROC [95 %]": "0.800 [too few]",
        "found, all but one": "3 of 4, false alarms 1 of 5",
        "found at the threshold 0.5": "3 of 4, false alarms 2 of 5",
    }
    second = found["second reading"]
    assert re.fullmatch(r"0\.733 \[0\.\d{3}, 0\.\d{3}\]", second.pop("AUC-ROC [95 %]"))
    assert second.to_dict() == {
        "views": "5 BAC+, 6 BAC-",
        "found, 90 %": "5 of 5, false alarms 4 of 6",
        "found at the threshold 0.5": "3 of 5, false alarms 3 of 6",
    }
    lengths = found["reader's length"]
    assert re.fullmatch(r"-0\.40 \[.+\]", lengths.pop("Spearman's rho [95 %]"))
    assert lengths.to_dict() == {
        "views": "5, 1 measured as 0 mm (BAC-)",
        "left out": "1, no artery traced",
        "median of measured / reader's length": "1.00",
    }


def test_nine_of_ten_and_ties():
    """Nine of ten BAC+ are found at 0.2; at 0.1 a tie of two BAC+ would find both."""
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.2, 0.1]
    rows = [(2, 2, s, NAN, NAN) for s in scores] + [(0, 0, s, NAN, NAN) for s in (0.25, 0.2, 0.15, 0.1)]
    found = inbreast.results(scored_views(rows), 0.5)
    assert found["second reading"]["found, 90 %"] == "9 of 10, false alarms 2 of 4"
    rows[8] = (2, 2, 0.1, NAN, NAN)
    found = inbreast.results(scored_views(rows), 0.5)
    assert found["second reading"]["found, 90 %"] == "10 of 10, false alarms 4 of 4"


def test_intervals_are_by_woman():
    """Two equal views of each woman carry no more information than one."""
    rng = np.random.default_rng(3)
    scores = [*rng.normal(1, 1, 12), *rng.normal(0, 1, 12)]
    rows = [((0, 0) if n >= 12 else (2, 2)) + (score, NAN, NAN) for n, score in enumerate(scores)]
    single, double = scored_views(rows), scored_views(rows + rows)
    paired = double.assign(patient_id=[f"W{n}" for n in range(24)] * 2)
    texts = [
        inbreast.results(views, 0.5)["both readings agree"]["AUC-ROC [95 %]"] for views in (single, double, paired)
    ]
    width = [np.ptp([float(x) for x in re.findall(r"\d\.\d+", text)[1:]]) for text in texts]
    assert width[1] < 0.8 * width[0]
    assert width[2] == pytest.approx(width[0], rel=0.15)


def test_one_class():
    found = inbreast.results(scored_views(VIEWS[:3]), 0.5)
    assert found["both readings agree"].to_dict() == {"views": "3 BAC+, 0 BAC-"}


def test_no_known_length():
    found = inbreast.results(scored_views([(2, 2, 0.9, 12, NAN), (0, 0, 0.1, NAN, 0)]), 0.5)
    assert found["reader's length"].to_dict() == {
        "views": "1, 0 measured as 0 mm (BAC-)",
        "left out": "1, no artery traced",
    }


def test_labels_of_the_repository():
    """The counts are those of `inbreast_labels.md`, and of the results that were reported from outside."""
    labels = inbreast.read_labels(inbreast.LABELS)
    scored = labels.assign(patient_id=labels["image"], score=labels["second_reader"] / 2, bac_length_mm=0.0)
    found = inbreast.results(scored, 0.5)
    assert len(labels) == 410
    assert found["both readings agree"]["views"] == "28 BAC+, 333 BAC-"
    assert found["second reading"]["views"] == "50 BAC+, 343 BAC-"
    assert found["reader's length"]["views"] == "50, 50 measured as 0 mm (BAC-)"
    assert "27 of 28" in inbreast.results(scored.assign(score=np.arange(410)), 0.5)[
        "both readings agree", "found, all but one"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["7,R,CC,0,0,"], COLUMNS.replace("second_reader", "reader_2"), "'second_reader': missing"),
        (["7,R,CC,0,3,"], COLUMNS, "row 2, column 'second_reader': got 3, must be 0, 1, 2, or empty"),
        (["7,R,CC,0,0,", "7,L,CC,0,0,"], COLUMNS, "row 3, column 'image': got 7, must occur once"),
        (["7,R,CC,0,2,0"], COLUMNS, "'length_mm': got 0, must be a number of mm above 0, or empty"),
        (["7,R,CC,0,2,,70"], f"{COLUMNS},pixel_spacing_mm", "got 70, must be a number of mm above 0 and at most 2"),
    ],
)
def test_wrong_labels(tmp_path, capsys, rows, header, message):
    path = labels_file(tmp_path, *rows, header=header)
    with pytest.raises(ValueError, match=re.escape(message)):
        inbreast.read_labels(path)
    with pytest.raises(SystemExit):
        inbreast.main([str(tmp_path), "--labels", str(path)])
    assert message in " ".join(capsys.readouterr().err.split())


def test_names(tmp_path):
    (tmp_path / "below").mkdir()
    kept = [f"20586908_{WOMAN}_MG_R_CC_ANON.dcm", "20586934.png", "below/20586960.PNG", "20586960.dcm"]
    for name in [*kept, "20586908.xml", "20586934 (17).png", "20586934_mask.png", "notes.png", "205869081_x.dcm"]:
        (tmp_path / name).touch()
    found = inbreast.find_images(tmp_path)
    assert {image: sorted(path.name for path in paths) for image, paths in found.items()} == {
        "20586908": [kept[0]], "20586934": ["20586934.png"], "20586960": ["20586960.PNG", "20586960.dcm"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((3328, 2560), 0.07), ((4084, 3328), 0.07),
        ((2048, 1575), 0.11375), ((2048, 1669), 0.139590),  # 3328 and 4084 rows reduced to 2048
        ((224, 224), None), ((2560, 3328), None), ((3328, 2600), None),
    ],
)  # fmt: skip
def test_spacing_of_copies(shape, spacing):
    assert inbreast.copy_spacing(shape) == (None if spacing is None else pytest.approx(spacing, abs=1e-6))


def test_folder(tmp_path, capsys):
    folder = tmp_path / "views"
    folder.mkdir()
    woman = "3cc9aaaaaaaaaaaa"  # "cc" is no view here
    write(folder / f"11_{WOMAN}_MG_R_CC_ANON.dcm", breast(210), ImageLaterality="R")  # states 0.1 mm
    write(folder / f"12_{WOMAN.upper()}_MG_L_ML_ANON.dcm", breast(208), ImagerPixelSpacing=None, ViewPosition=None)
    png(folder / f"13_{woman}_MG_R_ML_ANON.png", 220, 169)  # 3328 x 2560, reduced to 220 rows
    png(folder / "14.png", 200)
    png(folder / "15.png", 200, 200)  # unknown proportions
    (folder / "16.png").write_bytes((folder / "14.png").read_bytes()[:300])
    write(folder / f"17_{WOMAN}_MG_R_CC_ANON.dcm", breast(200))  # states L
    for ending in ("png", "dcm"):
        (folder / f"18.{ending}").touch()
    rows = ["11,R,CC,2,2,20", "12,L,MLO,0,0,", "13,R,MLO,1,2,40", "14,L,CC,0,0,", "15,L,CC,0,0,", "16,L,CC,0,0,"]
    rows += ["17,R,CC,0,0,", "18,R,CC,0,0,", "19,R,CC,2,2,9"]
    spacings = ["", "0.12", "", "0.11", "", "", "", "", ""]
    lines = [f"{row},{spacing}" for row, spacing in zip(rows, spacings, strict=True)]
    labels = labels_file(tmp_path, *lines, header=f"{COLUMNS},pixel_spacing_mm")
    output = tmp_path / "new" / "scores.csv"
    inbreast.main([str(folder), "--labels", str(labels), "--output", str(output)])
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "9 labelled views: 4 scored, 1 missing, 4 not usable",
        "15: unreadable: 200 x 200 pixels of unknown size: use --pixel-mm",
        "17: conflict: the side is stated as L and as R",
        "18: 2 files with this number, must be one",
        "women by file name: 2",
        "views whose file name has no woman: 1;",
        "height of the images: 21 to 233 mm",
        "both readings agree views 2 BAC+, 2 BAC- AUC-ROC [95 %] 1.000 [too few]",
        "found, all but one 1 of 2, false alarms 0 of 2 found at the threshold 0.5 2 of 2, false alarms 0 of 2",
        "reader's length views 2, 0 measured as 0 mm (BAC-) left out 1, no artery traced",
        "median of measured / reader's length 1.50",  # 30 mm for 20 mm
    ):
        assert text in printed
    assert re.search(r"16: (truncated|unreadable): ", printed)
    scores = pd.read_csv(output, dtype={"image": str}).set_index("image")
    assert scores["patient_id"].tolist()[:5] == [WOMAN, WOMAN, woman, "14", "15"]
    assert scores["height_mm"].tolist()[:4] == pytest.approx([21.0, 208 * 0.12, 3328 * 0.07, 200 * 0.11])
    assert scores["score"].tolist()[:4] == pytest.approx([0.5, 0.498, 0.51, 0.49])
    assert scores["score"][4:].isna().all()
    assert scores.loc["19", "not_scored"] == "missing"

    inbreast.main([str(folder), "--labels", str(labels), "--pixel-mm", "0.1", "--output", str(output)])
    scores = pd.read_csv(output, dtype={"image": str}).set_index("image")
    assert scores["height_mm"].tolist()[:5] == pytest.approx([21.0, 208 * 0.12, 22.0, 200 * 0.11, 20.0])


def test_nothing_readable(tmp_path, capsys):
    (tmp_path / "14.png").write_bytes(b"no image")
    inbreast.main([str(tmp_path), "--labels", str(labels_file(tmp_path, "14,L,CC,0,0,"))])
    assert capsys.readouterr().out.splitlines() == [
        "1 labelled views: 0 scored, 0 missing, 1 not usable",
        "  14: not_an_image: the file is neither DICOM nor PNG, TIFF or JPEG",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "must contain files whose names begin with a labelled number"),
        (["--pixel-mm", "70"], "--pixel-mm: got 70.0, must be above 0 and at most 2 mm"),
    ],
)
def test_wrong_arguments(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        inbreast.main([str(tmp_path), *arguments])
    assert message in " ".join(capsys.readouterr().err.split())
