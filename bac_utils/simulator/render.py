"""Rendering of a simulated woman's views: grey levels and the ground-truth mask of the calcified arteries."""

import numpy as np

from bac_utils.simulator.acquisition import add_border, add_collimation, add_label, expose
from bac_utils.simulator.attenuation import project_breast
from bac_utils.simulator.population import Woman


def render(woman: Woman, side: str, view: str, pixel_spacing_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Render one view.

    Args:
        woman: The woman.
        side: Laterality, `L` or `R`. The chest wall is at the left edge of a left breast and at the right edge of a
            right one.
        view: `CC` or `MLO`.
        pixel_spacing_mm: Pixel spacing in mm, the same for rows and columns.

    Returns:
        The image, float32 (rows, columns) in [0, 1], bright = dense; and the mask of the calcified arteries, bool, of
        the same shape.
    """
    breast = woman.breasts[side]
    projection = project_breast(
        list(breast.seed), breast.outlines[view], breast.density, breast.vessels, breast.visible_segments(view),
        breast.findings, pixel_spacing_mm,
    )  # fmt: skip
    seed = [*breast.seed, 3 if view == "CC" else 4]
    columns = round(breast.outlines[view].width_mm / pixel_spacing_mm)
    image = expose(projection, woman.acquisition, columns, seed)
    artery = np.pad(projection.artery, ((0, 0), (0, columns - projection.artery.shape[1])))
    if side == "R":
        image, artery = image[:, ::-1].copy(), artery[:, ::-1].copy()
    rng = np.random.default_rng([*seed, 5])
    if woman.acquisition.label:
        add_label(image, f"{side}{view}", pixel_spacing_mm, rng, chest_left=side == "L")
    if woman.acquisition.border:
        add_border(image, pixel_spacing_mm, rng)
    if woman.acquisition.collimated:
        add_collimation(image, pixel_spacing_mm, rng, woman.acquisition.film)
    return image, artery
