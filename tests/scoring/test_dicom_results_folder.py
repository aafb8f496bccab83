"""DICOM results of a batch: one set per BAC+ view, and a reason in the index if there is none."""

import csv
import errno
import json

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.detector import Detector
from bac_utils.intake.reader import read_mammogram
from bac_utils.preprocess import mask_to_original, prepare
from bac_utils.scoring import batch as scoring
from bac_utils.scoring.batch import score_files
from bac_utils.scoring.dicom_results_folder import COLUMNS, ResultFolder
from bac_utils.settings import preset
from bac_utils.simulator.cohort_files import write_views
from bac_utils.simulator.population import draw_women

ORIGIN = {"model_sha256": "ab" * 32}
ROW = {"laterality": "L", "score": "0.9", "bac_area_mm2": "120.5", "bac_length_mm": "", "file": "x"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the path of an untrained tiny detector that classifies every view as BAC+."""
    from bac_utils.model import build_model

    folder = tmp_path_factory.mktemp("model")
    settings = preset("demo", input_shape=(96, 64), width_divisor=32, weights="none", seed=1)
    build_model(settings).save(folder / "model.keras")
    (folder / "operating_point.json").write_text(json.dumps({"threshold": 1e-6, "heatmap_threshold": 0.01}))
    return folder / "model.keras"


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Return a folder with four simulated views."""
    folder = tmp_path_factory.mktemp("views")
    write_views(draw_women(1, seed=4, prevalence=1.0), folder, pixel_spacing_mm=1.0, workers=1, truth=False)
    return folder / "images"


@pytest.fixture
def batch(tmp_path, views):
    """Return a folder with two DICOM views, the second without a study, and a PNG file."""
    folder = tmp_path / "in"
    folder.mkdir()
    first, second, third = sorted(views.iterdir())[:3]
    (folder / "a.dcm").write_bytes(first.read_bytes())
    odd = pydicom.dcmread(second)
    del odd.StudyInstanceUID
    odd.save_as(folder / "b.dcm")
    pixels = read_mammogram(third).pixels
    Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8)).save(folder / "c.png")
    return folder


def index(folder):
    return list(csv.DictReader((folder / "index.csv").open(encoding="utf-8")))


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name not in (".lock", "index.json"))


def test_each_view_with_bac_gets_its_results(tmp_path, batch, model, capfd):
    out = tmp_path / "dicom"
    counts = score_files([batch], tmp_path / "scores.csv", model, dicom=out)
    assert counts["scored"] == 2 and counts["scored without measures (no pixel spacing)"] == 1
    first, *others = index(out)
    mammogram = read_mammogram(batch / "a.dcm")
    assert first == {
        "file": str(batch / "a.dcm"), "segmentation": f"{mammogram.instance}.seg.dcm",
        "report": f"{mammogram.instance}.sr.dcm", "picture": f"{mammogram.instance}.sc.dcm", "reason": "",
    }  # fmt: skip
    assert [(row["file"][-5:], row["reason"]) for row in others] == [
        ("b.dcm", "the source's StudyInstanceUID is missing"),
        ("c.png", "the source is not a DICOM file"),
    ]
    assert "no DICOM results of" in capfd.readouterr().err
    assert files(out) == sorted([first["segmentation"], first["report"], first["picture"], "index.csv"])

    prepared = prepare(mammogram, (96, 64))
    expected = mask_to_original(Detector(model).outline(prepared), prepared)
    outline = hd.seg.segread(out / first["segmentation"])
    np.testing.assert_array_equal(outline.pixel_array.astype(bool), expected)
    assert expected.any() and not expected.all()
    row = pd.read_csv(tmp_path / "scores.csv").iloc[0]
    (group,) = hd.sr.srread(out / first["report"]).content.get_planar_roi_measurement_groups()
    found = {m.name.meaning: m.value for m in group.get_measurements()}
    assert found == {
        "Length": row["bac_length_mm"], "Area": row["bac_area_mm2"], "Width": row["bac_width_mm"],
        "Certainty of Finding": pytest.approx(100 * row["score"], rel=1e-12),
    }  # fmt: skip
    shown = pydicom.dcmread(out / first["picture"]).pixel_array
    assert shown.shape == (*mammogram.pixels.shape, 3)
    low, high = mammogram.pixels.min(), mammogram.pixels.max()
    grey = np.rint((mammogram.pixels - low) / (high - low) * 255)
    same = np.abs(shown - grey[..., None]).max(axis=2) <= 1
    assert same[expected].all() and not same.all()
    algorithm = outline.SegmentSequence[0].algorithm_identification
    assert algorithm.parameters["heatmap_threshold"] == "0.01"


def test_outline_and_measures_of_a_view_take_one_look(views, model, monkeypatch):
    from bac_utils.heatmaps import Explainer

    looks, explain = [], Explainer.__call__
    monkeypatch.setattr(Explainer, "__call__", lambda *words: looks.append(1) or explain(*words))
    detector = Detector(model)
    first, second = (prepare(read_mammogram(path), (96, 64)) for path in sorted(views.iterdir())[:2])
    for prepared in (first, second):
        detector.measure(prepared)
        detector.outline(prepared)
    assert len(looks) == 2
    assert (detector.outline(first) != detector.outline(second)).any()


def test_bac_negative_views_get_none(tmp_path, batch, model, monkeypatch):
    measure = Detector.measure
    monkeypatch.setattr(Detector, "measure", lambda self, prepared: measure(self, prepared) | {"bac": 0})
    score_files([batch], tmp_path / "scores.csv", model, dicom=tmp_path / "dicom")
    assert files(tmp_path / "dicom") == ["index.csv"] and index(tmp_path / "dicom") == []


def test_a_stopped_batch_is_resumed_without_duplicates(tmp_path, batch, model):
    out, output = tmp_path / "dicom", tmp_path / "scores.csv"
    score_files([batch], output, model, dicom=out)
    before, names = index(out), files(out)
    times = {name: (out / name).stat().st_mtime_ns for name in names}
    assert score_files([batch], output, model, dicom=out) == {"done before": 3}
    assert {name: (out / name).stat().st_mtime_ns for name in names} == times
    lines = output.read_text(encoding="utf-8").splitlines(keepends=True)
    output.write_text(lines[0], encoding="utf-8")  # stopped between the results and the rows
    with open(out / "index.csv", "a") as stream:
        stream.write("cut o")  # and in the last line of the index
    score_files([batch], output, model, dicom=out)
    assert index(out) == before and files(out) == names


def test_results_inside_the_input_are_not_scored(batch, model):
    for _ in range(2):
        score_files([batch], batch / "scores.csv", model, dicom=batch / "dicom")
    assert len(pd.read_csv(batch / "scores.csv")) == 3


def test_another_choice_is_refused(tmp_path, batch, model):
    """Otherwise the existing rows would silently have no DICOM results."""
    score_files([batch / "a.dcm"], tmp_path / "scores.csv", model)
    with pytest.raises(ValueError, match="another choice of DICOM results"):
        score_files([batch], tmp_path / "scores.csv", model, dicom=tmp_path / "dicom")


def test_two_tables_do_not_share_a_folder(tmp_path, batch, model, monkeypatch):
    """A file of the same name in another table would replace the results of the first one."""
    for name in ("one", "two"):
        (tmp_path / name / "in").mkdir(parents=True)
        (tmp_path / name / "in" / "v.dcm").write_bytes((batch / f"{'ab'[name == 'two']}.dcm").read_bytes())
    monkeypatch.chdir(tmp_path / "one")
    score_files(["in"], "scores.csv", model, dicom="../dicom")
    before = files(tmp_path / "dicom")
    assert json.loads((tmp_path / "dicom" / "index.json").read_text()) == {"table": "../one/scores.csv"}
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(ValueError, match="dicom: got ../dicom, with results of ../one/scores.csv, must"):
        score_files(["in"], "scores.csv", model, dicom="../dicom")
    assert files(tmp_path / "dicom") == before and not (tmp_path / "two" / "scores.csv").exists()
    (tmp_path / "dicom" / "index.json").unlink()
    with pytest.raises(ValueError, match="with results of an unknown table"):
        score_files(["in"], "scores.csv", model, dicom="../dicom")


def test_a_folder_moves_with_its_table_and_an_empty_one_may_change_hands(tmp_path, batch, model):
    score_files([batch / "b.dcm"], tmp_path / "scores.csv", model, dicom=tmp_path / "d", operating_point=1.0)
    score_files([batch / "a.dcm"], tmp_path / "other.csv", model, dicom=tmp_path / "d")  # nothing was BAC+
    (tmp_path / "new").mkdir()
    for name in ("other.csv", "other.csv.json", "other.csv.instances", "d"):
        (tmp_path / name).rename(tmp_path / "new" / name)
    again = score_files([batch / "a.dcm"], tmp_path / "new" / "other.csv", model, dicom=tmp_path / "new" / "d")
    assert again == {"done before": 1}


def test_pseudonyms_and_dicom_exclude_each_other(tmp_path, batch, model):
    """The results belong to the patient's study; with a pseudonym they would name another patient."""
    with pytest.raises(ValueError, match="dicom: got a folder and a key, must be only one of them"):
        score_files([batch], tmp_path / "scores.csv", model, key=bytes(16), dicom=tmp_path / "dicom")
    (tmp_path / "key").write_bytes(bytes(32))
    words = ["score", batch, "--output", tmp_path / "scores.csv", "--model", model]
    words += ["--key-file", tmp_path / "key", "--dicom", tmp_path / "dicom"]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 2 and "DICOM results name the patient" in " ".join(done.output.split())
    assert not (tmp_path / "dicom").exists() and not (tmp_path / "scores.csv").exists()


def test_command(tmp_path, batch, model):
    words = ["score", batch / "a.dcm", "--output", tmp_path / "scores.csv", "--model", model, "--dicom", tmp_path / "d"]
    done = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert len(files(tmp_path / "d")) == 4


def test_an_unusable_folder_is_reported_before_any_work(tmp_path, batch, model, monkeypatch):
    (tmp_path / "dicom").write_text("a file")
    with pytest.raises(FileExistsError):
        score_files([batch], tmp_path / "scores.csv", model, dicom=tmp_path / "dicom")
    assert not (tmp_path / "scores.csv").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.csv").write_text("name,age\nx,5")
    with pytest.raises(ValueError, match="index.csv has other columns: choose another folder"):
        ResultFolder(tmp_path / "other", ORIGIN)
    assert (tmp_path / "other" / "index.csv").read_text() == "name,age\nx,5"


@pytest.mark.parametrize("cut", ["", "file,segm", ",".join(COLUMNS), "{header}é", '{header}x,"'])
def test_an_incomplete_index_is_repaired(tmp_path, cut):
    header = ",".join(COLUMNS) + "\n"
    (tmp_path / "index.csv").write_bytes(cut.format(header=header).encode()[: -1 if "é" in cut else None])
    ResultFolder(tmp_path, ORIGIN)
    assert (tmp_path / "index.csv").read_text() == header


def added(tmp_path, views, **changes):
    """Add one view to a folder and return the reason."""
    source = sorted(views.iterdir())[0]
    prepared = prepare(read_mammogram(source), (96, 64))
    mask = np.zeros((96, 64), bool)
    mask[40:50, 20:30] = True
    given = {"source": source, "name": "x", "digest": "00ff", "prepared": prepared, "mask": mask, "row": ROW} | changes
    return ResultFolder(tmp_path / "dicom", ORIGIN).add(**given)


def test_errors_are_reported_and_stop_nothing(tmp_path, views, monkeypatch):
    assert added(tmp_path, views, mask=np.zeros((96, 64), bool)) == "no artery could be traced"
    assert added(tmp_path, views, source=tmp_path / "gone.dcm") == "not written: No such file or directory"
    assert added(tmp_path, views, row=ROW | {"score": "inf"}) == "ValueError while writing"
    assert added(tmp_path, views, digest="0" * 300) == "not written: File name too long"

    def explode(*arguments):
        raise KeyError("Doe^Jane")

    monkeypatch.setattr("bac_utils.scoring.dicom_results.segmentation", explode)
    assert added(tmp_path, views) == "KeyError while writing"
    assert "Doe" not in (tmp_path / "dicom" / "index.csv").read_text()
    assert files(tmp_path / "dicom") == ["index.csv"]
    monkeypatch.undo()
    assert added(tmp_path, views) == ""
    names = [f"00ff.{kind}.dcm" for kind in ("seg", "sr", "sc")]
    assert index(tmp_path / "dicom")[-1] == dict(zip(COLUMNS, ("x", *names, ""), strict=True))


def test_a_crash_of_the_writer_leaves_the_rows(tmp_path, batch, model, monkeypatch):
    def explode(*arguments):
        raise MemoryError

    monkeypatch.setattr("bac_utils.scoring.dicom_results.write_dicom", explode)
    counts = score_files([batch / "a.dcm"], tmp_path / "scores.csv", model, dicom=tmp_path / "dicom")
    assert counts == {"scored": 1}
    assert tuple(pd.read_csv(tmp_path / "scores.csv").columns) == scoring.COLUMNS
    assert index(tmp_path / "dicom")[0]["reason"] == "not written: MemoryError"


def test_results_that_a_full_disk_prevented_are_written_by_the_next_call(tmp_path, batch, model, monkeypatch):
    words = ["score", batch / "a.dcm", "--output", tmp_path / "scores.csv", "--model", model, "--dicom", tmp_path / "d"]
    words = [str(word) for word in words]

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "/Doe^Jane")

    monkeypatch.setattr("bac_utils.scoring.dicom_results.write_dicom", full)
    for _ in range(2):
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code == 1 and "1 DICOM results not written (No space left on device)" in done.output
        assert files(tmp_path / "d") == ["index.csv"] and "Doe" not in (tmp_path / "d" / "index.csv").read_text()
    monkeypatch.undo()
    rows = (tmp_path / "scores.csv").read_text()
    for _ in range(2):
        done = CliRunner().invoke(cli.app, words)
        assert done.exit_code == 0, done.output
        assert len(files(tmp_path / "d")) == 4 and [row["reason"] for row in index(tmp_path / "d")] == [""]
    for path in (tmp_path / "d").glob("*.sr.dcm"):
        path.unlink()
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    assert len(files(tmp_path / "d")) == 4 and (tmp_path / "scores.csv").read_text() == rows


def test_results_of_a_file_that_was_replaced_are_replaced(tmp_path, batch, model):
    out, output = tmp_path / "d", tmp_path / "scores.csv"
    score_files([batch / "a.dcm"], output, model, dicom=out)
    before = files(out)
    other = pydicom.dcmread(batch / "a.dcm")
    other.PixelData = other.pixel_array[::-1].tobytes()
    other.save_as(batch / "a.dcm")
    score_files([batch / "a.dcm"], output, model, dicom=out)
    assert len(files(out)) == len(before) == 4 and set(files(out)) & set(before) == {"index.csv"}
    assert len(index(out)) == len(pd.read_csv(output)) == 1
    (batch / "a.dcm").write_bytes(b"no image")
    score_files([batch / "a.dcm"], output, model, dicom=out)
    assert files(out) == ["index.csv"] and index(out) == []
    assert pd.read_csv(output)["reason"].tolist() == ["not_an_image"]


@pytest.mark.parametrize("where", ["", "..", "a.dcm/../../in"])
def test_the_folder_of_the_images_is_refused(tmp_path, batch, model, where):
    with pytest.raises(ValueError, match="dicom: got .*, must not contain the files to score"):
        score_files([batch], tmp_path / "scores.csv", model, dicom=batch / where)
    assert not (tmp_path / "scores.csv").exists() and not (batch / "index.csv").exists()
