"""Transfer learning: the paper's recipe with any network of `keras.applications`.

Khan & Masala (Electronics 12:231, 2023, doi 10.3390/electronics12010231) fine-tuned pretrained networks to tell four
grades of BAC apart. Mobini et al. (Eur Radiol Exp 8, 2024, doi 10.1186/s41747-024-00478-6) compared eleven networks of
five families on the women of the paper; VGG16 had the highest F1 on the test set, before MobileNet (0.51) and VGG19
(0.46). Of both, only the abstracts were read: the number of fine-tuned layers of each network is a choice of this kit
(`TRAINED_SHARE`). The grades of Khan & Masala are not rebuilt; their views are not public.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from bac_utils._files import file_digest, read_json, write_json
from bac_utils.backbones import BUNDLED, STRUCTURES, weights_file
from bac_utils.detector import load_point
from bac_utils.heatmaps import Explainer, default_form, default_threshold, make_heatmaps, measure_areas
from bac_utils.methods.interface import LabelledViews, Look, Method
from bac_utils.model import build_model, load_model, predict_scores
from bac_utils.quantify import measure_arteries
from bac_utils.run_folder import load_part
from bac_utils.settings import DEMO, PAPER_HEATMAP_THRESHOLD, Settings
from bac_utils.statistics import LEAST_WOMEN
from bac_utils.training import fit_model
from bac_utils.training.fit import FIT_SETTINGS
from bac_utils.views_table import exam_keys

COMPARED = "Mobini et al., Eur Radiol Exp 8 (2024), doi 10.1186/s41747-024-00478-6"
CONVNEXT = "Liu et al., CVPR 2022, doi 10.48550/arXiv.2201.03545"
FAMILIES = MappingProxyType(
    {
        "VGG19": 16, "Xception": 35, "ResNet50": 43, "ResNet50V2": 40, "MobileNet": 23, "MobileNetV2": 40,
        "DenseNet121": 88, "ConvNeXtTiny": 15,
    }
)  # fmt: skip
"""Networks, and their numbers of convolutions up to the map of the head `local` (`backbones.cut`)."""
RATE_SHARE = 0.3
"""Learning rate, as a share of that of the recipe, with the start `structures`. At the demo's 1e-3, ResNet50V2 did not
learn in four epochs (training loss 0.70, that of chance); at 3e-4 its loss was 0.55 after three."""
TRAINED_SHARE = 5 / 13
"""Share of the convolutions that are fine-tuned, from the last: five of thirteen in the paper's VGG16."""
LEVELS = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
"""Values of Th among which the measured area is chosen."""
LEVEL_FILE = "heatmap.json"


def recipe(backbone: str, weights: str, epochs: int, base: Settings = DEMO) -> Settings:
    """Return the demo's recipe with another network.

    Args:
        backbone: One of `FAMILIES`.
        weights: `structures`, `imagenet`, `none`, or a file of weights of this network with its divided widths.
        epochs: Number of epochs.
        base: The recipe; input, head, batch size and augmentation stay, and the rate but for `RATE_SHARE`.

    Returns:
        The settings. ImageNet weights are those of the full width, the others of the widths divided as in
        `backbones.STRUCTURES`; `none` trains all convolutions.

    Raises:
        ValueError: The network is unknown.
    """
    if backbone not in FAMILIES:
        raise ValueError(f"backbone: got {backbone!r}, must be one of {', '.join(FAMILIES)}")
    convolutions = FAMILIES[backbone]
    trained = convolutions if weights == "none" else round(TRAINED_SHARE * convolutions)
    divisor = 1 if weights == "imagenet" else STRUCTURES[backbone]
    rate = base.learning_rate * (RATE_SHARE if weights == "structures" else 1)
    return replace(
        base, backbone=backbone, width_divisor=divisor, weights=weights, trainable_convolutions=trained, epochs=epochs,
        learning_rate=rate,
    )  # fmt: skip


class TransferLearning(Method):
    """A network that learns from labels of views, as the paper's does; its heatmap is measured as an area above Th."""

    supervision = "image"
    measure = "area above Th, mm2"

    def __init__(self, settings: Settings) -> None:
        """Set the recipe.

        Args:
            settings: For `model.build_model` and `training.fit_model`.
        """
        self._recipe = settings
        self.name, self.title = settings.backbone.lower(), settings.backbone
        self.source = CONVNEXT if settings.backbone.startswith("ConvNeXt") else COMPARED
        known = {"none": "random", "imagenet": "imagenet"} | dict.fromkeys(BUNDLED, settings.weights)
        self.start = known.get(settings.weights, "file")
        self._network: keras.Model | None = None
        self._explain: Explainer | None = None
        self._level = PAPER_HEATMAP_THRESHOLD

    def settings(self) -> dict:
        """Return the recipe; weights of a file count by its content."""
        chosen = {name: value for name, value in asdict(self._recipe).items() if name in FIT_SETTINGS}
        file = weights_file(self._recipe)
        if file is not None and file.is_file():
            chosen["weights"] = file_digest(file)
        return json.loads(json.dumps(chosen))

    def fit(self, train: LabelledViews, validation: LabelledViews, folder: Path) -> None:
        """Train, keep the epoch with the best AUC-PR, and choose Th, both on the validation views."""
        network, sets = build_model(self._recipe), [(views.pixels, views.labels) for views in (train, validation)]
        fit_model(network, self._recipe, *sets, folder)
        self._use(network)
        form = self._explain.forms[0]
        rows = np.flatnonzero(_measured(validation))
        part = validation.table.iloc[rows]
        heats = make_heatmaps(self._explain, form, validation.pixels, rows, batch_size=2)
        pixels, spacings = [validation.pixels[row] for row in rows], [validation.spacing_mm(row) for row in rows]
        level = choose_level(heats, form, part, pixels, spacings)
        write_json(folder / LEVEL_FILE, {"form": form, "level": level})
        self._level = level

    def load(self, folder: Path) -> None:
        """Load the network and Th."""
        kept = read_json(folder / LEVEL_FILE)
        self._use(load_model(folder / "model.keras"), kept["form"])
        self._level = float(kept["level"])

    def scores(self, views: LabelledViews) -> np.ndarray:
        """Score views, as `model.predict_scores`."""
        return predict_scores(self._network, views.pixels, self._recipe.batch_size)

    def look(self, pixels: np.ndarray, spacing_mm: tuple[float, float] | None) -> Look:
        """Return the heatmap, the area in which it exceeds Th, and the arteries there (`quantify.measure_arteries`)."""
        form = self._explain.forms[0]
        heat = self._explain(np.asarray(pixels, np.float32)[None, ..., None])[1][form][0]
        if spacing_mm is None:
            return Look(heat, np.nan)
        pixels = np.asarray(pixels, np.float32)
        area = measure_areas([heat], form, self._level, [1], [pixels], [spacing_mm])[0]
        mask, _ = measure_arteries(heat, pixels, self._level, spacing_mm, pixels != 0)
        return Look(heat, float(area), mask)

    def _use(self, network: keras.Model, form: str | None = None) -> None:
        """Take a trained network."""
        self._network, self.parameters = network, network.count_params()
        self._explain = Explainer(network, [form or default_form(network)])


class RunDetector(TransferLearning):
    """The detector that notebook 02 has trained, the paper's method, with the heatmap and Th of notebook 04."""

    def __init__(self, run: Path) -> None:
        """Take the detector of a run.

        Args:
            run: The run's folder.

        Raises:
            FileNotFoundError: Notebooks 02 and 03 have not been run.
            ValueError: The operating point is damaged or that of another model.
        """
        recipe = read_json(Path(run) / "training" / "fit.json")
        super().__init__(replace(DEMO, backbone=recipe["backbone"], batch_size=recipe["batch_size"]))
        start = load_part(Path(run), "training")["training"]["start"]
        self.start = "random" if start == "none" else start
        self.source = "Mobini et al., Eur Radiol 33:6746 (2023), doi 10.1007/s00330-023-09668-z"
        self._run, self._point = Path(run), load_point(run)
        self.training_minutes = float(pd.read_csv(self._run / "history.csv")["seconds"].sum() / 60)

    def settings(self) -> dict:
        """Return what identifies the detector."""
        point = {"form": self._point.heatmap, "level": self._point.heatmap_threshold}
        return {"model": file_digest(self._run / "model.keras")} | point

    def fit(self, train: LabelledViews, validation: LabelledViews, folder: Path) -> None:
        """Train nothing."""
        self.load(folder)

    def load(self, folder: Path) -> None:
        """Load the run's detector; the folder is not used."""
        self._use(load_model(self._run / "model.keras"), self._point.heatmap)
        self._level = self._point.heatmap_threshold or default_threshold(self._explain.forms[0])


def _measured(views: LabelledViews) -> np.ndarray:
    """Return which views are of BAC+ women and have a known length, bool (N,)."""
    table = views.table
    if "bac_length_mm" not in table:
        return np.zeros(len(table), bool)
    with_bac = table["bac"].groupby([table[name] for name in exam_keys(table)]).transform("max") == 1
    return (with_bac & table["bac_length_mm"].notna()).to_numpy()


def choose_level(heats: np.ndarray, form: str, table: pd.DataFrame, pixels: list, spacings: list) -> float:
    """Choose Th: the value whose areas have the largest rank correlation with the lengths; of equals, the lowest.

    The paper found its Th "by trial and error".

    Args:
        heats: Heatmaps, (N, h, w), of views of BAC+ women.
        form: Their form.
        table: Rows of the views: `patient_id, bac_length_mm`.
        pixels: The prepared views.
        spacings: Their spacings.

    Returns:
        One of `LEVELS`; the default of the form with fewer than `LEAST_WOMEN` women, or where no area varies.
    """
    if table["patient_id"].nunique() < LEAST_WOMEN or table["bac_length_mm"].nunique() < LEAST_WOMEN:
        return default_threshold(form)
    best, chosen = -np.inf, default_threshold(form)
    for level in LEVELS:
        areas = measure_areas(heats, form, level, [1] * len(heats), pixels, spacings)
        rho = spearmanr(areas, table["bac_length_mm"]).statistic if np.ptp(areas) > 0 else -np.inf
        if rho > best + 1e-9:
            best, chosen = float(rho), level
    return chosen
