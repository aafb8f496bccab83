"""EMBED to a views table; expected rows are written by hand."""

import pytest
from archive_tables import LEGEND, SERVER, embed, excluded, finding, four, image, put, rows

from bac_utils.archives.conversion import NO_AGE, NO_SIDE, NO_VIEW, REPEATED
from bac_utils.archives.embed import read_embed


def test_embed(tmp_path):
    findings = [
        finding(10, 100, "L", "V"),
        finding(10, 100, "R", "", number=2),
        finding(20, 200, "B", "A,V", age="70"),  # both sides and several codes
        finding(30, 300, "", "V", age="55"),  # without a side: both
        finding(40, 400, "R", "A", age="48"),
    ]
    views = [
        *four(10, 100),
        image(10, 100, "L", "CC", "C-view", name="c"),
        image(20, 200, "L", "MLO", special="0"),
        image(20, 200, "R", "CC", special="0.0"),
        image(20, 200, "R", "CC", special="1", name="spot"),
        image(30, 300, "L", "CC"),
        image(30, 300, "R", "ML"),
        image(30, 300, "R", "CC", series="R XCCL"),  # ViewPosition says CC
        image(30, 300, "", "CC"),
        image(40, 400, "R", "CC", path="images/cohort_1/40/400/x.dcm"),
        image(40, 400, "R", "CC", name="again"),
    ]
    archive = read_embed(embed(tmp_path, findings, views))
    at = "images/cohort_1"
    assert rows(archive) == [
        ("10", 61.3, "L", "CC", f"{at}/10/100/LCCa.dcm", 1),
        ("10", 61.3, "L", "MLO", f"{at}/10/100/LMLOa.dcm", 1),
        ("10", 61.3, "R", "CC", f"{at}/10/100/RCCa.dcm", None),  # an empty calcfind does not mean BAC-
        ("10", 61.3, "R", "MLO", f"{at}/10/100/RMLOa.dcm", None),
        ("20", 70, "L", "MLO", f"{at}/20/200/LMLOa.dcm", 1),
        ("20", 70, "R", "CC", f"{at}/20/200/RCCa.dcm", 1),
        ("30", 55, "L", "CC", f"{at}/30/300/LCCa.dcm", 1),
        ("40", 48, "R", "CC", f"{at}/40/400/x.dcm", None),
    ]
    assert excluded(archive) == {
        "not 2D (C-view, tomosynthesis, screen shot)": (1, 1),
        "spot compression or magnification": (1, 1),
        NO_SIDE: (1, 1),
        NO_VIEW: (1, 2),
        REPEATED: (1, 1),
    }
    assert archive.notes == ("breasts with a vascular finding but without a view in the table: 1",)  # woman 30, right


def test_the_vascular_code_comes_from_the_legend(tmp_path):
    """With another legend, another code is vascular and V is not."""
    findings = [finding(10, 100, "L", "V"), finding(20, 200, "L", "w")]
    archive = read_embed(embed(tmp_path, findings, [image(10, 100, "L", "CC"), image(20, 200, "L", "CC")], code="W"))
    assert rows(archive, "patient_id bac") == [("10", None), ("20", 1)]
    assert archive.notes == ("codes of calcfind without an explanation in AWS_Open_Data_Clinical_Legend.csv: V",)
    embed(tmp_path, findings, [], with_files=False)
    legend = [line.replace("Vascular", "Ring") if line.startswith("calcfind") else line for line in LEGEND]
    put(tmp_path / "tables/AWS_Open_Data_Clinical_Legend.csv", *legend)
    with pytest.raises(ValueError, match="Legend.csv, column 'Meaning': got no 'Vascular' where .* is calcfind"):
        read_embed(tmp_path)  # sprocs, another column, has a vascular meaning


def test_findings_are_joined_by_woman_exam_and_side(tmp_path):
    """One exam per woman is kept: one with a vascular finding, then the most complete, then the earliest."""
    findings = [
        finding(10, 100, "R", "A", age="50"),
        finding(10, 101, "L", "V", age="52"),
        finding(20, 101, "L", "", age="60"),  # the exam number of another woman
        finding(20, 102, "L", "", age="61"),
        finding(30, 300, "L", "", age="40"),
        finding(30, 301, "L", "", age="41"),
    ]
    views = [
        *four(10, 100, date="2012-01-01"),
        image(10, 101, "L", "CC", date="2014-01-01"),
        image(20, 101, "L", "CC", date="2012-01-01"),
        *four(20, 102, date="2013-01-01"),
        image(30, 301, "L", "CC", date="2012-10-01"),
        image(30, 300, "L", "CC", date="2012-09-01"),
    ]
    archive = read_embed(embed(tmp_path, findings, views))
    assert rows(archive, "patient_id age laterality view bac") == [
        ("10", 52, "L", "CC", 1),
        *[("20", 61, side, view, None) for side in "LR" for view in ("CC", "MLO")],
        ("30", 40, "L", "CC", None),
    ]
    assert excluded(archive) == {"another exam of the woman": (3, 6)}


def test_identifiers_and_missing_files(tmp_path):
    """Pandas writes 100.0 for 100. Missing files are excluded before an exam is chosen."""
    findings = [finding("10.0", "100.0", "L", "V"), finding("10.0", "101.0", "L", "")]
    embed(tmp_path, findings, [image(10, 100, "L", "CC")], with_files=False)
    with pytest.raises(ValueError, match=r"EMBED: got no usable view \(1 image file missing\), must have at least"):
        read_embed(tmp_path)
    embed(tmp_path, findings, [image(10, 100, "L", "CC"), image(10, 101, "L", "CC")])
    archive = read_embed(tmp_path)
    assert rows(archive, "patient_id bac") == [("10", 1)]
    (tmp_path / "images/cohort_1/10/100/LCCa.dcm").unlink()
    archive = read_embed(tmp_path)
    assert rows(archive, "patient_id bac") == [("10", None)]
    assert archive.notes == ("breasts with a vascular finding but without a view in the table: 1",)
    (tmp_path / "images").rename(tmp_path / "disk")
    assert len(read_embed(tmp_path, images=tmp_path / "disk").views) == 1
    assert len(read_embed(tmp_path / "tables", images=tmp_path / "disk").views) == 1


def test_ages(tmp_path):
    ages = ["", "17", "-1", "200"]
    findings = [finding(10 + k, 100, "L", "V", age=age) for k, age in enumerate([*ages, "59"])]
    archive = read_embed(embed(tmp_path, findings, [image(10 + k, 100, "L", "CC") for k in range(5)]))
    assert rows(archive, "patient_id age") == [("14", 59)]
    assert excluded(archive) == {NO_AGE: (4, 4)}


BROKEN = {
    "side": ({"findings": [finding(10, 100, "X", "V")]}, "clinical.csv row 2, column 'side': got X, must be L or R or"),
    "age": ({"findings": [finding(10, 100, "L", "V", age="old")]}, "column 'age_at_study': got old, must be a number"),
    "rounded": ({"findings": [finding(10, "2.95E+15", "L", "V")]}, "'acc_anon': got 2.95E.15, must be written with"),
    "no woman": ({"findings": [finding("", 100, "L", "V")]}, "column 'empi_anon': got nothing, must be an identifier"),
    "spot": ({"images": [image(10, 100, "L", "CC", special="2")]}, "metadata.csv row 2, column 'spot_mag': got 2,"),
    "path": ({"images": [image(10, 100, "L", "CC", path="/etc/x.dcm")]}, "'anon_dicom_path': got /etc/x.dcm, must"),
    "climbing": (
        {"images": [image(10, 100, "L", "CC", path=f"{SERVER}/../../x.dcm")]},
        "'anon_dicom_path': got .*, must be a path inside the image folder: relative, without '..'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_tables(tmp_path, name):
    change, words = BROKEN[name]
    good = {"findings": [finding(10, 100, "L", "V")], "images": [image(10, 100, "L", "CC")]}
    with pytest.raises(ValueError, match=words):
        read_embed(embed(tmp_path, **good | change, with_files=False))


def test_missing_tables(tmp_path):
    embed(tmp_path, [finding(10, 100, "L", "V")], [image(10, 100, "L", "CC")])
    (tmp_path / "tables/AWS_Open_Data_Clinical_Legend.csv").rename(tmp_path / "tables/clinical_legend.csv")
    assert len(read_embed(tmp_path).views) == 1
    (tmp_path / "tables/clinical_legend.csv").unlink()
    with pytest.raises(FileNotFoundError, match="must contain AWS_Open_Data_Clinical_Legend.csv or clinical_legend"):
        read_embed(tmp_path)
