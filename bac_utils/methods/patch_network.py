"""The patch network of Wang et al., IEEE Trans Med Imaging 36:1172 (2017), doi 10.1109/TMI.2017.2655486.

A twelve-layer convolutional network tells BAC from non-BAC for the pixel at the centre of a patch; applied pixel by
pixel, it gives a map of the view. They trained it on outlines agreed on by readers (840 mammograms of 210 women) and
inferred the mass of calcium (R2 0.96 with that of the readers' outlines).

Only the abstract was read. All of the following are choices of this kit: ten 3 x 3 convolutions, some dilated, and two
layers that act on each pixel alone; their widths; patches of 45 pixels; as many patches with as without BAC, the latter
in part from bright spots; cross-entropy and Adam. In a view, BAC is far rarer than in these patches, and a probability
of 0.5 much too low a bar: the level is the one with the highest Dice coefficient on training views. The layers are
applied to the whole view at once, which gives the same numbers as patch by patch. Calcium mass needs the raw signal of
the detector, which images For Presentation do not have: the measure is the area.
"""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from keras import layers

from bac_utils._files import read_json, write_json
from bac_utils.methods.interface import LabelledViews
from bac_utils.methods.losses import cross_entropy
from bac_utils.methods.patches import draw_patches
from bac_utils.methods.segmenter import PatchTraining, Segmenter

CONVOLUTIONS = ((8, 1), (8, 1), (8, 1), (16, 2), (16, 2), (16, 2), (16, 4), (16, 4), (16, 4), (16, 1))
"""Channels and dilation of the ten convolutions."""
HIDDEN = 32
"""Channels of the eleventh layer; the twelfth is the logit."""
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
"""Levels among which the one of the mask is chosen."""
LEVEL_VIEWS = 16
"""Number of training views with BAC, and without, on which it is chosen."""
LEVEL_FILE = "level.json"
FIELD = 1 + 2 * sum(dilation for _, dilation in CONVOLUTIONS)
"""Side of the patch that the network sees of each pixel."""


class PatchNetwork(Segmenter):
    """A twelve-layer patch network, trained on the pixels at the centres of patches."""

    name = "patch-network"
    title = "Wang's patch network"
    source = "Wang et al., IEEE Trans Med Imaging 36:1172 (2017), doi 10.1109/TMI.2017.2655486"
    measure = "area above the level, mm2"
    loss = staticmethod(cross_entropy)

    def __init__(self, training: PatchTraining | None = None) -> None:
        """Set how it is trained; the side of the patches is always `FIELD`."""
        plan = PatchTraining(patches=6000, epochs=4, batch_size=64) if training is None else training
        super().__init__(replace(plan, patch=FIELD))

    def build(self) -> keras.Model:
        """Return the network, (N, h, w, 1) -> (N, h - FIELD + 1, w - FIELD + 1, 1) logits."""
        inputs = x = keras.Input((None, None, 1))
        for width, dilation in CONVOLUTIONS:
            x = layers.Conv2D(width, 3, dilation_rate=dilation, kernel_initializer="he_normal", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(HIDDEN, 1, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
        return keras.Model(inputs, layers.Conv2D(1, 1, name="logits")(x), name="patch_network")

    def fit(self, train: LabelledViews, validation: LabelledViews, folder: Path) -> None:
        """Train on patches, and choose the level on training views; the validation views are not used."""
        super().fit(train, validation, folder)
        self.level = self._best_level(train)
        write_json(folder / LEVEL_FILE, {"level": self.level})

    def load(self, folder: Path) -> None:
        """Load the weights and the level."""
        super().load(folder)
        self.level = float(read_json(folder / LEVEL_FILE)["level"])

    def _best_level(self, train: LabelledViews) -> float:
        """Return the level with the highest Dice coefficient over all pixels of some views; of equals, the lowest."""
        shown = train.outlines.any(axis=(1, 2))
        rng = np.random.default_rng(self.training.seed)
        chosen = [
            places[:LEVEL_VIEWS] for places in map(rng.permutation, (np.flatnonzero(shown), np.flatnonzero(~shown)))
        ]
        both, total = np.zeros((2, len(LEVELS)))
        for place in np.concatenate(chosen):
            heat, outline = self.probabilities(train.pixels[place]), train.outlines[place]
            for k, level in enumerate(LEVELS):
                both[k] += (heat > level)[outline].sum()
                total[k] += (heat > level).sum() + outline.sum()
        return LEVELS[int(np.argmax(2 * both / np.maximum(total, 1)))]

    def draw(self, train: LabelledViews, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return patches, and whether their centre shows BAC."""
        pixels, outlines = draw_patches(train, FIELD, self.training.patches, rng, centred=True)
        centre = FIELD // 2
        return pixels[..., None], outlines[:, centre, centre, None, None, None].astype(np.float32)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of BAC of each pixel of a view, float32 (H, W), 0 outside the breast."""
        padded = np.pad(np.asarray(pixels, np.float32), FIELD // 2)
        return np.where(pixels != 0, self._predict(padded[None, ..., None])[0, ..., 0], 0).astype(np.float32)
