"""The command `views`, for each archive."""

import subprocess
import sys

import pytest
from archive_tables import cbis_example, dicom_example, embed, finding, four, inbreast, put, rsna, vindr
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.archives import ARCHIVES
from bac_utils.archives.conversion import NO_FILE
from bac_utils.intake.pseudonyms import pseudonym
from bac_utils.views_table import read_views


def call(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_each_archive(tmp_path):
    folders = {
        "CBIS-DDSM": cbis_example(tmp_path / "cbis"),
        "EMBED": embed(tmp_path / "embed", [finding(10, 100, "L", "V")], four(10, 100)),
        "VinDr-Mammo": vindr(tmp_path / "vindr", ("a1", "i1", "L", "CC"), ("a1", "i2", "L", "MLO")),
        "RSNA": rsna(tmp_path / "rsna", ("1", "1", "L", "CC", "61", "0"), ("2", "2", "L", "CC", "61", "1")),
        "INbreast": inbreast(tmp_path / "inbreast", ("1", "0123456789abcdef", "L", "CC", "200801")),
        "DICOM": dicom_example(tmp_path / "dicom"),
    }
    assert list(folders) == list(ARCHIVES)
    printed = {}
    for name, folder in folders.items():
        output = tmp_path / f"{name}.csv"
        done = call("views", name.lower(), folder, "--output", output, "--without-age")
        assert done.exit_code == 0, done.output
        assert output.is_file() and output.with_suffix(".excluded.csv").is_file()
        printed[name] = done.output.replace(str(output), "FILE").splitlines()
    assert printed["CBIS-DDSM"] == [
        "women: 2, views: 3 (2 BAC+, 0 BAC-, 1 unknown), written to FILE",
        f"excluded, {NO_FILE}: 2",
    ]
    assert printed["EMBED"] == ["women: 1, views: 4 (2 BAC+, 0 BAC-, 2 unknown), written to FILE"]
    assert printed["RSNA"] == [
        "women: 1, views: 1 (0 BAC+, 0 BAC-, 1 unknown), written to FILE",
        "excluded, breast implant: 1",
    ]
    assert printed["DICOM"][0] == "women: 2, views: 3 (0 BAC+, 0 BAC-, 3 unknown), written to FILE"


def test_options(tmp_path):
    dicom_folder = dicom_example(tmp_path / "archive")
    labels = put(tmp_path / "labels.csv", "image,bac", "a.dcm,1", "nowhere.dcm,1")
    ages = put(tmp_path / "ages.csv", "patient_id,age", "Roe 7,66")
    (tmp_path / "key").write_bytes(bytes(range(16)))
    words = ["views", "DICOM", dicom_folder, "--output", tmp_path / "views.csv", "--labels", labels, "--ages", ages]
    done = call(*words, "--key-file", tmp_path / "key")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-2:] == [
        "rows of labels.csv that match no view: 1 (row 3)",
        "images without a label: 3 (b/1.dcm, b/2, c.dcm)",
    ]
    views = read_views(tmp_path / "views.csv", check_images=True)
    assert views.loc[0, ["patient_id", "age", "bac"]].tolist() == [pseudonym("Roe 7", bytes(range(16))), 66, 1]
    again = call(*words)
    assert again.exit_code == 1 and again.output.startswith("error: ") and "already exists" in again.output
    done = call(*words, "--keep-ids", "--overwrite")
    assert done.exit_code == 0
    assert read_views(tmp_path / "views.csv").loc[0, "patient_id"] == "Roe 7"
    for name in ("views.csv", "views.excluded.csv", "views.inclusion.csv"):  # as a power failure may leave them
        (tmp_path / name).write_bytes(b"")
    assert call(*words).exit_code == 0 and len(read_views(tmp_path / "views.csv")) == len(views)
    disk = rsna(tmp_path / "disk", ("1", "1", "L", "CC", "61", "0"))
    (tmp_path / "csv").mkdir()
    (disk / "train.csv").rename(tmp_path / "csv/train.csv")
    assert call("views", "RSNA", tmp_path / "csv", "--images", disk, "--output", tmp_path / "r.csv").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["MIAS", "{}"], 2, "archive: got 'MIAS', must be one of CBIS-DDSM, EMBED, VinDr-Mammo, RSNA, INbreast, DICOM"),
        (["RSNA", "{}/nowhere"], 2, "nowhere"),
        (["RSNA", "{}", "--labels", "{}/x.csv"], 2, "labels: RSNA does not take it"),
        (["EMBED", "{}", "--keep-ids"], 2, "keep_ids: EMBED does not take it"),
        (["DICOM", "{}", "--images", "{}"], 2, "images: DICOM does not take it"),
        (["RSNA", "{}"], 1, "must contain train.csv"),
    ],
)
def test_invalid_arguments(tmp_path, words, code, message):
    put(tmp_path / "x.csv", "image,bac", "a.dcm,1")
    done = call("views", *(word.replace("{}", str(tmp_path)) for word in words), "--output", tmp_path / "views.csv")
    assert done.exit_code == code
    assert message in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "views.csv").exists()


def test_tensorflow_is_not_imported():
    code = "import sys, bac_utils.archives, bac_utils.__main__; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
