"""The readers of archives, on small made-up tables of the true column names; expected rows are written by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from mammogram_files import write as write_dicom
from pydicom.uid import JPEGLosslessSV1
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils._tables import read_table, relative_path
from bac_utils.archives.cbis_ddsm import (
    ARCHIVES,
    CBIS_CONTRADICTION,
    read_cbis_ddsm,
    read_dicom_folder,
    read_embed,
    read_rsna,
    read_vindr_mammo,
)
from bac_utils.archives.conversion import NO_AGE, NO_FILE, NO_SIDE, NO_VIEW, REPEATED, write_views
from bac_utils.scoring.batch import pseudonym
from bac_utils.views_table import read_views


def put(path, *lines):
    """Write a table; a line is its row, given as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def rows(archive, columns="patient_id age laterality view image bac"):
    """The views as tuples, None where unknown."""
    table = archive.views[columns.split()].astype(object)
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in table.itertuples(index=False)]


def left_out(archive):
    """(women, views) by reason; reasons that never held are left away."""
    return {reason: (women, views) for reason, women, views in archive.exclusions.itertuples(index=False) if views}


# CBIS-DDSM

CBIS = (
    "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
UID = "1.3.6.1.4.1.9590.100.1.2.1"


def lesion(woman, side, view, number, kind, set_="Training", path=None):
    case = f"Calc-{set_}_{woman}_{side}_{view}"
    path = path or f"{case}/{UID}/{UID}.2/000000.dcm"
    crops = f'"{case}_{number}/{UID}/{UID}.3/000001.dcm\n","{case}_{number}/{UID}/{UID}.3/000000.dcm\n"'
    return f"{woman},3,{side},{view},{number},calcification,{kind},CLUSTERED,3,MALIGNANT,3,{path},{crops}"


def cbis(folder, *lines, test=()):
    put(folder / "calc_case_description_train_set.csv", CBIS, *lines)
    if test:
        put(folder / "calc_case_description_test_set.csv", CBIS, *test)
    return folder


@pytest.fixture
def cbis_folder(tmp_path):
    folder = cbis(
        tmp_path / "cbis",
        lesion("P_00005", "RIGHT", "CC", 1, "AMORPHOUS"),
        lesion("P_00005", "RIGHT", "CC", 2, "VASCULAR-COARSE-LUCENT_CENTERED-ROUND_AND_REGULAR-PUNCTATE"),
        lesion("P_00005", "RIGHT", "MLO", 1, "PLEOMORPHIC"),
        lesion("P_00007", "LEFT", "CC", 1, "LUCENT_CENTERED"),
        test=[lesion("P_00038", "LEFT", "MLO", 1, "VASCULAR", "Test"), lesion("P_00041", "LEFT", "CC", 1, "", "Test")],
    )
    touch(
        folder,
        f"Calc-Training_P_00005_RIGHT_CC/{UID}/{UID}.2/000000.dcm",  # as the table says
        f"Calc-Training_P_00005_RIGHT_CC_1/{UID}/{UID}.3/000000.dcm",
        "CBIS-DDSM/Calc-Training_P_00005_RIGHT_MLO/08-07-2016-DDSM-NA-1/1.000000-full mammogram images-2/1-1.dcm",
        "CBIS-DDSM/Calc-Test_P_00038_LEFT_MLO/08-07-2016-DDSM-NA-1/1.000000-full mammogram images-2/1-1.dcm",
        "CBIS-DDSM/Calc-Training_P_00007_LEFT_CC/a/1-1.dcm",
        "CBIS-DDSM/Calc-Training_P_00007_LEFT_CC/b/1-1.dcm",  # two: nobody knows which
    )
    return folder


def test_cbis_ddsm(cbis_folder, tmp_path):
    ages = put(tmp_path / "ages.csv", "patient_id,age", "P_00005,61", "P_00038,70.5", "P_99999,50")
    archive = read_cbis_ddsm(cbis_folder, ages=ages)
    nbia = "08-07-2016-DDSM-NA-1/1.000000-full mammogram images-2/1-1.dcm"
    assert rows(archive) == [
        ("P_00005", 61, "R", "CC", f"Calc-Training_P_00005_RIGHT_CC/{UID}/{UID}.2/000000.dcm", 1),
        ("P_00005", 61, "R", "MLO", f"CBIS-DDSM/Calc-Training_P_00005_RIGHT_MLO/{nbia}", None),  # not a negative
        ("P_00038", 70.5, "L", "MLO", f"CBIS-DDSM/Calc-Test_P_00038_LEFT_MLO/{nbia}", 1),
    ]
    assert left_out(archive) == {NO_FILE: (2, 2)}
    assert archive.exclusions["reason"].tolist() == [CBIS_CONTRADICTION, NO_FILE, REPEATED, NO_AGE]  # zeros as well


def test_cbis_ddsm_has_no_ages(cbis_folder, tmp_path):
    with pytest.raises(
        ValueError, match=r"^CBIS-DDSM: got no view to keep .*3 no age .*; ages may be given in a table"
    ):
        read_cbis_ddsm(cbis_folder)
    ages = put(tmp_path / "ages.csv", "patient_id,age", "P_00005,61")
    assert left_out(read_cbis_ddsm(cbis_folder, ages=ages)) == {NO_FILE: (2, 2), NO_AGE: (1, 1)}
    archive = read_cbis_ddsm(cbis_folder, without_age=True)
    assert [row[1] for row in rows(archive)] == [None] * 3
    write_views(archive, tmp_path / "views.csv")
    with pytest.raises(ValueError, match="views.csv row 2, column 'age': got nothing"):
        read_views(tmp_path / "views.csv")


@pytest.mark.parametrize(
    ("kind", "bac"),
    [("VASCULAR", 1), ("vascular", 1), ("SKIN-VASCULAR", 1), ("COARSE", None), ("N/A", None), ("NON_VASCULAR", None)],
)
def test_cbis_calcification_types(tmp_path, kind, bac):
    cbis(tmp_path, lesion("P_1", "LEFT", "CC", 1, kind))
    touch(tmp_path, f"Calc-Training_P_1_LEFT_CC/{UID}/{UID}.2/000000.dcm")
    assert rows(read_cbis_ddsm(tmp_path, without_age=True), "bac") == [(bac,)]


def test_cbis_path_of_another_view_is_left_out(tmp_path):
    mixed = [
        lesion("P_1", "LEFT", "CC", 1, "VASCULAR"),
        lesion("P_1", "LEFT", "MLO", 1, "VASCULAR", path="Calc-Training_P_1_RIGHT_MLO/a/b/1.dcm"),
        lesion("P_2", "LEFT", "MLO", 1, "VASCULAR", path="Calc-Training_P_3_LEFT_MLO/a/b/1.dcm"),
    ]
    cbis(tmp_path, *mixed)
    touch(tmp_path, f"Calc-Training_P_1_LEFT_CC/{UID}/{UID}.2/000000.dcm", "Calc-Training_P_1_RIGHT_MLO/a/b/1.dcm")
    archive = read_cbis_ddsm(tmp_path, without_age=True)
    assert rows(archive, "patient_id laterality view") == [("P_1", "L", "CC")]
    assert left_out(archive) == {CBIS_CONTRADICTION: (2, 2)}


def test_cbis_mass_table_is_refused(tmp_path):
    """Mass tables spell `breast_density` and have other columns; under another table's name they do not pass."""
    header = CBIS.replace("breast density", "breast_density").replace("calc type", "mass shape")
    put(tmp_path / "calc_case_description_train_set.csv", header, lesion("P_1", "LEFT", "CC", 1, "OVAL"))
    with pytest.raises(ValueError, match="train_set.csv row 1, column 'calc type': missing"):
        read_cbis_ddsm(tmp_path)
    cbis(tmp_path, lesion("P_1", "LEFT", "CC", 1, "OVAL").replace(",calcification,", ",mass,"))
    with pytest.raises(ValueError, match="row 2, column 'abnormality type': got mass, must be CALCIFICATION"):
        read_cbis_ddsm(tmp_path)


# EMBED

LEGEND = (
    "Header in export,Discription,Code,Meaning",
    "sprocs,Procedure code,1986,MG RS CT Breast Vascular Calc Lt                  ",
    "calcfind,Calcification Finding,A,Amorphous",
    "calcfind,Calcification Finding,{}     ,Vascular",
    "otherfind,Other related finding,{}     ,normal lymph node(s)   ",
    "vtype,Visit Type,,",
)
CLINICAL = ",empi_anon,acc_anon,study_date_anon,desc,tissueden,asses,numfind,side,calcfind,calcdistri,age_at_study"
METADATA = (
    ",empi_anon,acc_anon,study_date_anon,FinalImageType,ImageLateralityFinal,ViewPosition,spot_mag,SeriesDescription,"
    "num_roi,ROI_coords,SRC_DST,match_level,anon_dicom_path"
)
SERVER = "/mnt/NAS2/mammo/anon_dicom/cohort_1"


def finding(woman, exam, side, code, age="61.3", number=1):
    return f'0,{woman},{exam},2015-03-01,MG Screening,2.0,N,{number},{side},"{code}",,{age}'


def image(woman, exam, side, view, kind="2D", special="", series="", date="2015-03-01", path=None, name="a"):
    path = path or f"{SERVER}/{woman}/{exam}/{side}{view}{name}.dcm"
    return f'0,{woman},{exam},{date},{kind},{side},{view},{special},{series},0,"((1, 2), (3, 4))",,[],{path}'


def embed(folder, findings, images, code="V", there=True):
    put(folder / "tables/AWS_Open_Data_Clinical_Legend.csv", *(line.replace("{}", code) for line in LEGEND))
    put(folder / "tables/EMBED_OpenData_clinical.csv", CLINICAL, *findings)
    put(folder / "tables/EMBED_OpenData_metadata.csv", METADATA, *images)
    for line in images if there else ():
        touch(folder / "images", line.rsplit(",", 1)[1].split("anon_dicom/")[-1].removeprefix("images/"))
    return folder


def four(woman, exam, **changes):
    return [image(woman, exam, side, view, **changes) for side in "LR" for view in ("CC", "MLO")]


def test_embed(tmp_path):
    findings = [
        finding(10, 100, "L", "V"),
        finding(10, 100, "R", "", number=2),
        finding(20, 200, "B", "A,V", age="70"),  # both sides, several codes
        finding(30, 300, "", "V", age="55"),  # no side is both sides
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
        ("10", 61.3, "R", "CC", f"{at}/10/100/RCCa.dcm", None),  # an empty calcfind is no negative
        ("10", 61.3, "R", "MLO", f"{at}/10/100/RMLOa.dcm", None),
        ("20", 70, "L", "MLO", f"{at}/20/200/LMLOa.dcm", 1),
        ("20", 70, "R", "CC", f"{at}/20/200/RCCa.dcm", 1),
        ("30", 55, "L", "CC", f"{at}/30/300/LCCa.dcm", 1),
        ("40", 48, "R", "CC", f"{at}/40/400/x.dcm", None),
    ]
    assert left_out(archive) == {
        "not 2D (C-view, tomosynthesis, screen shot)": (1, 1),
        "spot compression or magnification": (1, 1),
        NO_SIDE: (1, 1),
        NO_VIEW: (1, 2),
        REPEATED: (1, 1),
    }
    assert archive.notes == ("breasts with a vascular finding that have no view in the table: 1",)  # 30, right


def test_embed_takes_the_code_from_the_legend(tmp_path):
    """The letter is not assumed: with another legend another code is vascular, and V is not."""
    findings = [finding(10, 100, "L", "V"), finding(20, 200, "L", "w")]
    archive = read_embed(embed(tmp_path, findings, [image(10, 100, "L", "CC"), image(20, 200, "L", "CC")], code="W"))
    assert rows(archive, "patient_id bac") == [("10", None), ("20", 1)]
    assert archive.notes == ("codes of calcfind that AWS_Open_Data_Clinical_Legend.csv does not explain: V",)
    embed(tmp_path, findings, [], there=False)
    legend = [line.replace("Vascular", "Ring") if line.startswith("calcfind") else line for line in LEGEND]
    put(tmp_path / "tables/AWS_Open_Data_Clinical_Legend.csv", *legend)
    with pytest.raises(ValueError, match="Legend.csv, column 'Meaning': got no 'Vascular' where .* is calcfind"):
        read_embed(tmp_path)  # sprocs has a vascular meaning, but is another column


def test_embed_joins_by_woman_exam_and_side(tmp_path):
    """Nothing leaks to another exam, woman or breast; one exam is kept: vascular, then complete, then early."""
    findings = [
        finding(10, 100, "R", "A", age="50"),
        finding(10, 101, "L", "V", age="52"),
        finding(20, 101, "L", "", age="60"),  # the same exam number, another woman
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
    assert left_out(archive) == {"another exam of the woman": (3, 6)}


def test_embed_identifiers_and_missing_files(tmp_path):
    """Pandas writes 100.0 for 100; files that were not downloaded are counted before an exam is chosen."""
    findings = [finding("10.0", "100.0", "L", "V"), finding("10.0", "101.0", "L", "")]
    embed(tmp_path, findings, [image(10, 100, "L", "CC")], there=False)
    with pytest.raises(ValueError, match=r"EMBED: got no view to keep \(1 image file not there\), must hold at least"):
        read_embed(tmp_path)
    embed(tmp_path, findings, [image(10, 100, "L", "CC"), image(10, 101, "L", "CC")])
    archive = read_embed(tmp_path)
    assert rows(archive, "patient_id bac") == [("10", 1)]
    (tmp_path / "images/cohort_1/10/100/LCCa.dcm").unlink()
    archive = read_embed(tmp_path)
    assert rows(archive, "patient_id bac") == [("10", None)]
    assert archive.notes == ("breasts with a vascular finding that have no view in the table: 1",)
    (tmp_path / "images").rename(tmp_path / "disk")
    assert len(read_embed(tmp_path, images=tmp_path / "disk").views) == 1
    assert len(read_embed(tmp_path / "tables", images=tmp_path / "disk").views) == 1


def test_embed_ages(tmp_path):
    ages = ["", "17", "-1", "200"]
    findings = [finding(10 + k, 100, "L", "V", age=age) for k, age in enumerate([*ages, "59"])]
    archive = read_embed(embed(tmp_path, findings, [image(10 + k, 100, "L", "CC") for k in range(5)]))
    assert rows(archive, "patient_id age") == [("14", 59)]
    assert left_out(archive) == {NO_AGE: (4, 4)}


EMBED_BROKEN = {
    "side": ({"findings": [finding(10, 100, "X", "V")]}, "clinical.csv row 2, column 'side': got X, must be L or R or"),
    "age": ({"findings": [finding(10, 100, "L", "V", age="old")]}, "column 'age_at_study': got old, must be a number"),
    "rounded": ({"findings": [finding(10, "2.95E+15", "L", "V")]}, "'acc_anon': got 2.95E.15, must be written with"),
    "no woman": ({"findings": [finding("", 100, "L", "V")]}, "column 'empi_anon': got nothing, must be an identifier"),
    "spot": ({"images": [image(10, 100, "L", "CC", special="2")]}, "metadata.csv row 2, column 'spot_mag': got 2,"),
    "path": ({"images": [image(10, 100, "L", "CC", path="/etc/x.dcm")]}, "'anon_dicom_path': got /etc/x.dcm, must"),
    "climbing": (
        {"images": [image(10, 100, "L", "CC", path=f"{SERVER}/../../x.dcm")]},
        "'anon_dicom_path': got .*, must be a path inside the images' folder: relative, without '..'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EMBED_BROKEN)
def test_embed_broken_tables(tmp_path, name):
    change, words = EMBED_BROKEN[name]
    good = {"findings": [finding(10, 100, "L", "V")], "images": [image(10, 100, "L", "CC")]}
    with pytest.raises(ValueError, match=words):
        read_embed(embed(tmp_path, **good | change, there=False))


def test_embed_needs_its_tables(tmp_path):
    embed(tmp_path, [finding(10, 100, "L", "V")], [image(10, 100, "L", "CC")])
    (tmp_path / "tables/AWS_Open_Data_Clinical_Legend.csv").rename(tmp_path / "tables/clinical_legend.csv")
    assert len(read_embed(tmp_path).views) == 1
    (tmp_path / "tables/clinical_legend.csv").unlink()
    with pytest.raises(FileNotFoundError, match="must hold AWS_Open_Data_Clinical_Legend.csv or clinical_legend.csv"):
        read_embed(tmp_path)


# VinDr-Mammo

VINDR = "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split"
VINDR_METADATA = "SOP Instance UID,Series Instance UID,Patient's Age,View Position,Manufacturer's Model Name"


def vindr(folder, *views, ages=()):
    put(
        folder / "breast-level_annotations.csv",
        VINDR,
        *(
            f"{study},s,{name},{side},{view},3518,2800,BI-RADS 2,DENSITY C,training"
            for study, name, side, view in views
        ),
    )
    if ages:
        put(folder / "metadata.csv", VINDR_METADATA, *(f"{name},s,{age},CC,Planmed Nuance" for name, age in ages))
    touch(folder, *(f"images/{study}/{name}.dicom" for study, name, *_ in views[:-1]))  # the last is not there
    return folder


def test_vindr_mammo(tmp_path):
    views = [("a1", "i1", "L", "CC"), ("a1", "i2", "R", "MLO"), ("b2", "i3", "L", "CC"), ("b2", "i4", "R", "CC")]
    folder = vindr(tmp_path, *views, ages=[("i1", "053Y"), ("i2", ""), ("i3", ""), ("i9", "060Y")])
    put(  # no finding is vascular, and a list literal is never evaluated
        folder / "finding_annotations.csv",
        "study_id,image_id,laterality,view_position,finding_categories",
        "a1,i1,L,CC,\"['Suspicious Calcification']\"",
    )
    archive = read_vindr_mammo(folder)
    assert rows(archive) == [
        ("a1", 53, "L", "CC", "images/a1/i1.dicom", None),
        ("a1", 53, "R", "MLO", "images/a1/i2.dicom", None),  # the age of the same exam
    ]
    assert left_out(archive) == {NO_FILE: (1, 1), NO_AGE: (1, 1)}
    (folder / "metadata.csv").unlink()
    with pytest.raises(ValueError, match="VinDr-Mammo: got no view to keep .*3 no age"):
        read_vindr_mammo(folder)
    ages = put(tmp_path / "ages.csv", "patient_id,age", "b2,44")
    assert rows(read_vindr_mammo(folder, ages=ages), "patient_id age") == [("b2", 44)]
    archive = read_vindr_mammo(folder, images=folder / "images", without_age=True)
    assert rows(archive, "image") == [("a1/i1.dicom",), ("a1/i2.dicom",), ("b2/i3.dicom",)]


@pytest.mark.parametrize(
    ("view", "age", "words"),
    [
        (
            ("..", "i1", "L", "CC"),
            "",
            "breast-level_annotations.csv row 2, column 'study_id': got .., must be an ident",
        ),
        (("a1", "../i1", "L", "CC"), "", "column 'image_id': got ../i1, must be an identifier"),
        (("a1", "i1", "B", "CC"), "", "column 'laterality': got B, must be L or R"),
        (("a1", "i1", "L", "CC"), "middle", "metadata.csv row 2, column 'Patient's Age': got middle, must be as 053Y"),
    ],
)
def test_vindr_broken_tables(tmp_path, view, age, words):
    with pytest.raises(ValueError, match=words):
        read_vindr_mammo(vindr(tmp_path, view, ages=[("i1", age)]))


# RSNA

RSNA = (
    "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,machine_id,"
    "difficult_negative_case"
)


def rsna(folder, *views):
    lines = [
        f"2,{woman},{name},{side},{view},{age},1,0,0,,{implant},,29,False"
        for woman, name, side, view, age, implant in views
    ]
    put(folder / "train.csv", RSNA, *lines)
    touch(folder, *(f"train_images/{woman}/{name}.dcm" for woman, name, *_ in views if name != "99"))
    return folder


def test_rsna(tmp_path):
    folder = rsna(
        tmp_path,
        ("10006", "1", "L", "CC", "61.0", "0"),
        ("10006", "2", "L", "MLO", "61.0", "0"),
        ("10006", "3", "L", "MLO", "61.0", "0"),  # a second exposure
        ("10006", "4", "R", "LMO", "61.0", "0"),
        ("10006", "99", "R", "MLO", "61.0", "0"),
        ("10011", "5", "R", "CC", "55", "1"),
        ("10025", "6", "R", "CC", "", "0"),
        ("10038", "7", "R", "CC", "50", "0"),
        ("10038", "8", "R", "MLO", "52", "0"),  # two exams?
    )
    archive = read_rsna(folder)
    assert rows(archive) == [
        ("10006", 61, "L", "CC", "train_images/10006/1.dcm", None),  # cancer is no BAC label
        ("10006", 61, "L", "MLO", "train_images/10006/2.dcm", None),
    ]
    assert left_out(archive) == {
        "breast implant": (1, 1),
        NO_VIEW: (1, 1),
        NO_FILE: (1, 1),
        REPEATED: (1, 1),
        NO_AGE: (2, 3),
    }
    assert len(read_rsna(folder, without_age=True).views) == 5
    assert len(read_rsna(folder, images=folder / "train_images").views) == 2


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (("1", "1", "L", "CC", "61", ""), "train.csv row 2, column 'implant': got nothing, must be 0 or 1"),
        (("1", "1", "L", "CC", "61", "yes"), "train.csv row 2, column 'implant': got yes, must be 0 or 1"),
        (("1", "1", "l?", "CC", "61", "0"), "column 'laterality': got l\\?, must be L or R"),
        (("1", "1", "L", "CC", "nan", "0"), "column 'age': got nan, must be a number of years or empty"),
        (("../1", "1", "L", "CC", "61", "0"), "column 'patient_id': got ../1, must be an identifier"),
        (("1", "a/b", "L", "CC", "61", "0"), "column 'image_id': got a/b, must be an identifier"),
    ],
)
def test_rsna_broken_tables(tmp_path, view, words):
    put(tmp_path / "train.csv", RSNA, "2,{},{},{},{},{},0,0,0,,{},,29,False".format(*view))
    with pytest.raises(ValueError, match=words):
        read_rsna(tmp_path)


def test_one_image_in_two_views_is_refused(tmp_path):
    rsna(tmp_path, ("1", "1", "L", "CC", "61", "0"), ("1", "1", "L", "MLO", "61", "0"))
    with pytest.raises(
        ValueError, match=r"RSNA row 3, column 'image': got .*, must be the file of one view only .*row 2"
    ):
        read_rsna(tmp_path)


# a plain folder


@pytest.fixture
def dicom_folder(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    kinds = {
        "b/1.dcm": {"PatientID": "Doe^Jane", "ViewPosition": "CC"},
        "b/2": {"PatientID": "Doe^Jane", "ViewPosition": "MLO"},
        "a.dcm": {"PatientID": "Roe 7", "ImageLaterality": "R", "PatientAge": None},
        "c.dcm": {"PatientID": "Doe^Jane", "ViewPosition": "CC", "PatientAge": "060Y"},  # another year
        "d.dcm": {"BreastImplantPresent": "YES"},
        "e.dcm": {"ImageLaterality": None},
        "f.dcm": {"PatientID": ""},
        "g.dcm": {"Modality": "CT"},
    }
    for number, (name, changes) in enumerate(kinds.items(), 1):
        (folder / name).parent.mkdir(exist_ok=True)
        write_dicom(folder / name, **{"SOPInstanceUID": f"2.25.{number}"} | changes)
    (folder / "copy.dcm").write_bytes((folder / "b/1.dcm").read_bytes())
    (folder / "notes.txt").write_text("Jane Doe")
    return folder


def test_dicom_folder(dicom_folder, tmp_path):
    ages = put(tmp_path / "ages.csv", "patient_id,age", "Roe 7,66")
    archive = read_dicom_folder(dicom_folder, ages=ages)
    assert rows(archive) == [
        ("W0001", 66, "R", "CC", "a.dcm", None),
        ("W0002", 59, "L", "CC", "b/1.dcm", None),
        ("W0002", 59, "L", "MLO", "b/2", None),
    ]
    assert left_out(archive) == {
        "implant": (0, 1),
        "unknown_side": (0, 1),
        "not_mammography": (0, 1),
        "not_an_image": (0, 1),
        "duplicate": (1, 1),
        "no PatientID": (0, 1),
        REPEATED: (1, 1),
    }
    without = read_dicom_folder(dicom_folder)
    assert rows(without, "patient_id image") == [("W0001", "b/1.dcm"), ("W0001", "b/2")]
    assert left_out(without)[NO_AGE] == (1, 1)


def test_dicom_folder_reads_no_pixels(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pixels were read")

    for target in (
        "bac_utils.intake.dicom_header.stored_values",
        "bac_utils.intake.dicom_pixels.pixel_array",
        "PIL.Image.open",
    ):
        monkeypatch.setattr(target, refuse)
    write_dicom(tmp_path / "a.dcm", PatientID="1")
    broken = b"\xff\xd8" + bytes(200) + b"\xff\xd9"  # no JPEG, under a good header
    write_dicom(tmp_path / "b.dcm", syntax=JPEGLosslessSV1, pixels=broken, PatientID="2", SOPInstanceUID="2.25.2")
    write_dicom(tmp_path / "c.dcm", PatientID="3", SOPInstanceUID="2.25.3")
    (tmp_path / "c.dcm").write_bytes((tmp_path / "c.dcm").read_bytes()[:-2000])  # of 2560 bytes of pixels
    write_dicom(tmp_path / "d.dcm", syntax=JPEGLosslessSV1, PatientID="4", SOPInstanceUID="2.25.4")
    whole = (tmp_path / "d.dcm").read_bytes()
    (tmp_path / "d.dcm").write_bytes(whole.replace(JPEGLosslessSV1.encode(), b"1.2.840.10008.1.2.4.99"))  # no such
    write_dicom(tmp_path / "e.dcm", PatientID="5", SOPInstanceUID="")
    write_dicom(tmp_path / "f.dcm", PatientID="5", SOPInstanceUID="", ViewPosition="MLO")
    (tmp_path / "L_CC.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    archive = read_dicom_folder(tmp_path)
    assert rows(archive, "patient_id image") == [
        ("W0001", "a.dcm"),
        ("W0002", "b.dcm"),
        ("W0003", "e.dcm"),
        ("W0003", "f.dcm"),
    ]
    assert left_out(archive) == {"truncated": (0, 1), "unreadable": (0, 1), "no PatientID": (0, 1)}


def test_dicom_folder_names_nobody(dicom_folder, tmp_path):
    key = bytes(range(16))
    for given in ({}, {"key": key}):
        output = tmp_path / f"{len(given)}.csv"
        write_views(read_dicom_folder(dicom_folder, without_age=True, **given), output)
        text = output.read_text() + output.with_suffix(".excluded.csv").read_text()
        assert not any(word in text for word in ("Doe", "Jane", "Roe", "Secret", "2.25."))
    ids = [row[0] for row in rows(read_dicom_folder(dicom_folder, key=key, without_age=True))]
    assert ids == [pseudonym("Roe 7", key)] + [pseudonym("Doe^Jane", key)] * 2  # as `score` writes them
    kept = read_dicom_folder(dicom_folder, keep_ids=True, without_age=True)
    assert rows(kept, "patient_id") == [("Roe 7",), ("Doe^Jane",), ("Doe^Jane",)]
    with pytest.raises(ValueError, match="key: got 3 bytes, must be 16 or more"):
        read_dicom_folder(dicom_folder, key=b"abc")
    with pytest.raises(ValueError, match="keep_ids: got True and a key"):
        read_dicom_folder(dicom_folder, key=key, keep_ids=True)


def test_dicom_labels_by_file(dicom_folder):
    labels = put(
        dicom_folder / "labels.csv",
        "image,bac,bac_length_mm,pixel_spacing_mm,reader",
        "b\\1.dcm,1,41.5,0.085,x",
        "./b/2,0,,,y",
        "a.dcm,,,,",
        "z.dcm,1,,,",
    )
    archive = read_dicom_folder(dicom_folder, labels=labels, without_age=True)
    assert rows(archive, "image bac bac_length_mm pixel_spacing_mm") == [
        ("a.dcm", None, None, None),
        ("b/1.dcm", 1, 41.5, 0.085),
        ("b/2", 0, 0, None),
    ]
    assert archive.notes == ("rows of labels.csv that fit no view: 1",)
    assert left_out(archive)["not_an_image"] == (0, 1)  # the labels are not counted


def test_dicom_labels_by_view(dicom_folder, tmp_path):
    labels = put(tmp_path / "l.csv", "patient_id,laterality,view,bac", "Doe^Jane,L,MLO,1", "Roe 7,R,CC,0")
    archive = read_dicom_folder(dicom_folder, labels=labels, without_age=True)
    assert rows(archive, "patient_id view bac") == [("W0001", "CC", 0), ("W0002", "CC", None), ("W0002", "MLO", 1)]
    assert archive.notes == ()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["image", "a.dcm"], "l.csv row 1, column 'bac': missing, must come once"),
        (
            ["patient_id,view,bac", "1,CC,1"],
            "l.csv row 1, column 'laterality': missing, must hold 'image', or patient_id",
        ),
        (["image,bac", "a.dcm,2"], "l.csv row 2, column 'bac': got 2, must be 0, 1 or empty"),
        (["image,bac", "a.dcm,1", "./a.dcm,1"], "l.csv row 3, column 'image': got ./a.dcm, must come once"),
        (["image,bac", "../a.dcm,1"], "l.csv row 2, column 'image': got ../a.dcm, must be a path inside"),
        (["image,bac,bac_length_mm", "a.dcm,1,-3"], "column 'bac_length_mm': got -3, must be a number of mm"),
        (["image,bac,pixel_spacing_mm", "a.dcm,1,70"], "column 'pixel_spacing_mm': got 70, must be a number of mm"),
        (["patient_id,laterality,view,bac", "1,L,ML,1"], "column 'view': got ML, must be CC or MLO"),
        (["patient_id,laterality,view,bac", ",L,CC,1"], "column 'patient_id': got nothing, must not be empty"),
        (["patient_id,laterality,view,bac", "1,L,CC,1", "1,L,CC,0"], "row 3, column 'view': got CC, must come once"),
    ],
)
def test_dicom_broken_labels(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_dicom_folder(tmp_path, labels=put(tmp_path / "l.csv", *lines))


def test_dicom_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match=r"DICOM: got no view to keep \(no images\), must hold at least one$"):
        read_dicom_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="source: got '.*nowhere', must be an existing folder"):
        read_dicom_folder(tmp_path / "nowhere")


# tables and paths


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/b.dcm", "a/b.dcm"), ("./a//b.dcm", "a/b.dcm"), ("a\\b.dcm", "a/b.dcm"), ("a..b/c d.dcm", "a..b/c d.dcm"),
        ("", ""), (".", ""), ("/", ""), ("/etc/passwd", ""), ("//server/x", ""), ("\\\\server\\x", ""), ("..", ""),
        ("../x", ""), ("a/../../x", ""), ("a\\..\\..\\x", ""), ("a/.. /x", ""), ("a/.../x", ""), ("C:/x", ""),
        ("C:x", ""), ("a.dcm:stream", ""), ("a\nb", ""), ("a\0b", ""), ("~/x", "~/x"), ("$HOME/x", "$HOME/x"),
    ],
)  # fmt: skip
def test_relative_path(text, path):
    assert relative_path(text) == path


def test_a_path_of_a_table_stays_in_the_folder(tmp_path):
    (tmp_path / "secret.dcm").touch()
    inside = tmp_path / "cbis"
    for path in ("../secret.dcm", str(tmp_path / "secret.dcm"), "Calc-Training_P_1_LEFT_CC/../../secret.dcm"):
        cbis(inside, lesion("P_1", "LEFT", "CC", 1, "VASCULAR", path=path))
        with pytest.raises(
            ValueError, match="train_set.csv row 2, column 'image file path': got .* must be a path inside"
        ):
            read_cbis_ddsm(inside)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "t.csv: got no rows"),
        (b"\n \n", "t.csv: got no rows"),
        (b"a,b\n", "t.csv: got no rows"),
        (b"a;b\n1;2\n", "t.csv row 1, column 'a': missing, must come once .*; found: 'a;b'"),
        (b"a,a,b\n1,2,3\n", "t.csv row 1, column 'a': found 2 times"),
        (b"b\n1\n", "t.csv row 1, column 'a': missing"),
        (b"a,b\n1,2\n3\n", "t.csv row 3: got 1 cells, must have 2 as the first row"),
        (b'a,b\n"1,2\n', "t.csv row 2: got unexpected end of data, must be comma-separated"),
        (b"a,b\n\xe9,2\n", "t.csv row 2, column 'a': got .*, must be UTF-8 text"),
        (b"a,b\n1\x00,2\n", "t.csv row 2, column 'a': got '1.x00', must be UTF-8 text"),
        (b"PK\x03\x04\x14\x00\x06\x00", "t.csv row 1, column 'a': missing"),
        ("a,b\n1,2\n".encode("utf-16"), "t.csv row 1, column 'a': missing"),
    ],
)
def test_a_file_that_is_no_such_table(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{words}"):
        read_table(tmp_path / "t.csv", ("a",))


def test_read_table_takes_what_programs_write(tmp_path):
    text = '\ufeff,b,a,note\r\n0, x ,"1,5",caf\xe9\r\n,,,\r\n\r\n1,"two\r\nlines",2,\r\n'
    (tmp_path / "t.csv").write_bytes(text.encode().replace("\xe9".encode(), b"\xe9"))  # a bad byte in an unread column
    table = read_table(tmp_path / "t.csv", ("a", "b"), ("c",))
    assert table.cells.to_dict("index") == {2: {"a": "1,5", "b": "x"}, 5: {"a": "2", "b": "two\r\nlines"}}
    with pytest.raises(FileNotFoundError, match="nowhere.csv': must be an existing CSV file"):
        read_table(tmp_path / "nowhere.csv", ("a",))


def test_messages_stay_short(tmp_path):
    put(
        tmp_path / "train.csv",
        RSNA,
        f"2,{'x/' * 5000},1,L,CC,61,0,0,0,,0,,29,False",
        "2,y/,1,L,CC,61,0,0,0,,0,,29,False",
    )
    with pytest.raises(ValueError, match=r"\(rows that break this rule: 2\)$") as caught:
        read_rsna(tmp_path)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["patient_id,age", "1,590"],
            "ages.csv row 2, column 'age': got 590, must be a number of years from 18 to 110",
        ),
        (["patient_id,age", "1,"], "ages.csv row 2, column 'age': got nothing, must be a number"),
        (["patient_id,age", "1,50", "1,51"], "ages.csv row 3, column 'patient_id': got 1, must come once"),
        (["patient_id,age", ",50"], "ages.csv row 2, column 'patient_id': got nothing"),
        (["patient_id,years", "1,50"], "ages.csv row 1, column 'age': missing"),
    ],
)
def test_broken_ages(tmp_path, lines, words):
    rsna(tmp_path, ("1", "1", "L", "CC", "61", "0"))
    with pytest.raises(ValueError, match=words):
        read_rsna(tmp_path, ages=put(tmp_path / "ages.csv", *lines))


# writing, and the command line


def call(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def test_a_written_table_is_a_views_table(tmp_path):
    folder = rsna(tmp_path / "data/rsna", ("1", "1", "L", "CC", "61.0", "0"), ("2", "2", "R", "MLO", "49.5", "0"))
    output = tmp_path / "tables/here/views.csv"
    write_views(read_rsna(folder), output)
    assert output.read_text().splitlines() == [
        "patient_id,age,laterality,view,image,bac",
        "1,61,L,CC,../../data/rsna/train_images/1/1.dcm,",
        "2,49.5,R,MLO,../../data/rsna/train_images/2/2.dcm,",
    ]
    views = read_views(output, check_images=True)
    assert views["image_path"].tolist() == [str(folder / f"train_images/{k}/{k}.dcm") for k in (1, 2)]
    excluded = pd.read_csv(tmp_path / "tables/here/views.excluded.csv")
    assert excluded.to_dict("list") == {
        "reason": ["breast implant", NO_VIEW, NO_FILE, REPEATED, NO_AGE],
        "women": [0] * 5,
        "views": [0] * 5,
    }
    output.unlink()
    with pytest.raises(FileExistsError, match="views.excluded.csv is there already"):
        write_views(read_rsna(folder), output)
    write_views(read_rsna(folder), output, overwrite=True)
    assert output.is_file()


def test_views_verb_for_each_dataset(tmp_path, cbis_folder, dicom_folder):
    folders = {
        "CBIS-DDSM": cbis_folder,
        "EMBED": embed(tmp_path / "embed", [finding(10, 100, "L", "V")], four(10, 100)),
        "VinDr-Mammo": vindr(tmp_path / "vindr", ("a1", "i1", "L", "CC"), ("a1", "i2", "L", "MLO")),
        "RSNA": rsna(tmp_path / "rsna", ("1", "1", "L", "CC", "61", "0"), ("2", "2", "L", "CC", "61", "1")),
        "DICOM": dicom_folder,
    }
    assert list(folders) == list(ARCHIVES)
    told = {}
    for name, folder in folders.items():
        output = tmp_path / f"{name}.csv"
        done = call("views", name.lower(), folder, "--output", output, "--without-age")
        assert done.exit_code == 0, done.output
        assert output.is_file() and output.with_suffix(".excluded.csv").is_file()
        told[name] = done.output.replace(str(output), "FILE").splitlines()
    assert told["CBIS-DDSM"] == ["2 women, 3 views (2 BAC+, 0 BAC-, 1 unknown): FILE", f"left out, {NO_FILE}: 2"]
    assert told["EMBED"] == ["1 women, 4 views (2 BAC+, 0 BAC-, 2 unknown): FILE"]
    assert told["RSNA"] == ["1 women, 1 views (0 BAC+, 0 BAC-, 1 unknown): FILE", "left out, breast implant: 1"]
    assert told["DICOM"][0] == "2 women, 3 views (0 BAC+, 0 BAC-, 3 unknown): FILE"


def test_views_verb_passes_its_options(dicom_folder, tmp_path):
    labels = put(tmp_path / "labels.csv", "image,bac", "a.dcm,1", "nowhere.dcm,1")
    ages = put(tmp_path / "ages.csv", "patient_id,age", "Roe 7,66")
    (tmp_path / "key").write_bytes(bytes(range(16)))
    words = ["views", "DICOM", dicom_folder, "--output", tmp_path / "views.csv", "--labels", labels, "--ages", ages]
    done = call(*words, "--key-file", tmp_path / "key")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "rows of labels.csv that fit no view: 1"
    views = read_views(tmp_path / "views.csv", check_images=True)
    assert views.loc[0, ["patient_id", "age", "bac"]].tolist() == [pseudonym("Roe 7", bytes(range(16))), 66, 1]
    again = call(*words)
    assert again.exit_code == 1 and again.output.startswith("error: ") and "is there already" in again.output
    done = call(*words, "--keep-ids", "--overwrite")
    assert done.exit_code == 0
    assert read_views(tmp_path / "views.csv").loc[0, "patient_id"] == "Roe 7"
    disk = rsna(tmp_path / "disk", ("1", "1", "L", "CC", "61", "0"))
    (tmp_path / "csv").mkdir()
    (disk / "train.csv").rename(tmp_path / "csv/train.csv")
    assert call("views", "RSNA", tmp_path / "csv", "--images", disk, "--output", tmp_path / "r.csv").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["MIAS", "{}"], 2, "archive: got 'MIAS', must be one of CBIS-DDSM, EMBED, VinDr-Mammo, RSNA, DICOM"),
        (["RSNA", "{}/nowhere"], 2, "nowhere"),
        (["RSNA", "{}", "--labels", "{}/x.csv"], 2, "labels: RSNA does not take it"),
        (["EMBED", "{}", "--keep-ids"], 2, "keep_ids: EMBED does not take it"),
        (["DICOM", "{}", "--images", "{}"], 2, "images: DICOM does not take it"),
        (["RSNA", "{}"], 1, "must hold train.csv"),
    ],
)
def test_views_verb_wrong_arguments(tmp_path, words, code, told):
    put(tmp_path / "x.csv", "image,bac", "a.dcm,1")
    done = call("views", *(word.replace("{}", str(tmp_path)) for word in words), "--output", tmp_path / "views.csv")
    assert done.exit_code == code
    assert told in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "views.csv").exists()


def test_views_verb_help():
    done = call("views", "--help")
    assert done.exit_code == 0
    assert "--without-age" in done.output


def test_no_reader_loads_tensorflow():
    code = "import sys, bac_utils.archives, bac_utils.__main__; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ages_are_never_made_up(tmp_path):
    """No reader fills an age in: without one the cell stays empty."""
    folder = rsna(tmp_path, ("1", "1", "L", "CC", "", "0"), ("2", "2", "L", "CC", "61", "0"))
    ages = read_rsna(folder, without_age=True).views["age"]
    assert np.isnan(ages[0]) and ages[1] == 61
