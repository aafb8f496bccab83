"""A simulated cohort as files: DICOM images, masks of the calcified arteries, and the views table."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian
from tqdm import tqdm

from bac_utils._files import has_content, is_unfinished, read_json, refuse_links, write_json, written_whole
from bac_utils._workers import worker_pool
from bac_utils.simulator.population import FOUR_VIEWS, Woman, draw_women
from bac_utils.simulator.render import render
from bac_utils.views_table import SIMULATION_NOTE

VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
"""SNOMED CT code and meaning of each view."""


def claim_folder(folder: Path, asked: dict) -> None:
    """Record in a folder what is simulated into it; reject a folder with links or any other content.

    Args:
        folder: The folder.
        asked: Arguments of the simulation.

    Raises:
        FileExistsError: The folder contains another simulation, or something else.
        ValueError: It contains links.
    """
    refuse_links(folder, "OUT")
    note = folder / SIMULATION_NOTE
    if has_content(note) and read_json(note) != asked:
        raise FileExistsError(f"{folder} contains another simulation: choose another folder")
    if not has_content(note) and folder.is_dir() and not all(map(is_unfinished, folder.iterdir())):
        raise FileExistsError(f"{folder} contains something other than a simulation: choose another folder")
    write_json(note, asked)


def cohort_table(women: list[Woman], pixel_spacing_mm: float) -> pd.DataFrame:
    """Tabulate the women's views with their ground truth, without rendering them.

    Args:
        women: Women from `draw_women`.
        pixel_spacing_mm: Pixel spacing of the images in mm.

    Returns:
        One row per view: patient_id, age, laterality, view, image (path relative to the table), bac, bac_length_mm,
        pixel_spacing_mm.
    """
    rows = []
    for woman in women:
        for side, view in FOUR_VIEWS:
            length = woman.length_mm(side, view) if woman.bac else 0.0
            name = f"images/{woman.patient_id}_{side}_{view}.dcm"
            rows.append((woman.patient_id, woman.age, side, view, name, int(length > 0), round(length, 2)))
    columns = ["patient_id", "age", "laterality", "view", "image", "bac", "bac_length_mm"]
    return pd.DataFrame(rows, columns=columns).assign(pixel_spacing_mm=pixel_spacing_mm)


def write_views(
    women: list[Woman],
    folder: Path | str,
    pixel_spacing_mm: float,
    workers: int = 2,
    truth: bool = True,
    views: tuple[str, ...] = ("CC", "MLO"),
    images: bool = True,
) -> None:
    """Render the women's views into `folder/images/*.dcm` and their ground-truth masks into `folder/truth/*.png`.

    Existing files are kept, so an interrupted call can be resumed.

    Args:
        women: The women.
        folder: Output folder, created if missing.
        pixel_spacing_mm: Pixel spacing in mm, from 0.03 to 2.
        workers: Number of processes.
        truth: Whether to write the ground-truth masks.
        views: Views to render.
        images: Whether to write the images; without them, the masks of a cohort are made anew from its seeds.

    Raises:
        ValueError: If the spacing is out of range.
    """
    if not 0.03 <= pixel_spacing_mm <= 2:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm}, must lie in [0.03, 2]")
    folder = Path(folder)
    if images:
        (folder / "images").mkdir(parents=True, exist_ok=True)
    if truth:
        (folder / "truth").mkdir(parents=True, exist_ok=True)
    job = partial(_write_woman, folder=folder, spacing=pixel_spacing_mm, truth=truth, views=views, images=images)
    with tqdm(total=len(women), desc="simulating", unit="woman") as bar:
        if workers <= 1:
            for woman in women:
                job(woman)
                bar.update()
            return
        with worker_pool(workers) as pool:
            for _ in pool.map(job, women, chunksize=4):
                bar.update()


def _write_woman(woman: Woman, folder: Path, spacing: float, truth: bool, views: tuple[str, ...], images: bool) -> None:
    for side, view in FOUR_VIEWS:
        if view not in views:
            continue
        name = f"{woman.patient_id}_{side}_{view}"
        path, mask_path = folder / "images" / f"{name}.dcm", folder / "truth" / f"{name}.png"
        if (has_content(path) or not images) and (has_content(mask_path) or not truth):
            continue
        image, artery = render(woman, side, view, spacing)
        if truth:
            with written_whole(mask_path) as part:  # cv2.imwrite does not say why it fails
                part.write_bytes(cv2.imencode(".png", artery.astype(np.uint8) * 255)[1].tobytes())
        if not images:
            continue
        with written_whole(path) as part:
            dicom_view(woman, side, view, image, spacing).save_as(part, enforce_file_format=True)


def simulate_cohort(
    folder: Path | str,
    number: int,
    seed: int,
    pixel_spacing_mm: float,
    prevalence: float | None = None,
    workers: int = 2,
) -> Path:
    """Draw women, render all their views and write the views table.

    Args:
        folder: Output folder for views.csv, images/ and truth/.
        number: Number of women, at least 1.
        seed: Any integer >= 0.
        pixel_spacing_mm: Pixel spacing of the images in mm, from 0.03 to 2.
        prevalence: Fraction of BAC+ women; by default that of the paper.
        workers: Number of processes.

    Returns:
        The path of views.csv, which is written last.

    Raises:
        ValueError: If an argument is out of range.
    """
    women = draw_women(number, seed, prevalence)
    write_views(women, folder, pixel_spacing_mm, workers)
    path = Path(folder) / "views.csv"
    with written_whole(path) as part:
        cohort_table(women, pixel_spacing_mm).to_csv(part, index=False)
    return path


def dicom_view(woman: Woman, side: str, view: str, image: np.ndarray, spacing: float) -> Dataset:
    """Return a view as a Digital Mammography X-Ray Image - For Presentation, 12 bits stored."""
    digits = "".join(f"{n:06d}" for n in (*woman.seed, FOUR_VIEWS.index((side, view))))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = f"2.25.1{digits}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.2{digits[:-6]}", f"2.25.3{digits}"
    ds.Modality, ds.PresentationIntentType = "MG", "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.Manufacturer, ds.ManufacturerModelName = "bac-utils", "simulator"
    ds.PatientID, ds.PatientName, ds.PatientSex = woman.patient_id, "Simulated^Woman", "F"
    ds.PatientAge, ds.PatientBirthDate = f"{woman.age:03d}Y", ""
    ds.StudyDate = ds.StudyTime = ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""
    ds.SeriesNumber, ds.InstanceNumber = 1, FOUR_VIEWS.index((side, view)) + 1
    ds.ImageLaterality, ds.ViewPosition, ds.BodyPartExamined = side, view, "BREAST"
    # rows point from the chest wall to the nipple if L, to the chest wall if R; columns point down (CC: to medial)
    ds.PatientOrientation = ["A" if side == "L" else "P", {"CC": "R" if side == "L" else "L", "MLO": "F"}[view]]
    item = Dataset()
    item.CodeValue, item.CodeMeaning = VIEW_CODES[view]
    item.CodingSchemeDesignator = "SCT"
    item.ViewModifierCodeSequence = []
    ds.ViewCodeSequence = [item]
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "76752008", "SCT", "Breast"
    ds.AnatomicRegionSequence, ds.AcquisitionContextSequence = [region], []
    ds.OrganExposed, ds.PositionerType, ds.DetectorType = "BREAST", "MAMMOGRAPHIC", ""
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1  # bright = less intensity
    ds.LossyImageCompression = "00"
    ds.BreastImplantPresent, ds.PartialView, ds.BurnedInAnnotation = "NO", "NO", "NO"
    ds.BodyPartThickness = str(round(woman.breasts[side].outlines[view].thickness_mm, 1))
    ds.ImagerPixelSpacing, ds.EstimatedRadiographicMagnificationFactor = [spacing, spacing], "1.0"
    ds.PhotometricInterpretation, ds.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.Rows, ds.Columns = image.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "2048", "4096", "LINEAR"
    ds.PixelData = np.round(image * 4095).astype("<u2").tobytes()
    return ds
