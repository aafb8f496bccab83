"""The simulator: women, their four views as DICOM files, and the truth beside them.

Sizes are in millimetres, so a seed gives the same breast at every pixel spacing. What is drawn and why stands in
`anatomy` (outlines, arteries), `calcium` (calcifications), `tissue` (attenuation) and `looks` (the picture).
"""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, ExplicitVRLittleEndian
from scipy.optimize import brentq
from tqdm import tqdm

from bac_utils._workers import worker_pool
from bac_utils.settings import PAPER, PUBLISHED
from bac_utils.simulator.acquisition import Look, add_blades, add_border, add_label, draw_look, expose
from bac_utils.simulator.anatomy import (
    Outline,
    Vessel,
    VisibleStretch,
    calcify,
    draw_outline,
    draw_vessel,
    visible_stretches,
)
from bac_utils.simulator.attenuation import draw_tissue
from bac_utils.simulator.calcifications import Finding, draw_findings

COHORT, TRAINING, MEASURED = 0, 1, 3
"""First number of every seed (2 is `insertion`'s, 4 that of `drawings`): no view of a cohort is ever a view of the
pretraining, or of the women who are drawn to be measured alone, whatever the user's seed."""
VIEWS = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
VIEW_CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
AGE_KNOTS = ((45, 0.0), (52, 0.25), (59, 0.50), (61, 0.529), (68, 0.75), (71, 0.814), (74, 0.910), (88, 1.0))
"""Cumulative share of the women by age, years: the paper's quartiles (52, 59, 68) and the class sizes that its BAC+
quartiles and prevalences imply."""


@dataclass(frozen=True)
class Breast:
    """One breast: its size, arteries and benign findings."""

    seed: tuple[int, ...]
    outlines: dict[str, Outline]
    density: float
    vessels: list[Vessel]
    findings: list[Finding]
    luck: dict[str, float]

    def stretches(self, view: str) -> list[VisibleStretch]:
        """List the calcified stretches that a view (`CC` or `MLO`) shows."""
        return visible_stretches(self.vessels, self.outlines[view], self.density, self.luck[view])


@dataclass(frozen=True)
class Woman:
    """A simulated woman; her breasts follow from these numbers alone.

    Attributes:
        patient_id: Made-up identifier.
        age: Years.
        bac: Whether she has calcified breast arteries.
        seed: Of everything about her.
        film_share: Chance that her views are films.
    """

    patient_id: str
    age: int
    bac: bool
    seed: tuple[int, ...]
    film_share: float = 0.0

    @cached_property
    def breasts(self) -> dict[str, Breast]:
        """Her breasts by laterality; a BAC+ woman shows calcium in at least one of her four views."""
        for attempt in range(100):
            breasts = _draw_breasts(np.random.default_rng([*self.seed, attempt]), self, attempt)
            if not self.bac or any(breasts[side].stretches(view) for side, view in VIEWS):
                return breasts
        raise RuntimeError(f"woman {self.patient_id}: no visible artery in 100 draws")

    @cached_property
    def look(self) -> Look:
        """The machine that took her views."""
        return draw_look(np.random.default_rng([*self.seed, 999]), self.film_share)

    def length_mm(self, side: str, view: str) -> float:
        """Length of the calcified artery that a view shows, along its centre line, in mm."""
        return sum(s.length_mm for s in self.breasts[side].stretches(view))


def _draw_breasts(rng: np.random.Generator, woman: Woman, attempt: int) -> dict[str, Breast]:
    """Draw both breasts with one burden for the woman."""
    depth = float(np.clip(rng.lognormal(np.log(88), 0.22), 50, 170))  # assumption
    spread = rng.uniform(0.82, 1.2)
    thickness = float(np.clip(rng.normal(54.6, 12), 25, 95))  # mean: IMS Giotto, Br J Radiol 89:20150831
    # A to D of about 10/40/40/10 % (US, as commonly stated); density falls with age (Sprague et al. 2014), the slope is
    # an assumption
    density = float(np.clip(rng.beta(1.7, 3.0) * 0.9 + 0.05 - 0.004 * (woman.age - 59), 0.04, 0.9))
    # Burden: the one published view of "moderate" BAC measures 41 mm (paper, Fig. 6a); the spread is an assumption.
    # Age moves it a little (Spearman 0.32 of age and severity, Bochkareva et al. 2018).
    log_burden = np.log(45) + 0.02 * (woman.age - 68) + rng.normal(0, 0.85)
    burden = float(np.clip(np.exp(log_burden), 12, 320)) if woman.bac else 0.0
    strength = float(np.clip(0.62 + 0.18 * (np.log(max(burden, 1)) - np.log(45)) + rng.normal(0, 0.12), 0.2, 1))
    winding = rng.uniform(0.8, 2.8) + 0.02 * max(woman.age - 50, 0)
    # sides correlate at about 0.95, yet about 30 % of BAC+ women show one side only: those of small burden
    spared = "RL"[rng.integers(2)] if rng.random() < 0.75 * np.exp(-burden / 40) else ""
    breasts = {}
    for number, side in enumerate("RL"):
        length = burden * rng.lognormal(0, 0.10) + rng.normal(0, 9) if burden and side != spared else 0.0
        own = depth * rng.lognormal(0, 0.04)
        outlines = {view: draw_outline(rng, view, own, spread, thickness) for view in ("CC", "MLO")}
        vessels = [draw_vessel(rng, own, own * spread, winding) for _ in range(rng.integers(4, 9))]
        if length > 12:
            vessels = calcify(rng, vessels, length, strength)
        seed = (*woman.seed, attempt, number)
        luck = {view: float(rng.lognormal(0, 0.15)) for view in ("CC", "MLO")}
        breasts[side] = Breast(seed, outlines, density, vessels, draw_findings(rng), luck)
    return breasts


def draw_women(number: int, seed: int, prevalence: float | None = None) -> list[Woman]:
    """Draw a screening population that follows the paper's ages and prevalences.

    Ages are drawn stratum by stratum and BAC+ women class by class, so that small cohorts follow the figures too.

    Args:
        number: Of women.
        seed: Any integer >= 0.
        prevalence: Share of BAC+ women; the paper's by default. Other shares scale the odds of each age class.

    Returns:
        The women, in random order.

    Raises:
        ValueError: A number out of range.
    """
    if number < 1:
        raise ValueError(f"number: got {number}, must be at least 1")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be >= 0")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise ValueError(f"prevalence: got {prevalence}, must lie in [0, 1]")
    return _draw_women(number, seed, prevalence, COHORT)


def draw_measured(number: int, seed: int) -> list[Woman]:
    """Draw BAC+ women who are in no cohort, to be measured alone, as the paper's 56 women of an earlier study.

    Args:
        number: Of women, 0 or more; their ages are those of a population's BAC+ women.
        seed: Integer >= 0.

    Returns:
        The women; their identifiers start with Q.

    Raises:
        ValueError: A number out of range.
    """
    if number < 0:
        raise ValueError(f"number: got {number}, must be 0 or more")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, must be >= 0")
    share = PUBLISHED["bac_women"] / PUBLISHED["women"]
    population = _draw_women(int(np.ceil(1.2 * number / share)) + 10, seed, None, MEASURED)
    return [woman for woman in population if woman.bac][:number]


def _draw_women(number: int, seed: int, prevalence: float | None, stream: int) -> list[Woman]:
    """Draw a population from one stream of seeds; see `draw_women`."""
    rng = np.random.default_rng([stream, seed])
    knots = np.array(AGE_KNOTS)
    ranks = (np.arange(number) + rng.random(number)) / number
    ages = np.floor(np.interp(ranks, knots[:, 1], knots[:, 0])).astype(int)
    classes = np.searchsorted(PAPER.age_limits, ages)
    shares = np.array(PUBLISHED["prevalence_by_age_class"])
    shares = shares[classes] if prevalence is None else _scale_odds(shares[classes], prevalence)
    # systematic sampling: the number of BAC+ women is the expected one, in every age class
    within = np.lexsort([rng.random(number), classes])
    bac = np.zeros(number, bool)
    edges = np.floor(np.concatenate([[0], np.cumsum(shares[within])]) + rng.random() + 1e-9)
    bac[within] = np.diff(edges) > 0
    order = rng.permutation(number)
    letter = "S" if stream == COHORT else "Q"
    return [
        Woman(f"{letter}{seed}-{i + 1:05d}", int(ages[k]), bool(bac[k]), (stream, seed, i)) for i, k in enumerate(order)
    ]


def _scale_odds(shares: np.ndarray, wanted: float) -> np.ndarray:
    if wanted in (0, 1):
        return np.full(len(shares), float(wanted))
    odds = shares / (1 - shares)

    def gap(log_factor: float) -> float:
        scaled = odds * np.exp(log_factor)
        return float((scaled / (1 + scaled)).mean() - wanted)

    scaled = odds * np.exp(brentq(gap, -30, 30))
    return scaled / (1 + scaled)


def cohort_table(women: list[Woman], pixel_spacing_mm: float) -> pd.DataFrame:
    """List the women's views with their truth; nothing is rendered.

    Args:
        women: From `draw_women`.
        pixel_spacing_mm: Of the images.

    Returns:
        A row a view: patient_id, age, laterality, view, image (path relative to the table), bac, bac_length_mm,
        pixel_spacing_mm.
    """
    rows = []
    for woman in women:
        for side, view in VIEWS:
            length = woman.length_mm(side, view) if woman.bac else 0.0
            name = f"images/{woman.patient_id}_{side}_{view}.dcm"
            rows.append((woman.patient_id, woman.age, side, view, name, int(length > 0), round(length, 2)))
    columns = ["patient_id", "age", "laterality", "view", "image", "bac", "bac_length_mm"]
    return pd.DataFrame(rows, columns=columns).assign(pixel_spacing_mm=pixel_spacing_mm)


def render(woman: Woman, side: str, view: str, pixel_spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Render one view.

    Args:
        woman: Whose.
        side: `L` or `R`; a left breast lies at the left edge, a right one at the right.
        view: `CC` or `MLO`.
        pixel_spacing_mm: Rows and columns alike.

    Returns:
        The image, float32 (rows, columns) in [0, 1], bright = dense; and the mask of the calcified artery, bool.
    """
    breast = woman.breasts[side]
    tissue = draw_tissue(
        list(breast.seed), breast.outlines[view], breast.density, breast.vessels, breast.stretches(view),
        breast.findings, pixel_spacing_mm,
    )  # fmt: skip
    seed = [*breast.seed, 3 if view == "CC" else 4]
    columns = round(breast.outlines[view].width_mm / pixel_spacing_mm)
    image = expose(tissue, woman.look, columns, seed)
    artery = np.pad(tissue.artery, ((0, 0), (0, columns - tissue.artery.shape[1])))
    if side == "R":
        image, artery = image[:, ::-1].copy(), artery[:, ::-1].copy()
    rng = np.random.default_rng([*seed, 5])
    if woman.look.label:
        add_label(image, f"{side}{view}", pixel_spacing_mm, rng, chest_left=side == "L")
    if woman.look.border:
        add_border(image, pixel_spacing_mm, rng)
    if woman.look.collimated:
        add_blades(image, pixel_spacing_mm, rng, woman.look.film)
    return image, artery


def write_views(
    women: list[Woman],
    folder: Path | str,
    pixel_spacing_mm: float,
    workers: int = 2,
    truth: bool = True,
    views: tuple[str, ...] = ("CC", "MLO"),
) -> None:
    """Render the women's views into `folder/images/*.dcm` and their masks into `folder/truth/*.png`.

    Files that are there already are kept, so an interrupted call goes on.

    Args:
        women: Whose views.
        folder: Made if missing.
        pixel_spacing_mm: Between 0.03 and 2.
        workers: Processes.
        truth: Whether to write the masks.
        views: Which.

    Raises:
        ValueError: The spacing is out of range.
    """
    if not 0.03 <= pixel_spacing_mm <= 2:
        raise ValueError(f"pixel_spacing_mm: got {pixel_spacing_mm}, must lie in [0.03, 2]")
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    if truth:
        (folder / "truth").mkdir(exist_ok=True)
    job = partial(_write_woman, folder=folder, spacing=pixel_spacing_mm, truth=truth, views=views)
    with tqdm(total=len(women), desc="simulating", unit="woman") as bar:
        if workers <= 1:
            for woman in women:
                job(woman)
                bar.update()
            return
        with worker_pool(workers) as pool:
            for _ in pool.map(job, women, chunksize=4):
                bar.update()


def _write_woman(woman: Woman, folder: Path, spacing: float, truth: bool, views: tuple[str, ...]) -> None:
    for side, view in VIEWS:
        if view not in views:
            continue
        name = f"{woman.patient_id}_{side}_{view}"
        path, mask_path = folder / "images" / f"{name}.dcm", folder / "truth" / f"{name}.png"
        if path.exists() and (mask_path.exists() or not truth):
            continue
        image, artery = render(woman, side, view, spacing)
        if truth:
            cv2.imwrite(str(mask_path), artery.astype(np.uint8) * 255)
        part = path.with_suffix(".part")
        _dicom(woman, side, view, image, spacing).save_as(part, enforce_file_format=True)
        part.replace(path)


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
        folder: Gets views.csv, images/ and truth/.
        number: Of women.
        seed: Integer >= 0.
        pixel_spacing_mm: Of the images.
        prevalence: Share of BAC+ women; the paper's by default.
        workers: Processes.

    Returns:
        The path of views.csv, written last.
    """
    women = draw_women(number, seed, prevalence)
    write_views(women, folder, pixel_spacing_mm, workers)
    path = Path(folder) / "views.csv"
    cohort_table(women, pixel_spacing_mm).to_csv(path, index=False)
    return path


def _dicom(woman: Woman, side: str, view: str, image: np.ndarray, spacing: float) -> Dataset:
    """Wrap a view as a Digital Mammography X-Ray Image for presentation, 12 bits stored."""
    digits = "".join(f"{n:06d}" for n in (*woman.seed, VIEWS.index((side, view))))
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
    ds.SeriesNumber, ds.InstanceNumber = 1, VIEWS.index((side, view)) + 1
    ds.ImageLaterality, ds.ViewPosition, ds.BodyPartExamined = side, view, "BREAST"
    # rows run towards the nipple's side of the picture, columns down the body (CC: lateral to medial)
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
