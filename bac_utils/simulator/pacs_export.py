"""An export of simulated exams as a hospital's archive (PACS) writes it, for the tutorial and its tests.

Folders and files are named by hashes, headers differ in encoding, compression and completeness, and not every file is a
mammogram.
"""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalMammographyXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)
from tqdm import tqdm

from bac_utils._files import written_whole
from bac_utils._workers import worker_pool
from bac_utils.simulator.cohort_files import dicom_view
from bac_utils.simulator.exams import Exam, draw_exams
from bac_utils.simulator.findings_table import write_findings
from bac_utils.simulator.population import FOUR_VIEWS, draw_women
from bac_utils.simulator.render import render

CONTENTS = MappingProxyType(
    {
        "view": "a CC or MLO view",
        "implant": "a view of a breast with an implant",
        "truncated": "a view whose file ends too early",
        "duplicate": "a second copy of a file",
        "raw twin": "the For Processing image of a view",
        "derived copy": "an image computed from a view",
        "spot view": "a spot compression view",
        "text card": "a secondary capture with text",
        "CT image": "an image of another modality",
        "dose report": "a structured report",
        "directory": "a DICOMDIR",
        "picture": "a logo (PNG)",
        "other file": "a file that is not an image",
    }
)
"""Content of a file: key and meaning."""
SYNTAXES = (
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless, DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
)  # fmt: skip
_DESCRIBED = {"R": "rechts", "L": "links", "CC": "kraniokaudal", "MLO": "schräg"}
_GROUND_TRUTH = (
    "file", "content", "patient_id", "age", "study_date", "accession", "laterality", "view", "bac", "bac_length_mm",
    "reported",
)  # fmt: skip


def simulate_export(
    folder: Path | str,
    number: int,
    seed: int,
    pixel_spacing_mm: float,
    prevalence: float | None = None,
    workers: int = 2,
) -> pd.DataFrame:
    """Write an export of a simulated archive, the reader's table of findings, and the ground truth.

    Args:
        folder: Output folder, for export/, befunde.csv and ground_truth.csv.
        number: Number of women.
        seed: Any integer >= 0; the same seed gives the same files.
        pixel_spacing_mm: Pixel spacing of the images in mm, from 0.03 to 2.
        prevalence: Fraction of BAC+ women; by default that of the paper.
        workers: Number of processes.

    Returns:
        The ground truth, one row per file of export/: file (path relative to it), content (`CONTENTS`), and of files of
        exams patient_id, age, study_date (YYYY-MM-DD), accession, laterality, view, bac, bac_length_mm and reported
        (`exams.Exam`).

    Raises:
        ValueError: An argument is out of range, or there are too few women with or without BAC (`exams.LEAST`).
    """
    if not 0.03 <= pixel_spacing_mm <= 2:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm}, must lie in [0.03, 2]")
    exams = draw_exams(draw_women(number, seed, prevalence), seed)
    folder = Path(folder)
    export = folder / "export"
    export.mkdir(parents=True, exist_ok=True)
    job = partial(_write_exam, export=export, spacing=pixel_spacing_mm)
    with worker_pool(workers) as pool:
        rows = [row for rows in tqdm(pool.map(job, exams), "simulating", len(exams), unit="exam") for row in rows]
    rows += _write_other_files(export, exams)
    write_findings(exams, folder / "befunde.csv")
    truth = pd.DataFrame(rows, columns=list(_GROUND_TRUTH)).convert_dtypes()
    truth = truth.sort_values("file", ignore_index=True)
    with written_whole(folder / "ground_truth.csv") as part:
        truth.to_csv(part, index=False, lineterminator="\n")
    return truth


@disable_value_validation()  # ages without a unit
def _write_exam(exam: Exam, export: Path, spacing: float) -> list[dict]:
    """Write the files of one exam, and return their ground truth."""
    rows = []
    for side, view in exam.views:
        image, _ = render(exam.woman, side, view, spacing)
        ds = dicom_view(exam.woman, side, view, image, spacing)
        _describe(ds, exam, side, view)
        content = "view"
        if "implant" in exam.extras:
            ds.BreastImplantPresent, content = "YES", "implant"
        elif "truncated" in exam.extras and (side, view) == FOUR_VIEWS[1]:
            content = "truncated"
        made = {content: ds}
        if (side, view) == FOUR_VIEWS[0]:
            made |= {extra: _EXTRAS[extra](ds) for extra in sorted(exam.extras & _EXTRAS.keys())}
        rows += [_write(export, exam, side, view, what, data) for what, data in made.items()]
    return rows


def _describe(ds: Dataset, exam: Exam, side: str, view: str) -> None:
    """Fill in what identifies an exam, in the form of the woman's headers."""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientID, ds.AccessionNumber, ds.StudyDate = exam.patient_id, exam.accession, f"{exam.day:%Y%m%d}"
    utf8, declared = exam.number % 2 == 1, exam.number % 4 < 2
    charset = ("ISO_IR 192" if utf8 else "ISO_IR 100") if declared else None
    if charset:
        ds.SpecificCharacterSet = charset
    ds.PatientName = _stored(f"Künstlich^{exam.number}", utf8, declared)
    ds.SeriesDescription = _stored(f"Mamma {_DESCRIBED[side]} {_DESCRIBED[view]}", utf8, declared)
    if exam.number % 5 == 0:  # side and view are in the description alone
        for keyword in ("ImageLaterality", "ViewPosition", "ViewCodeSequence", "PatientOrientation"):
            delattr(ds, keyword)
    ds.PatientBirthDate = f"{exam.birth_date:%Y%m%d}"
    form = exam.number % 3
    if "no age" in exam.extras:
        ds.PatientAge, ds.PatientBirthDate = "", ""
    elif form == 1:
        ds.PatientAge, ds.PatientBirthDate = f"{exam.woman.age:03d}", ""
    elif form == 2:
        del ds.PatientAge


def _stored(text: str, utf8: bool, declared: bool) -> str:
    """Return a text that pydicom stores in UTF-8 or Latin-1; without a declared character set it stores Latin-1."""
    return text.encode().decode("latin-1") if utf8 and not declared else text


def _duplicate(ds: Dataset) -> Dataset:
    return deepcopy(ds)


def _raw_twin(ds: Dataset) -> Dataset:
    raw = _copy(ds, "1")
    raw.SOPClassUID = raw.file_meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForProcessing
    raw.PresentationIntentType = "FOR PROCESSING"
    del raw.WindowCenter, raw.WindowWidth, raw.VOILUTFunction
    raw.PixelData = (4095 - ds.pixel_array).astype("<u2").tobytes()
    raw.PixelIntensityRelationshipSign = 1
    raw.PhotometricInterpretation, raw.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    return raw


def _derived_copy(ds: Dataset) -> Dataset:
    derived, source = _copy(ds, "2"), Dataset()
    derived.ImageType, derived.DerivationDescription = ["DERIVED", "PRIMARY"], "Kontrast angehoben"
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    derived.SourceImageSequence = [source]
    return derived


def _spot_view(ds: Dataset) -> Dataset:
    spot, item, modifier = _copy(ds, "3"), Dataset(), Dataset()
    modifier.CodeValue, modifier.CodingSchemeDesignator = "399055006", "SCT"
    modifier.CodeMeaning = "Spot Compression"
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "399162004", "SCT", "cranio-caudal"
    item.ViewModifierCodeSequence = [modifier]
    spot.ViewCodeSequence = [item]
    return spot


def _text_card(ds: Dataset) -> Dataset:
    card, page = _copy(ds, "4"), np.zeros((120, 200), np.uint8)
    card.SOPClassUID = card.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    card.ImageType, card.ConversionType, card.SeriesDescription = ["DERIVED", "SECONDARY"], "WSD", "Befundtext"
    cv2.putText(page, "BEFUND", (10, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    card.PixelData, (card.Rows, card.Columns) = page.astype("<u2").tobytes(), page.shape
    return card


def _ct_image(ds: Dataset) -> Dataset:
    other = _copy(ds, "5")
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = CTImageStorage
    other.Modality, other.BodyPartExamined, other.SeriesDescription = "CT", "CHEST", "Thorax nativ"
    return other


def _dose_report(ds: Dataset) -> Dataset:
    report = _copy(ds, "6")
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = XRayRadiationDoseSRStorage
    report.Modality = "SR"
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(report, keyword)
    return report


_EXTRAS = {
    "duplicate": _duplicate,
    "raw twin": _raw_twin,
    "derived copy": _derived_copy,
    "spot view": _spot_view,
    "text card": _text_card,
    "CT image": _ct_image,
    "dose report": _dose_report,
}


def _copy(ds: Dataset, suffix: str) -> Dataset:
    """Return a copy with its own instance UID."""
    copy = deepcopy(ds)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}{suffix}"
    return copy


def _write(export: Path, exam: Exam, side: str, view: str, content: str, ds: Dataset) -> dict:
    """Write one file of an exam, and return its ground truth."""
    folder = f"{_hash(ds.StudyInstanceUID, 16)}/{_hash(ds.SeriesInstanceUID + content, 8)}"
    name = f"{folder}/{_hash(ds.SOPInstanceUID, 12)}{'.dcm' if exam.number % 3 == 0 else ''}"
    path = export / name
    path.parent.mkdir(parents=True, exist_ok=True)
    syntax = SYNTAXES[exam.number % len(SYNTAXES)]
    if "PixelData" in ds and syntax.is_compressed and not syntax.is_deflated:
        ds.compress(syntax, generate_instance_uid=False)
    else:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    with written_whole(path) as part:
        ds.save_as(part, enforce_file_format=True)
        if content == "truncated":
            part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    length = exam.length_mm(side, view)
    found = (
        name, content, exam.patient_id, exam.woman.age, f"{exam.day}", exam.accession, side, view,
        int(length > 0), length, exam.reported,
    )  # fmt: skip
    return dict(zip(_GROUND_TRUTH, found, strict=True))


def _write_other_files(export: Path, exams: Sequence[Exam]) -> list[dict]:
    """Write what an export contains beside the exams, and return the ground truth of these files."""
    records = []
    for exam in exams:
        record = Dataset()
        record.DirectoryRecordType, record.PatientID = "PATIENT", exam.patient_id
        records.append(record)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MediaStorageDirectoryStorage, "2.25.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    directory.FileSetID, directory.DirectoryRecordSequence = "EXPORT", records
    directory.save_as(export / "DICOMDIR", enforce_file_format=True)
    (export / "VIEWER").mkdir(exist_ok=True)
    cv2.imwrite(str(export / "VIEWER/logo.png"), np.full((32, 32), 200, np.uint8))
    others = {
        "AUTORUN.INF": b"[autorun]\r\nopen=VIEWER\\START.EXE\r\n",
        "VIEWER/START.EXE": b"MZ" + bytes(62),
        "Befundbericht.pdf": b"%PDF-1.4\n%%EOF\n",
        "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
        "LEER": b"",
    }
    for name, content in others.items():
        (export / name).write_bytes(content)
    found = [("DICOMDIR", "directory"), ("VIEWER/logo.png", "picture"), *((name, "other file") for name in others)]
    return [{"file": name, "content": content} for name, content in found]


def _hash(text: str, digits: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=digits // 2).hexdigest().upper()
