"""All settings of the method, frozen, each with its source.

"The paper" is Mobini et al., European Radiology 33:6746 (2023), doi 10.1007/s00330-023-09668-z. `PAPER` is its recipe,
`DEMO` a smaller version of it that runs on a laptop, and `PUBLISHED` holds the paper's results for comparison.
"""

import math
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

HEADS = ("flatten", "average", "local")
"""Heads of the network; see `model`."""
HEATMAPS = ("local-logits", "grad-cam++", "layer-cam", "per-image-maximum")
"""Forms of the heatmap; see `heatmaps`."""
PAPER_HEATMAP_THRESHOLD = 0.3
"""Th of the binarised Grad-CAM++ heatmap (paper, found by trial and error); for the form `per-image-maximum`."""
DEFAULT_HEATMAP_THRESHOLD = 0.7
"""Th of the form `local-logits` when too few lengths are known to choose it by. Lengths measured on 48 simulated MLO
views (an earlier bundled detector, `population.draw_measured(24, 901)`) had the same rank correlation and bias from Th
= 0.6 to 0.8."""
LOWEST_SCORE = 0.10
"""Heatmaps of views with a lower score are not saved; the sliders of Th start here."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random augmentation of training views.

    The paper lists the kinds (rotation, width and height shift, horizontal and vertical flip, zoom, Gaussian and
    salt-and-pepper noise). The ranges are design assumptions, since its supplement is not public.
    """

    rotation_degrees: float = 10.0
    """Uniform between minus and plus this angle."""
    shift_fraction: float = 0.05
    """Uniform between minus and plus this share of the height and of the width."""
    zoom_fraction: float = 0.10
    """Scale uniform between 1 minus and 1 plus this."""
    flip_horizontal: bool = True
    flip_vertical: bool = True
    gaussian_noise_sd: float = 0.10
    """Largest standard deviation of the noise, in units of the prepared view (deviation 1 inside the breast)."""
    salt_pepper_fraction: float = 0.0005
    """Largest share of pixels that are set to the minimum or maximum of the view."""


def _rising(limits: tuple[float, ...]) -> tuple[float, ...]:
    if any(a >= b for a, b in zip(limits, limits[1:], strict=False)):
        raise ValueError("must increase")
    return limits


def _shares(shares: tuple[float, ...]) -> tuple[float, ...]:
    if min(shares) <= 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError("must be above 0 and sum to 1")
    return shares


@checked_dataclass(frozen=True, config=ConfigDict(strict=True))
class Settings:
    """One recipe. Lengths are in mm, image shapes are (rows, columns), shares are in [0, 1]."""

    name: str
    women: Annotated[int, Field(ge=1, le=1_000_000)]
    """Number of women in the simulated cohort; the paper has 1,493 (Results)."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 2023
    quantification_women: Annotated[int, Field(ge=0, le=100_000)] = 56
    """BAC+ women simulated in addition to the cohort, only to be measured (paper: 56 women of an earlier study)."""
    pixel_spacing_mm: Annotated[float, Field(ge=0.02, le=2.0)] = 0.25
    """Pixel spacing of the simulated views; real images state their own."""
    minimum_age: Annotated[int, Field(ge=0, le=120)] = 45
    """Youngest age for inclusion, years (paper, Patient enrolment); a woman without an age is included."""
    all_views: bool = True
    """Whether to include only women with all four views (paper, Patient enrolment); else one view is enough."""
    age_limits: Annotated[tuple[int, int, int], AfterValidator(_rising)] = (60, 70, 73)
    """Upper limits of the first three age classes, years (paper, Results: 45-60, 61-70, 71-73, 74-87)."""
    split_fractions: Annotated[tuple[float, float, float], AfterValidator(_shares)] = (0.70, 0.15, 0.15)
    """Shares of the women in the training, validation and test sets (paper, Clinical dataset preparation)."""
    train_prevalence: Annotated[float, Field(ge=0.01, le=0.99)] = 0.30
    """Share of BAC+ women in the training set after undersampling (paper's text; its counts give 0.33)."""
    input_shape: tuple[Annotated[int, Field(ge=32)], Annotated[int, Field(ge=32)]] = (1536, 768)
    """Rows and columns of the network's input (paper, Neural network architecture)."""
    view_pixel_mm: Annotated[float, Field(ge=0.02, le=5.0)] | None = None
    """Pixel size of the prepared view, mm; None stretches the breast to the matrix, as the paper does. Stretching makes
    an artery wider in pixels in a small breast than in a large one, and each pixel covers fewer mm2; at a fixed scale,
    both are equal in every breast that fits. `input_shape` times this is the field of view in mm."""
    backbone: str = "VGG16"
    """A name from `keras.applications` (paper: VGG16)."""
    width_divisor: Annotated[int, Field(ge=1, le=64)] = 1
    """Divisor of all layer widths of the backbone; 1 is the published network."""
    head: Literal[HEADS] = "flatten"
    """What follows the last convolution, one of `HEADS` (paper: `flatten` fits its text best, as its input has one
    fixed size)."""
    pooling_sharpness: Annotated[float, Field(gt=0, le=100)] = 4.0
    """Sharpness r of the soft maximum of the head `local` (`model.LogSumExpPooling`)."""
    weights: str = "imagenet"
    """`imagenet`, `structures`, `bundled`, `detector`, `none` or the path to a weights file or a run's folder; see
    `backbones`."""
    pretrained_head: bool = True
    """Whether to load the head as well, if the weights include one of the same kind and size; else it is random."""
    trainable_convolutions: Annotated[int, Field(ge=0, le=1000)] = 5
    """Number of convolutions, counted from the last, that are fine-tuned; the others are frozen (paper: five)."""
    dense_units: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Width of each of the two dense layers (paper)."""
    leaky_slope: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Negative slope of LeakyReLU (paper: alpha = 0.3)."""
    dropout: Annotated[float, Field(ge=0, le=0.99)] = 0.3
    """Dropout rate after each dense layer (paper)."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 8
    """Views per step of Adam (paper); see `training.step` for batches that do not fit in memory."""
    mixed_precision: bool = False
    """Whether the convolutions are trained in float16: faster and with less memory on recent GPUs, slower on CPUs."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 25
    learning_rate: Annotated[float, Field(ge=1e-12, le=10)] = 1e-6
    """Initial rate of Adam, with cosine annealing to zero over all epochs (paper)."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    heatmap: Literal[HEATMAPS] | None = None
    """Form of heatmap to measure, one of `HEATMAPS`; None: chosen on the validation set (notebook 04)."""
    heatmap_threshold: Annotated[float, Field(ge=0.01, le=0.99)] | None = None
    """Th of this heatmap; None: chosen with it. The paper's recipe always uses `PAPER_HEATMAP_THRESHOLD`."""
    bootstrap_samples: Annotated[int, Field(ge=20, le=1_000_000)] = 2000
    """Number of bootstrap resamples of women for each 95 % interval (the paper reports no intervals)."""


PAPER = Settings(name="paper", women=1493)

DEMO = Settings(
    name="demo",
    women=500,
    input_shape=(768, 384),
    view_pixel_mm=0.3125,  # 768 rows cover 240 mm, the height of the most common detector; 384 columns cover 120 mm
    width_divisor=8,
    head="local",
    weights="structures",
    epochs=6,
    learning_rate=1e-3,
    bootstrap_samples=1000,
)

PRESETS = MappingProxyType({"paper": PAPER, "demo": DEMO})
STRETCH = "stretch"
"""Value of `view_pixel_mm` for `preset` that sets it to None, the paper's stretching, in a preset with a number."""


PUBLISHED = MappingProxyType(
    {
        "women": 1493,
        "views": 5972,
        "bac_women": 194,  # Results; the abstract's 198 does not agree with 13.0 % and 581 views
        "bac_views": 581,
        "age_median": 59.0,
        "age_iqr": (52.0, 68.0),
        "age_median_bac": 70.5,
        "age_iqr_bac": (60.0, 73.0),
        "age_median_no_bac": 57.0,
        "age_iqr_no_bac": (52.0, 65.0),
        "age_range": (45, 87),
        "mann_whitney_p_below": 0.001,  # ages of BAC+ and BAC- women
        "prevalence_by_age_class": (0.063, 0.116, 0.343, 0.382),
        "splits": {  # Table 1 and Results; training after undersampling
            "train": {"women": 410, "views": 1640, "bac_views": 398},
            "validation": {"women": 222, "views": 888, "bac_views": 89},
            "test": {"women": 229, "views": 916, "bac_views": 94},
        },
        "detection": {  # Table 2; the abstract has the figures of another run
            "train": {"tn": 1222, "tp": 312, "fn": 86, "fp": 20, "accuracy": 0.93, "balanced_accuracy": 0.88,
                      "precision": 0.94, "recall": 0.78, "f1": 0.85, "auc_roc": 0.96, "auc_pr": 0.93},
            "validation": {"tn": 787, "tp": 64, "fn": 25, "fp": 12, "accuracy": 0.96, "balanced_accuracy": 0.85,
                           "precision": 0.84, "recall": 0.72, "f1": 0.78, "auc_roc": 0.95, "auc_pr": 0.86},
            "test": {"tn": 803, "tp": 69, "fn": 25, "fp": 19, "accuracy": 0.95, "balanced_accuracy": 0.86,
                     "precision": 0.78, "recall": 0.73, "f1": 0.76, "auc_roc": 0.94, "auc_pr": 0.81},
        },
        "spearman_rho": 0.88,
        "quantification_views": 112,
        "quantification_bac_views": 95,
        "elaboration_mean_s": 0.80,
        "elaboration_sd_s": 0.07,
    }
)  # fmt: skip


def preset(name: str, **changes: Any) -> Settings:
    """Return a preset with changes; all values are checked.

    Args:
        name: `demo` or `paper`.
        **changes: Fields of `Settings` to replace; None keeps the preset's value, lists become tuples.
            `view_pixel_mm` may be `"stretch"`, which sets it to None.

    Returns:
        The frozen settings.

    Raises:
        TypeError: A value has the wrong type.
        ValueError: The preset or a field is unknown, or a value is out of range.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: got {name!r}, must be one of {', '.join(sorted(PRESETS))}")
    known = {f.name for f in fields(Settings)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ValueError(f"settings: unknown field {unknown[0]!r}, must be one of {', '.join(sorted(known))}")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items() if v is not None}
    if given.get("view_pixel_mm") == STRETCH:
        given["view_pixel_mm"] = None
    try:
        return replace(PRESETS[name], **given)
    except ValidationError as error:
        first = error.errors()[0]
        field_name, rule = (
            first["loc"][0],
            first["msg"].replace("Input should be", "must be").removeprefix("Value error, "),
        )
        if field_name == "view_pixel_mm":
            rule += f", or {STRETCH!r}"
        if first["type"] == "missing":
            rule = f"must have as many numbers as {getattr(PRESETS[name], field_name)}"
        kind = TypeError if first["type"].endswith(("_type", "_from_float", "missing")) else ValueError
        raise kind(f"{field_name}: got {given[field_name]!r}, {rule}") from None
