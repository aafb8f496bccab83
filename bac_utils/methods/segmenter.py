"""What the methods that learn from outlined pixels have in common: training on patches, and a map of the whole view."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from bac_utils._files import written_whole
from bac_utils.methods.interface import LabelledViews, Look, Method
from bac_utils.methods.patches import draw_patches, stitch
from bac_utils.methods.shares import top_mean

WEIGHTS_FILE = "model.weights.h5"


@dataclass(frozen=True)
class PatchTraining:
    """How a network is trained on patches; all values are choices of this kit.

    Attributes:
        patch: Side of a patch in pixels. For the demo's pixels of 0.3125 mm, 192 cover 60 mm; the 512 of Guo et al.
            cover 36 to 51 mm at detector pixels of 0.07 to 0.1 mm.
        patches: Number of patches drawn anew for each epoch.
        epochs: Number of epochs; the weights of the last one are kept.
        batch_size: Patches per step of Adam.
        learning_rate: Initial rate, with cosine annealing to zero.
        seed: Seed of the weights and of the patches.
    """

    patch: int = 192
    patches: int = 480
    epochs: int = 5
    batch_size: int = 8
    learning_rate: float = 2e-3
    seed: int = 2023


class Segmenter(Method):
    """A network that gives each pixel a probability of BAC; a subclass builds it.

    Attributes:
        level: Probability above which a pixel is BAC.
        loss: From outlines and logits to a loss.
    """

    supervision = "pixel"
    start = "random"
    level = 0.5
    loss: Callable[[Any, Any], Any]

    def __init__(self, training: PatchTraining = PatchTraining()) -> None:  # noqa: B008
        """Set how it is trained."""
        self.training = training
        self.network: keras.Model | None = None

    @abstractmethod
    def build(self) -> keras.Model:
        """Return the network, (N, h, w, 1) -> (N, h, w, 1) logits, with random weights."""

    def settings(self) -> dict:
        """Return how it is trained."""
        return asdict(self.training)

    def draw(self, train: LabelledViews, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs (N, h, w, 1) and the targets (N, h, w, 1) of one epoch."""
        pixels, outlines = draw_patches(train, self.training.patch, self.training.patches, rng)
        return pixels[..., None], outlines[..., None].astype(np.float32)

    def fit(self, train: LabelledViews, validation: LabelledViews, folder: Path) -> None:
        """Train on patches with Adam, and save the weights; the validation views are not used."""
        plan = self.training
        keras.utils.set_random_seed(plan.seed)
        tf.config.experimental.enable_op_determinism()
        self.network = self.build()
        steps = -(-plan.patches // plan.batch_size) * plan.epochs
        schedule = keras.optimizers.schedules.CosineDecay(plan.learning_rate, steps)
        self.network.compile(keras.optimizers.Adam(schedule), type(self).loss, jit_compile=False)
        for epoch in tqdm(range(plan.epochs), f"training {self.name}", unit="epoch"):
            inputs, targets = self.draw(train, np.random.default_rng([plan.seed, epoch]))
            loss = self.network.fit(inputs, targets, plan.batch_size, shuffle=False, verbose=0).history["loss"][-1]
            if not np.isfinite(loss):
                raise FloatingPointError(f"{self.name}, epoch {epoch + 1}: the training has diverged")
        self.parameters = self.network.count_params()
        with written_whole(folder / WEIGHTS_FILE) as part:
            self.network.save_weights(part)

    def load(self, folder: Path) -> None:
        """Build the network, and load its weights."""
        self.network = self.build()
        self.network.load_weights(folder / WEIGHTS_FILE)
        self.parameters = self.network.count_params()

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of BAC of each pixel of a view, float32 (H, W), 0 outside the breast."""
        return stitch(self._predict, pixels, self.training.patch)

    def _predict(self, tiles: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.sigmoid(self.network.predict_on_batch(tiles)))

    def scores(self, views: LabelledViews) -> np.ndarray:
        """Score each view by the mean of its 10 mm2 with the highest probabilities."""
        places = tqdm(range(len(views)), f"scoring {self.name}", unit="view")
        return np.array(
            [top_mean(self.probabilities(np.asarray(views.pixels[k])), views.spacing_mm(k)) for k in places]
        )

    def look(self, pixels: np.ndarray, spacing_mm: tuple[float, float] | None) -> Look:
        """Return the probabilities, and the mask and the area of the pixels above `level`."""
        heat = self.probabilities(pixels)
        mask = heat > self.level
        area = float(mask.sum() * np.prod(spacing_mm)) if spacing_mm else np.nan
        return Look(heat, area, mask)
