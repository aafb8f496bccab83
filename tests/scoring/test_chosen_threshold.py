"""Thresholds by name, and thresholds chosen from the archive's own scores; no call that is stopped spoils a row."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.detector import MEASURES, find_detector
from bac_utils.intake.pseudonyms import pseudonym
from bac_utils.scoring import batch, reading_pool
from bac_utils.scoring.batch import score_files
from bac_utils.scoring.chosen_threshold import lowest_threshold
from bac_utils.scoring.reading_pool import FileRead

POINT = {"threshold": 0.5, "heatmap_threshold": 0.3, "operating_points": {"high-sensitivity": 0.25}}
SCORES = [0.05, 0.62, 0.15, 0.85, 0.25, 0.35, 0.95, 0.45, 0.72, 0.58]  # five of ten are BAC+ at 0.5


@pytest.mark.parametrize(
    ("scores", "below", "threshold"),
    [
        ("0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95", 0.9, 0.900001),  # nine of ten are below
        ("0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95", 1 - 0.3, 0.700001),  # 10 * (1 - 0.3) is 7, not above
        ("0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 0.95", 0.01, 0.100001),
        ("0.9 0.5 0.5 0.5 0.2", 0.4, 0.500001),  # ties: two must be below, four are
        ("0.123456 0.9", 0.5, 0.123457),
        ("9.99999e-05 0.9", 0.5, 0.0001),
        ("0.999999 1", 0.5, 1.0),
    ],
)
def test_lowest_threshold(scores, below, threshold):
    scores = scores.split()
    assert lowest_threshold(scores, below) == threshold
    assert np.mean([float(score) < threshold for score in scores]) >= below


def test_a_threshold_never_exceeds_1():
    assert 0 < lowest_threshold(["0", "0.5"], 0.5) < 1e-290
    words = "threshold: 2 of 4 views have a score of 1, so that no threshold up to 1 has a share of 0.6 below it"
    with pytest.raises(ValueError, match=words):
        lowest_threshold(["0.1", "1", "1", "0.2"], 0.6)


class Stub:
    """A detector for which a view is its name; of BAC+ views the length is 100 times the score."""

    def __init__(self, model):
        self.point, self.shape, self.pixel_mm = find_detector(model)[1], (96, 64), None

    def measure(self, name):
        event("measure")
        score = SCORE[name]
        bac = int(score >= self.point.threshold)
        reason = "no_pixel_spacing" if "unscaled" in name else "no_artery_traced" if bac and "cold" in name else ""
        values = (None, None, None, None) if reason else (200.0 * score * bac, 100.0 * score * bac, 2.0 * bac, 5e3)
        return {"score": score, "bac": bac, "reason": reason} | dict(zip(MEASURES, values, strict=True))


SCORE: dict[str, float] = {}
EVENTS: list[str] = []
STOP_AT: list[int] = []


class Killed(BaseException):
    pass


def event(what):
    EVENTS.append(what)
    if len(EVENTS) in STOP_AT:
        raise Killed


def read_stub(file, shape, pixel_mm):
    event(f"read {file.name}")
    header = {"patient_id": "P1", "exam": "A-1", "study_date": "2023-03-07", "laterality": "L", "view": "CC"}
    header["image_rank"] = 0
    if not file.exists():
        return FileRead({}, None, "not_found", "there is no such file", 0.1)
    if file.name not in SCORE:
        return FileRead({}, None, "not_an_image", "neither DICOM nor PNG nor TIFF", 0.1)
    return FileRead(header, file.name, "", "", 0.1, file.read_bytes().hex().rjust(32, "0"))


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Return a function that makes a folder of files with given scores by name, with a model; no network is needed."""
    monkeypatch.setattr(batch, "Detector", Stub)
    monkeypatch.setattr(reading_pool, "read_file", read_stub)
    for module, name in ((batch, "write_json"), (Path, "unlink")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *words, real=real, name=name, **more: (event(name), real(*words, **more))
        )
    (tmp_path / "model.keras").write_bytes(b"a model")
    (tmp_path / "model.json").write_text(json.dumps(POINT))

    def make(scores):
        (tmp_path / "in").mkdir(exist_ok=True)
        SCORE.clear()
        SCORE.update(scores)
        forget()
        for number, name in enumerate(SCORE):
            file, content = tmp_path / "in" / name, number.to_bytes(2, "big")
            if not file.exists() or file.read_bytes() != content:
                file.write_bytes(content)
        return tmp_path / "in"

    yield make
    forget()


def forget(*stop_at):
    EVENTS.clear()
    STOP_AT[:] = stop_at


def ten(**more):
    return {f"{number}.dcm": score for number, score in enumerate(SCORES)} | more


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False).assign(name=lambda t: t["file"].map(os.path.basename))


def table(folder):
    return read(folder.parent / "scores.csv").set_index("name").drop(columns="elapsed_s")


def score(folder, **options):
    counts = score_files([folder], folder.parent / "scores.csv", folder.parent / "model.keras", **options)
    return counts, table(folder)


def note(folder):
    return json.loads((folder.parent / "scores.csv.json").read_text())


@pytest.mark.parametrize("share", [0.3, 0.39])
def test_a_smaller_share_of_alarms(archive, share):
    """At 0.5, five are BAC+; the three highest remain. Nothing is read twice."""
    folder = archive(ten(**{"cold.dcm": 0.55, "unscaled.dcm": 0.56, "notes.txt": 0.0}))
    del SCORE["notes.txt"]
    SCORE["0.dcm"], SCORE["2.dcm"] = 0.94, 0.93  # nine of twelve views are above 0.5
    counts, rows = score(folder, alarm_share=share)
    high = ["0.dcm", "2.dcm", "3.dcm", "6.dcm"] if share == 0.39 else ["0.dcm", "2.dcm", "6.dcm"]
    assert rows.index[rows["bac"] == "1"].tolist() == high
    assert counts == {"scored": 11, "scored without measures (no pixel spacing)": 1, "not_an_image": 1}
    columns = ["bac", "bac_area_mm2", "bac_length_mm", "bac_width_mm", "breast_area_mm2", "reason"]
    assert rows.loc["6.dcm", columns].tolist() == ["1", "190", "95", "2", "5000", ""]
    assert rows.loc["1.dcm", columns].tolist() == ["0", "0", "0", "0", "5000", ""]
    assert rows.loc["cold.dcm", columns].tolist() == ["0", "0", "0", "0", "", ""]
    assert rows.loc["unscaled.dcm", columns].tolist() == ["0", "", "", "", "", "no_pixel_spacing"]
    assert rows.loc["notes.txt", ["status", "reason", "bac"]].tolist() == ["skipped", "not_an_image", ""]
    assert len([what for what in EVENTS if what.startswith("read")]) == 13
    threshold = {0.3: 0.850001, 0.39: 0.720001}[share]  # 12 * 0.7 = 8.4: nine below; 12 * 0.61 = 7.32: eight below
    assert note(folder)["operating_point"]["threshold"] == threshold
    assert note(folder)["threshold_rule"] == {"alarm_share": share}


def test_a_larger_share_of_alarms_measures_the_views_it_adds(archive):
    folder = archive(ten(**{"unscaled.dcm": 0.01, "cold.dcm": 0.4}))
    _, rows = score(folder, alarm_share=0.75)  # 12 * 0.25: the three lowest are below (0.01, 0.05, 0.15)
    assert note(folder)["operating_point"]["threshold"] == 0.150001
    assert sorted(rows.index[rows["bac"] == "0"]) == ["0.dcm", "2.dcm", "unscaled.dcm"]
    assert rows.loc["4.dcm", ["score", "bac_length_mm", "patient_id"]].tolist() == ["0.25", "25", "P1"]
    assert rows.loc["cold.dcm", ["bac", "bac_length_mm", "reason"]].tolist() == ["1", "", "no_artery_traced"]
    assert EVENTS.count("read 6.dcm") == 1
    again = {what for what in EVENTS if what.startswith("read") and EVENTS.count(what) == 2}
    assert again == {"read 4.dcm", "read 5.dcm", "read 7.dcm", "read cold.dcm"}
    assert rows.index.tolist() == sorted(SCORE)  # the order of the files
    assert not list(folder.parent.glob("scores.csv.first*"))
    forget()
    assert score(folder, alarm_share=0.75)[0] == {"done before": 12}
    assert not [what for what in EVENTS if what.startswith("read")]


def test_a_call_that_is_stopped_anywhere_is_resumed(archive):
    """Stopped at every reading, measurement, note and deletion in turn; also with half a row written last."""
    folder = archive(ten(**{"copy.dcm": 0.95}))
    (folder / "copy.dcm").write_bytes((folder / "3.dcm").read_bytes())
    _, expected = score(folder, alarm_share=0.7)
    number, output = len(EVENTS), folder.parent / "scores.csv"
    reads = [what for what in EVENTS if what.startswith("read")]
    assert number > 25 and expected.loc["copy.dcm", "reason"] == "duplicate"
    for stop in range(1, number + 1):
        for path in folder.parent.glob("scores.csv*"):
            os.remove(path)
        forget(stop)
        with pytest.raises(Killed):
            score(folder, alarm_share=0.7)
        first = [what for what in EVENTS if what.startswith("read")]
        rows = table(folder) if output.exists() else expected[:0]
        pd.testing.assert_frame_equal(rows, expected[: len(rows)])  # no row at another threshold
        for path in (output, output.with_name("scores.csv.first")):
            if path.exists() and stop % 2:
                path.write_text(path.read_text() + "/some/where/in/9.dc")
        forget()
        _, rows = score(folder, alarm_share=0.7)
        pd.testing.assert_frame_equal(rows, expected)
        assert len(first) + sum(what.startswith("read") for what in EVENTS) <= len(reads) + 1
        assert not list(folder.parent.glob("scores.csv.first*"))


def test_a_chosen_threshold_holds_for_files_that_are_added(archive):
    folder = archive(ten())
    _, before = score(folder, alarm_share=0.2)
    threshold = note(folder)["operating_point"]["threshold"]
    assert threshold == 0.720001
    archive(ten(**{"x.dcm": 0.71, "y.dcm": 0.73, "z.dcm": 0.1}))
    counts, rows = score(folder, alarm_share=0.2)
    assert counts == {"done before": 10, "scored": 3}
    assert rows.loc[["x.dcm", "y.dcm", "z.dcm"], "bac"].tolist() == ["0", "1", "0"]
    assert note(folder)["operating_point"]["threshold"] == threshold
    pd.testing.assert_frame_equal(rows[:10], before)


def test_another_option_is_refused(archive):
    folder = archive(ten())
    score(folder, alarm_share=0.2)
    before = (folder.parent / "scores.csv").read_bytes()
    rule = "another rule for the threshold"
    for other, words in (({}, rule), ({"alarm_share": 0.3}, rule), ({"operating_point": 0.720001}, rule),
                         ({"alarm_share": 0.2, "key": bytes(16)}, "another key")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            score(folder, **other)
    assert (folder.parent / "scores.csv").read_bytes() == before
    (folder.parent / "scores.csv.json").unlink()
    for same in ({}, {"alarm_share": 0.2}):
        with pytest.raises(ValueError, match="scores.csv has rows, but scores.csv.json is missing"):
            score(folder, **same)
    assert (folder.parent / "scores.csv").read_bytes() == before


def test_a_table_without_a_rule_does_not_get_one(archive):
    folder = archive(ten())
    score(folder)
    with pytest.raises(ValueError, match="another rule for the threshold"):
        score(folder, alarm_share=0.2)


def test_a_refused_rule_costs_no_scores(archive):
    """Scores of 1 cannot be told apart: another share is needed, and uses the same scores."""
    folder = archive({f"{number}.dcm": 1.0 if number < 5 else 0.1 * number for number in range(10)})
    with pytest.raises(ValueError, match="5 of 10 views have a score of 1"):
        score(folder, alarm_share=0.3)
    assert not (folder.parent / "scores.csv").exists()
    forget()
    _, rows = score(folder, alarm_share=0.5)
    assert (rows["bac"] == "1").sum() == 5 and not [what for what in EVENTS if what.startswith("read")]


def test_a_file_that_is_gone_before_it_is_measured(archive):
    folder = archive(ten())
    forget(len(SCORES) * 2 + 2)  # all are scored
    with pytest.raises(Killed):
        score(folder, alarm_share=0.7)
    (folder / "7.dcm").rename(folder.parent / "elsewhere.dcm")
    forget()
    _, rows = score(folder, alarm_share=0.7)
    assert rows.loc["7.dcm", ["status", "reason", "score", "bac"]].tolist() == ["skipped", "not_found", "", ""]
    assert rows.loc["7.dcm", ["patient_id", "laterality", "view"]].tolist() == ["P1", "L", "CC"]
    assert len(rows) == 10


def test_an_odd_name_is_read_again(archive):
    folder = archive(ten(**{"a\nb.dcm": 0.4}))
    rows = score(folder, alarm_share=0.8)[1]
    assert rows.loc["a\\nb.dcm", ["status", "bac", "bac_length_mm"]].tolist() == ["scored", "1", "40"]


def test_pseudonyms_are_kept(archive):
    folder = archive(ten())
    _, rows = score(folder, alarm_share=0.9, key=bytes(16))
    assert set(rows["patient_id"]) == {pseudonym("P1", bytes(16))}


def negatives(folder, names, header=""):
    path = folder.parent / "negatives"
    path.write_text(header + "".join(f"{name}\n" for name in names))
    return path


@pytest.fixture
def forty(archive):
    """Return a folder with 20 negatives (scores of 0.01 to 0.2, the last one 0.6) and 20 others, and the negatives."""
    scores = {f"n{number:02}.dcm": number / 100 for number in range(1, 21)} | {"n20.dcm": 0.6}
    folder = archive(scores | {f"o{number:02}.dcm": 0.1 + number / 50 for number in range(20)})
    return folder, [f"{folder}/n{number:02}.dcm" for number in range(1, 21)]


@pytest.mark.parametrize("header", ["", "patient,file\n", "patient;file\n"])
@pytest.mark.parametrize(("specificity", "threshold"), [(0.95, 0.190001), (0.9, 0.180001), (0.96, 0.600001)])
def test_negatives(forty, header, specificity, threshold):
    """Of 20, 19 are below just above the 19th lowest score; 0.96 needs all 20."""
    folder, names = forty
    names = [f"x{header[7]}{name}" for name in names] if header else names
    _, rows = score(folder, negatives=negatives(folder, names, header), specificity=specificity)
    assert note(folder)["operating_point"]["threshold"] == threshold
    scores = rows["score"].astype(float)
    assert ((scores >= threshold) == (rows["bac"] == "1")).all()
    below = (rows["bac"] == "0") & rows.index.str.startswith("n")
    assert below.sum() == np.ceil(20 * specificity)
    lengths = rows["bac_length_mm"].astype(float)
    assert np.allclose(lengths, np.where(rows["bac"] == "1", 100 * scores, 0))


def test_negatives_that_cannot_be_used(forty, monkeypatch):
    folder, names = forty
    for listed, words in (
        (names[:19], "negatives: got 19 files, must be at least 20"),
        (names[:1] * 30, "negatives: got 1 files, must be at least 20"),
        (
            [*names, f"{folder}/none.dcm"],
            "negatives: got 1 files that are not among those to score, such as .*none.dcm",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            score(folder, negatives=negatives(folder, listed))
    assert not EVENTS  # refused before scoring
    monkeypatch.chdir(folder)
    del SCORE["n07.dcm"]
    with pytest.raises(ValueError, match="negatives: got 19 that could be scored, must be at least 20"):
        score(folder, negatives=negatives(folder, [Path(name).name for name in names]))  # relative paths
    (folder / "n07.dcm").write_bytes(b"n")
    listed = negatives(folder, names)
    score(folder, alarm_share=0.5)
    with pytest.raises(ValueError, match="another rule for the threshold"):
        score(folder, negatives=listed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alarm_share": 0}, "alarm_share: got 0, must be above 0 and below 1"),
        ({"alarm_share": 1.0}, "alarm_share: got 1.0, must be above 0 and below 1"),
        ({"alarm_share": float("nan")}, "alarm_share: got nan, must be above 0 and below 1"),
        ({"negatives": "x", "specificity": 1}, "specificity: got 1, must be above 0 and below 1"),
        ({"negatives": "x", "alarm_share": 0.5}, "alarm_share: got a share and a list of negatives"),
        ({"operating_point": 0.5, "alarm_share": 0.5}, "operating_point: got a threshold and a rule for choosing it"),
        ({"operating_point": "sensitive"}, "operating_point: got 'sensitive', must be one of high-sensitivity, or a"),
        ({"operating_point": "1.5"}, "operating_point: got '1.5', must be one of high-sensitivity, or a number in"),
    ],
)
def test_options_that_are_refused(archive, options, words):
    folder = archive(ten())
    with pytest.raises(ValueError, match=words):
        score(folder, **options)
    assert not EVENTS and not list(folder.parent.glob("scores.csv*"))


@pytest.mark.parametrize("given", ["high-sensitivity", "0.25", 0.25])
def test_a_named_operating_point(archive, given):
    folder = archive(ten())
    _, rows = score(folder, operating_point=given)
    assert sorted(rows.index[rows["bac"] == "0"]) == ["0.dcm", "2.dcm"]
    assert rows.loc["4.dcm", "bac_length_mm"] == "25"  # at the threshold
    assert note(folder)["operating_point"]["threshold"] == 0.25
    assert score(folder, operating_point=0.25)[0] == {"done before": 10}
    with pytest.raises(ValueError, match="made with threshold 0.25 instead of 0.5: choose another"):
        score(folder)


def test_the_command(archive):
    folder = archive(ten())

    def call(*words):
        start = ["score", folder, "--model", folder.parent / "model.keras", "--output", folder.parent / "scores.csv"]
        return CliRunner().invoke(cli.app, [str(word) for word in (*start, *words)])

    wrong = call("--operating-point", "sensitive")
    assert wrong.exit_code == 1
    assert wrong.output.splitlines()[-1].startswith("error: operating_point: got 'sensitive', must be one of high-")
    assert call("--specificity", "0.9").exit_code == 2
    assert "negatives: got 1 files" in call("--negatives", negatives(folder, ["x"])).output
    assert not EVENTS


def test_a_chosen_threshold_gives_the_rows_of_a_given_one(tmp_path):
    """With a real network and real files: all columns, and the DICOM results."""
    from bac_utils.model import build_model
    from bac_utils.settings import preset
    from bac_utils.simulator.cohort_files import write_views
    from bac_utils.simulator.population import draw_women

    folder = tmp_path / "model"
    folder.mkdir()
    settings = preset("demo", input_shape=(96, 64), width_divisor=32, weights="none", seed=1)
    build_model(settings).save(folder / "model.keras")
    (folder / "operating_point.json").write_text(json.dumps(POINT | {"heatmap_threshold": 0.01}))
    write_views(draw_women(1, seed=4, prevalence=1.0), tmp_path, pixel_spacing_mm=1.0, workers=1, truth=False)
    for name, options in (("rule", {"alarm_share": 0.5}), ("given", {})):
        if name == "given":
            point = json.loads((tmp_path / "rule.csv.json").read_text())["operating_point"]
            options = {"operating_point": point["threshold"]}
        output, dicom = tmp_path / f"{name}.csv", tmp_path / f"{name}-dicom"
        score_files([tmp_path / "images"], output, folder, dicom=dicom, **options)
    rule, given = (read(tmp_path / f"{name}.csv").drop(columns="elapsed_s") for name in ("rule", "given"))
    assert (rule["bac"] == "1").sum() == 2
    pd.testing.assert_frame_equal(rule, given)
    index, expected = (pd.read_csv(tmp_path / f"{name}-dicom" / "index.csv") for name in ("rule", "given"))
    pd.testing.assert_frame_equal(index, expected)
    assert len(index) == 2
