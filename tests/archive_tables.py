"""Small synthetic archives with the column names of the real datasets, and helpers to compare the resulting views."""

import pandas as pd
from mammogram_files import write as write_dicom


def put(path, *lines):
    """Write a table, one line of text per row, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    return path


def touch(folder, *names):
    """Create empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def rows(archive, columns="patient_id age laterality view image bac"):
    """Return the views as tuples, with None for unknown values."""
    table = archive.views[columns.split()].astype(object)
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in table.itertuples(index=False)]


def excluded(archive):
    """Return (women, views) by reason, without reasons that exclude no view."""
    return {row.reason: (row.women, row.views) for row in archive.exclusions.itertuples() if row.views}


CBIS = (
    "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
UID = "1.3.6.1.4.1.9590.100.1.2.1"
NBIA_FILE = "08-07-2016-DDSM-NA-1/1.000000-full mammogram images-2/1-1.dcm"


def lesion(woman, side, view, number, kind, set_="Training", path=None):
    """Return a row of a CBIS-DDSM calcification table."""
    case = f"Calc-{set_}_{woman}_{side}_{view}"
    path = path or f"{case}/{UID}/{UID}.2/000000.dcm"
    crops = f'"{case}_{number}/{UID}/{UID}.3/000001.dcm\n","{case}_{number}/{UID}/{UID}.3/000000.dcm\n"'
    return f"{woman},3,{side},{view},{number},calcification,{kind},CLUSTERED,3,MALIGNANT,3,{path},{crops}"


def cbis(folder, *lines, test=()):
    """Write the calcification tables of CBIS-DDSM, and return their folder."""
    put(folder / "calc_case_description_train_set.csv", CBIS, *lines)
    if test:
        put(folder / "calc_case_description_test_set.csv", CBIS, *test)
    return folder


def cbis_example(folder):
    """Write tables and images of CBIS-DDSM in both layouts, and return their folder."""
    cbis(
        folder,
        lesion("P_00005", "RIGHT", "CC", 1, "AMORPHOUS"),
        lesion("P_00005", "RIGHT", "CC", 2, "VASCULAR-COARSE-LUCENT_CENTERED-ROUND_AND_REGULAR-PUNCTATE"),
        lesion("P_00005", "RIGHT", "MLO", 1, "PLEOMORPHIC"),
        lesion("P_00007", "LEFT", "CC", 1, "LUCENT_CENTERED"),
        test=[lesion("P_00038", "LEFT", "MLO", 1, "VASCULAR", "Test"), lesion("P_00041", "LEFT", "CC", 1, "", "Test")],
    )
    touch(
        folder,
        f"Calc-Training_P_00005_RIGHT_CC/{UID}/{UID}.2/000000.dcm",  # the layout of the tables
        f"Calc-Training_P_00005_RIGHT_CC_1/{UID}/{UID}.3/000000.dcm",
        f"CBIS-DDSM/Calc-Training_P_00005_RIGHT_MLO/{NBIA_FILE}",  # the layout of the NBIA Data Retriever
        f"CBIS-DDSM/Calc-Test_P_00038_LEFT_MLO/{NBIA_FILE}",
        "CBIS-DDSM/Calc-Training_P_00007_LEFT_CC/a/1-1.dcm",
        "CBIS-DDSM/Calc-Training_P_00007_LEFT_CC/b/1-1.dcm",  # two files: ambiguous
    )
    return folder


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
    """Return a row of EMBED's clinical table."""
    return f'0,{woman},{exam},2015-03-01,MG Screening,2.0,N,{number},{side},"{code}",,{age}'


def image(woman, exam, side, view, kind="2D", special="", series="", date="2015-03-01", path=None, name="a"):
    """Return a row of EMBED's metadata table."""
    path = path or f"{SERVER}/{woman}/{exam}/{side}{view}{name}.dcm"
    return f'0,{woman},{exam},{date},{kind},{side},{view},{special},{series},0,"((1, 2), (3, 4))",,[],{path}'


def four(woman, exam, **changes):
    """Return the rows of the four standard views of an EMBED exam."""
    return [image(woman, exam, side, view, **changes) for side in "LR" for view in ("CC", "MLO")]


def embed(folder, findings, images, code="V", with_files=True):
    """Write the tables of EMBED, with or without image files, and return their folder.

    Args:
        folder: The folder.
        findings: Rows of `finding`.
        images: Rows of `image`.
        code: The code that means vascular.
        with_files: Create the image files.
    """
    put(folder / "tables/AWS_Open_Data_Clinical_Legend.csv", *(line.replace("{}", code) for line in LEGEND))
    put(folder / "tables/EMBED_OpenData_clinical.csv", CLINICAL, *findings)
    put(folder / "tables/EMBED_OpenData_metadata.csv", METADATA, *images)
    for line in images if with_files else ():
        touch(folder / "images", line.rsplit(",", 1)[1].split("anon_dicom/")[-1].removeprefix("images/"))
    return folder


VINDR = "study_id,series_id,image_id,laterality,view_position,height,width,breast_birads,breast_density,split"
VINDR_METADATA = "SOP Instance UID,Series Instance UID,Patient's Age,View Position,Manufacturer's Model Name"


def vindr(folder, *views, ages=()):
    """Write the tables of VinDr-Mammo and the images of all views except the last, and return their folder."""
    end = "3518,2800,BI-RADS 2,DENSITY C,training"
    lines = [f"{study},s,{name},{side},{view},{end}" for study, name, side, view in views]
    put(folder / "breast-level_annotations.csv", VINDR, *lines)
    if ages:
        put(folder / "metadata.csv", VINDR_METADATA, *(f"{name},s,{age},CC,Planmed Nuance" for name, age in ages))
    touch(folder, *(f"images/{study}/{name}.dicom" for study, name, *_ in views[:-1]))
    return folder


RSNA = (
    "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,machine_id,"
    "difficult_negative_case"
)


def rsna(folder, *views):
    """Write the table of RSNA and all images except those named 99, and return their folder."""
    lines = [
        f"2,{woman},{name},{side},{view},{age},1,0,0,,{implant},,29,False"
        for woman, name, side, view, age, implant in views
    ]
    put(folder / "train.csv", RSNA, *lines)
    touch(folder, *(f"train_images/{woman}/{name}.dcm" for woman, name, *_ in views if name != "99"))
    return folder


INBREAST = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"


def inbreast(folder, *views, lines=None):
    """Write the table of INbreast and files named as there; views are (number, woman, side, view, date)."""
    rows = [f"removed;removed;{side};{view};{date};{number};4;1" for number, _, side, view, date in views]
    put(folder / "INbreast.csv", INBREAST, *(rows if lines is None else lines))
    for number, woman, side, view, _ in views:
        touch(folder, f"AllDICOMs/{number}_{woman}_MG_{side}_{view.replace('MLO', 'ML')}_ANON.dcm")
    return folder


def dicom_example(folder):
    """Write a folder of DICOM files, suitable and unsuitable, and return it."""
    kinds = {
        "b/1.dcm": {"PatientID": "Doe^Jane", "ViewPosition": "CC"},
        "b/2": {"PatientID": "Doe^Jane", "ViewPosition": "MLO"},
        "a.dcm": {"PatientID": "Roe 7", "ImageLaterality": "R", "PatientAge": None},
        "c.dcm": {"PatientID": "Doe^Jane", "ViewPosition": "CC", "PatientAge": "060Y"},  # a later exam
        "d.dcm": {"BreastImplantPresent": "YES"},
        "e.dcm": {"ImageLaterality": None},
        "f.dcm": {"PatientID": ""},
        "g.dcm": {"Modality": "CT"},
        "h.dcm": {"ViewPosition": None},
    }
    for number, (name, changes) in enumerate(kinds.items(), 1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_dicom(folder / name, **{"SOPInstanceUID": f"2.25.{number}"} | changes)
    (folder / "copy.dcm").write_bytes((folder / "b/1.dcm").read_bytes())
    (folder / "notes.txt").write_text("Jane Doe")
    return folder
