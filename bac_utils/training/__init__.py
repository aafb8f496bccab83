"""Training of the detector, its memory and precision, and the search for the number of layers to fine-tune."""

from bac_utils.training.fit import continue_from, fit_model
from bac_utils.training.step import plan_step
from bac_utils.training.sweep import sweep_convolutions

__all__ = ["continue_from", "fit_model", "plan_step", "sweep_convolutions"]
