"""Every number of the method, frozen, each with its source.

"The paper" is Mobini et al., European Radiology 33:6746 (2023), doi 10.1007/s00330-023-09668-z.
`PAPER` is its recipe, `DEMO` the same recipe made small enough for a laptop, and `PUBLISHED` what the paper
reports, so that a run can be laid beside it.
"""

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

HEATMAPS = ("cells", "grad-cam++", "layer-cam", "own maximum")
"""Forms of the heatmap; see `heat`."""
PAPER_THRESHOLD = 0.3
"""Th of the binarised Grad-CAM++ heatmap (paper, by trial and error)."""
DEFAULT_THRESHOLD = 0.7
"""Th of the form `cells` where no length is known to choose it by: from 0.6 to 0.8 lengths measured on 48 simulated MLO
views (the bundled detector, `phantom.draw_measured(24, 901)`) kept their rank correlation and their bias."""


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes of a training view; the paper names the kinds, not the ranges.

    The kinds (rotation, width and height shift, horizontal and vertical flip, zoom, Gaussian and salt-and-pepper
    noise) are the paper's; the ranges are design assumptions (its supplement is not public).
    """

    rotation_degrees: float = 10.0
    """Uniform in +- this angle."""
    shift_fraction: float = 0.05
    """Uniform in +- this share of the height and of the width."""
    zoom_fraction: float = 0.10
    """Scale uniform in 1 +- this."""
    flip_horizontal: bool = True
    flip_vertical: bool = True
    gaussian_noise_sd: float = 0.10
    """Upper end of the noise deviation, in units of the prepared view (deviation 1 inside the breast)."""
    salt_pepper_fraction: float = 0.0005
    """Upper end of the share of pixels that are set to the ends of the view's range."""


@dataclass(frozen=True)
class Settings:
    """One recipe. Lengths are in mm, image shapes are (rows, columns), shares lie in [0, 1]."""

    name: str
    women: int
    """Women drawn for the simulated cohort; the paper's series has 1,493 (Results)."""
    seed: int = 2023
    quantification_women: int = 56
    """BAC+ women drawn besides a simulated cohort, to be measured alone (paper: 56 women of an earlier study)."""
    pixel_spacing_mm: float = 0.25
    """Detector spacing of the simulated views; a real archive brings its own."""
    minimum_age: int = 45
    """Inclusion, years (paper, Patient enrolment)."""
    age_limits: tuple[int, ...] = (60, 70, 73)
    """Upper ends of the first three age classes, years (paper, Results: 45-60, 61-70, 71-73, 74-87)."""
    split_fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
    """Training, validation, test shares of the women (paper, Clinical dataset preparation)."""
    train_prevalence: float = 0.30
    """BAC+ share of the training women after undersampling (paper's text; its own counts give 0.33)."""
    input_shape: tuple[int, int] = (1536, 768)
    """Rows and columns of the network's input (paper, Neural network architecture)."""
    view_pixel_mm: float | None = None
    """Side of a pixel of the prepared view, mm; None stretches the breast to the matrix, as the paper does. Stretched,
    an artery is more pixels wide in a small breast than in a large one, and an outline of so many pixels covers fewer
    mm2; at one scale both are alike in every breast that fits. `input_shape` times this is the field in mm."""
    backbone: str = "VGG16"
    """A name from `keras.applications` (paper: VGG16)."""
    width_divisor: int = 1
    """All layer widths of the backbone are divided by this; 1 is the published network. VGG16 only."""
    weights: str = "imagenet"
    """`imagenet`, `bundled`, `none` or the path of a weights file."""
    pretrained_head: bool = True
    """Whether weights that bring a head (the bundled do, ImageNet's do not) fill it too; else it starts at random."""
    trainable_convolutions: int = 5
    """How many of the last convolutions are fine-tuned; the rest is frozen (paper: five)."""
    dense_units: int = 256
    """Width of each of the two dense layers (paper)."""
    leaky_slope: float = 0.3
    """Negative slope of LeakyReLU (paper: alpha = 0.3)."""
    dropout: float = 0.3
    """After each dense layer (paper)."""
    batch_size: int = 8
    epochs: int = 25
    learning_rate: float = 1e-6
    """Adam, cosine annealing to zero over the epochs (paper)."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    heatmap: str | None = None
    """Form of the heatmap that is measured, one of `HEATMAPS`; None: chosen on the validation set (notebook 04)."""
    heatmap_threshold: float | None = None
    """Th of that heatmap; None: chosen with it. The paper's recipe keeps its own, `PAPER_THRESHOLD`."""
    bootstrap_samples: int = 2000
    """Resamples of women behind each 95 % interval (the paper gives none)."""


PAPER = Settings(name="paper", women=1493)

DEMO = Settings(
    name="demo",
    women=500,
    input_shape=(768, 384),
    view_pixel_mm=0.3125,  # 240 mm, the height of the commonest detector field, on 768 rows; 120 mm on 384 columns
    width_divisor=8,
    weights="bundled",
    epochs=2,
    learning_rate=3e-5,
    bootstrap_samples=1000,
)

PRESETS = MappingProxyType({"paper": PAPER, "demo": DEMO})
STRETCH = "stretch"
"""As `view_pixel_mm` of `preset`: the paper's stretch (`None`) in a preset that has a number."""


def preset(name: str, **changes: Any) -> Settings:
    """Return a preset with some of its numbers changed.

    Args:
        name: `demo` or `paper`.
        **changes: Fields of `Settings` to replace; `None` leaves the preset's value. `view_pixel_mm` may be
            `"stretch"`, which sets it to `None`.

    Returns:
        The frozen settings.

    Raises:
        ValueError: The preset or a field is unknown.
    """
    if name not in PRESETS:
        raise ValueError(f"preset: got {name!r}, must be one of {', '.join(sorted(PRESETS))}")
    known = {f.name for f in fields(Settings)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ValueError(f"settings: unknown field {unknown[0]!r}, must be one of {', '.join(sorted(known))}")
    given = {k: v for k, v in changes.items() if v is not None}
    if given.get("view_pixel_mm") == STRETCH:
        given["view_pixel_mm"] = None
    return replace(PRESETS[name], **given)


PUBLISHED = MappingProxyType(
    {
        "women": 1493,
        "views": 5972,
        "bac_women": 194,  # Results; the abstract's 198 does not fit the paper's 13.0 % and 581 views
        "bac_views": 581,
        "age_median": 59.0,
        "age_iqr": (52.0, 68.0),
        "age_median_bac": 70.5,
        "age_iqr_bac": (60.0, 73.0),
        "age_median_no_bac": 57.0,
        "age_iqr_no_bac": (52.0, 65.0),
        "age_range": (45, 87),
        "prevalence_by_age_class": (0.063, 0.116, 0.343, 0.382),
        "splits": {  # Table 1 and Results; training after undersampling
            "train": {"women": 410, "views": 1640, "bac_views": 398},
            "validation": {"women": 222, "views": 888, "bac_views": 89},
            "test": {"women": 229, "views": 916, "bac_views": 94},
        },
        "detection": {  # Table 2; the abstract prints another run's figures
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
