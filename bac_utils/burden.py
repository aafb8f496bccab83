"""Published measures of BAC burden, each as its authors define it, and which of them can be computed.

Sources (the functions state what is known of each):

- Guo et al., SCU-Net, Medical Physics 48:5851 (2021), by its official code, github Emory-HITI/BAC_segmentation at
  fc95e39: `guo_metrics`.
- Canadian Society of Breast Imaging (CSBI), position statement on BAC reporting on mammography: `csbi_grade`.
- Dapamede et al., European Heart Journal (2026), doi 10.1093/eurheartj/ehag128: `severity_class`.
- Margolies' 12-point score (ARRS 2015, as reported by interhospi.com, "New score predicts coronary calcification from
  mammography") and Trimboli et al., BAC-SS (Quantitative Imaging in Medicine and Surgery, 2021): the rules for their
  points were not found. A reader enters them (`ReaderScore`); they are not computed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import cv2
import numpy as np
import pandas as pd

from bac_utils.arteries.masks import check_mask, check_spacing

GUO_THRESHOLD = 0.65
"""Outputs above this are BAC (SCU-Net's code)."""
GUO_INTENSITY = 100
"""Grey level X of the two thresholded metrics, from 0 to 255 (SCU-Net's code, `sum_intensity_100`)."""
SEVERITY_LIMITS_MM2 = (0.0, 10.0, 25.0)
"""Upper limits, inclusive, of all classes except the last."""
SEVERITIES = ("zero", "mild", "moderate", "severe")
READER_SCALES = MappingProxyType({"csbi": 3, "twelve_point": 12, "bac_ss": None})
"""Scores that a reader may enter, with the maximum number of points (None: not found); the minimum is 0."""
LEVELS = MappingProxyType({"breast": ("patient_id", "exam", "laterality"), "woman": ("patient_id", "exam")})
"""What a row of `aggregate_views` stands for; two exams of a woman are never added up."""


def mask_area(mask: np.ndarray, spacing_mm: tuple[float, float]) -> float:
    """Measure the area of a mask: the paper's BAC_area = P * sum(G > Th), for the mask G > Th.

    The paper calls P the pixel size. It must be the area of a pixel: after resizing to 1536 x 768, the row and column
    spacings differ, and both vary between views.

    Args:
        mask: bool (H, W).
        spacing_mm: (row, column) of the mask's grid.

    Returns:
        Number of pixels times row spacing times column spacing, mm2.

    Raises:
        ValueError: `mask` is not two-dimensional, or the spacing is not two positive numbers.
    """
    row, column = check_spacing(spacing_mm)
    return float(check_mask(mask).sum() * row * column)


def guo_metrics(probability: np.ndarray, image: np.ndarray, spacing_mm: tuple[float, float]) -> dict[str, float]:
    """Compute the five metrics of Guo et al. and the area of the breast, in mm2.

    Let p be the probability, I the image after a 5 x 5 median filter, and m = p > `GUO_THRESHOLD`. Their code sums over
    pixels: PM = sum of p over the whole image; AM = sum of m; SIM = sum of I m; TSIM = sum of I, and TAM = number of
    pixels, over m where I >= `GUO_INTENSITY`; breast area = number of pixels with I > 0. Here, each is multiplied by
    the area of a pixel, so that different machines can be compared. The two sums of I still depend on the grey scale of
    the machine.

    Args:
        probability: (H, W), 0 or more; the output of their network (it has no sigmoid and may exceed 1) or a heatmap.
        image: uint8 (H, W), the view in display polarity, 0 outside the breast.
        spacing_mm: (row, column).

    Returns:
        `probability_sum_mm2` (PM), `mask_area_mm2` (AM), `intensity_sum_mm2` (SIM), `bright_intensity_sum_mm2` (TSIM),
        `bright_mask_area_mm2` (TAM), `breast_area_mm2`. The intensity sums are grey levels (0 to 255) times mm2.

    Raises:
        TypeError: `image` is not uint8.
        ValueError: The shapes differ, a probability is negative or not finite, or the spacing is not positive.
    """
    row, column = check_spacing(spacing_mm)
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"image: got dtype {image.dtype}, must be uint8")
    probability = np.asarray(probability, np.float64)
    if probability.ndim != 2 or probability.shape != image.shape:
        raise ValueError(f"probability: got shape {probability.shape}, must be (H, W) like the image, {image.shape}")
    if not (np.isfinite(probability) & (probability >= 0)).all():
        raise ValueError(f"probability: got {probability.min()} to {probability.max()}, must be finite and 0 or more")
    smooth = cv2.medianBlur(np.ascontiguousarray(image), 5).astype(np.float64)
    mask = probability > GUO_THRESHOLD
    bright = mask & (smooth >= GUO_INTENSITY)
    pixel = row * column
    return {
        "probability_sum_mm2": float(probability.sum() * pixel),
        "mask_area_mm2": float(mask.sum() * pixel),
        "intensity_sum_mm2": float(smooth[mask].sum() * pixel),
        "bright_intensity_sum_mm2": float(smooth[bright].sum() * pixel),
        "bright_mask_area_mm2": float(bright.sum() * pixel),
        "breast_area_mm2": float((smooth > 0).sum() * pixel),
    }


def csbi_grade(punctate: bool, coarse_vessels: int) -> int:
    """Grade a woman's BAC by the Canadian Society of Breast Imaging, from a reader's findings.

    0: none. 1: few punctate vascular calcifications, without coarse, tram-track or ring calcifications. 2: coarse or
    tram-track calcifications in fewer than 3 vessels. 3: severe coarse or tram-track calcifications in 3 or more
    vessels. (Grade 3 should be reported; reporting lower grades may be considered in women under 55.) The statement
    defines no size that separates punctate from coarse, so masks are not graded.

    Args:
        punctate: Whether there are punctate vascular calcifications.
        coarse_vessels: Number of vessels with coarse, tram-track or ring calcifications. (Rings rule out grade 1;
            counting them as coarse is this kit's interpretation.)

    Returns:
        0, 1, 2 or 3.

    Raises:
        ValueError: The number is not a whole number, 0 or more.
    """
    vessels = _whole("coarse_vessels", coarse_vessels)
    if vessels >= 3:
        return 3
    return 2 if vessels else int(bool(punctate))


def relative_length(length_mm: float, breast_area_mm2: float) -> float:
    """Divide the calcified length by the area of the breast.

    This follows cmAngio, which reports the length of calcified arteries relative to breast size (as quoted in the press
    in 2026, dotmed.com 65814). Its formula and its age-adjusted percentiles were not found. Division by the area of the
    breast on the same view is this kit's choice, so the results cannot be compared with those of cmAngio.

    Args:
        length_mm: 0 or more.
        breast_area_mm2: Area of the breast on the view, above 0.

    Returns:
        mm of artery per cm2 of breast.

    Raises:
        ValueError: A number is out of range.
    """
    if not 0 <= length_mm < np.inf:
        raise ValueError(f"length_mm: got {length_mm!r}, must be a number, 0 or more")
    if not 0 < breast_area_mm2 < np.inf:
        raise ValueError(f"breast_area_mm2: got {breast_area_mm2!r}, must be a positive number")
    return float(100 * length_mm / breast_area_mm2)


def severity_class(area_mm2: float) -> str:
    """Classify a BAC area by Dapamede et al.: 0 mm2, up to 10, up to 25, above 25.

    It was not found whether their area is the sum, the mean or the maximum of the four views; reports should state
    which one was classified.

    Args:
        area_mm2: 0 or more.

    Returns:
        `zero`, `mild`, `moderate` or `severe`.

    Raises:
        ValueError: The area is negative or not finite.
    """
    if not 0 <= area_mm2 < np.inf:
        raise ValueError(f"area_mm2: got {area_mm2!r}, must be a number, 0 or more")
    return SEVERITIES[bisect_left(SEVERITY_LIMITS_MM2, area_mm2)]


@dataclass(frozen=True)
class ReaderScore:
    """A visual score as entered by a reader; its points are checked against the range of the scale, but not computed.

    Attributes:
        patient_id: The woman.
        scale: `csbi`, `twelve_point` or `bac_ss`.
        points: A whole number: 0 to 3, 0 to 12, or for BAC-SS, whose range was not found, 0 or more.
        reader: Name of the reader.
        laterality: `L`, `R`, or empty if the score is for both breasts.
        read_on: Date of the reading, YYYY-MM-DD, or empty.

    Raises:
        ValueError: A field breaks its rule.
    """

    patient_id: str
    scale: str
    points: int
    reader: str
    laterality: str = ""
    read_on: str = ""

    def __post_init__(self) -> None:
        """Check all fields."""
        for name in ("patient_id", "reader"):
            if not (isinstance(getattr(self, name), str) and getattr(self, name).strip()):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, must be text")
        if self.scale not in READER_SCALES:
            raise ValueError(f"scale: got {self.scale!r}, must be one of {', '.join(READER_SCALES)}")
        object.__setattr__(self, "points", _whole("points", self.points, READER_SCALES[self.scale]))
        if self.laterality not in ("L", "R", ""):
            raise ValueError(f"laterality: got {self.laterality!r}, must be L, R or empty")
        if self.read_on:
            try:
                date.fromisoformat(self.read_on)
            except (TypeError, ValueError):
                raise ValueError(f"read_on: got {self.read_on!r}, must be a date, YYYY-MM-DD") from None


def aggregate_views(views: pd.DataFrame, measures: Sequence[str], level: str) -> pd.DataFrame:
    """Aggregate measures of views to one row per breast or per woman, and per exam: sum and maximum.

    A sum counts an artery once in each view that shows it. Sums can only be compared between equal numbers of views,
    which are given in the column `views`. A missing measure makes the sum and the maximum missing; remove the row to
    ignore the view.

    Args:
        views: One row per view: `patient_id, laterality, view`, optionally `exam`, and the measures. Rows with an empty
            laterality or view count as separate views, since it is unknown whether they repeat another one.
        measures: Names of the columns with the measures, numbers that are 0 or more, or missing.
        level: `breast` or `woman`.

    Returns:
        `patient_id`, `exam` if the views have it (and `laterality` for `breast`), `views` and, for each measure,
        `MEASURE_sum` and `MEASURE_max`; sorted by the first columns.

    Raises:
        ValueError: The level or a column is unknown, a view occurs twice, or a measure is negative or not a number.
    """
    if level not in LEVELS:
        raise ValueError(f"level: got {level!r}, must be one of {', '.join(LEVELS)}")
    for name in ("patient_id", "laterality", "view", *measures):
        if name not in views:
            raise ValueError(f"views, column {name!r}: missing, must be one of the columns")
    key = [name for name in ("patient_id", "exam", "laterality", "view") if name in views]
    twice = views[views.duplicated(key) & (views[["patient_id", "laterality", "view"]] != "").all(axis=1)]
    if len(twice):
        raise ValueError(f"views: got {' '.join(map(str, twice[key].iloc[0]))} twice, must have each view once")
    table = views[key].copy()
    for name in measures:
        try:
            table[name] = pd.to_numeric(views[name]).astype(float)
        except (TypeError, ValueError) as error:
            raise ValueError(f"views, column {name!r}: got no numbers ({error}), must be numbers, 0 or more") from None
        if (table[name] < 0).any():
            raise ValueError(f"views, column {name!r}: got {table[name].min():g}, must be 0 or more")
    groups = table.groupby([name for name in LEVELS[level] if name in table], sort=True)
    result = groups.size().rename("views").to_frame()
    for name in measures:
        missing = groups[name].count() < result["views"]
        result[f"{name}_sum"] = groups[name].sum().mask(missing)
        result[f"{name}_max"] = groups[name].max().mask(missing)
    return result.reset_index()


def _whole(name: str, value: float, most: int | None = None) -> int:
    """Return a value as int; raise ValueError unless it is a whole number from 0 to `most`."""
    rule = "0 or more" if most is None else f"0 to {most}"
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and np.isfinite(value) and value == int(value) and 0 <= value <= (value if most is None else most)):
        raise ValueError(f"{name}: got {value!r}, must be a whole number, {rule}")
    return int(value)
