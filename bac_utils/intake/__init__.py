"""Reading mammograms: a DICOM, PNG, TIFF or JPEG file becomes a `Mammogram` or is skipped for a stated reason."""

from bac_utils.intake.mammogram import Mammogram, Skip
from bac_utils.intake.reader import read_mammogram

__all__ = ["Mammogram", "Skip", "read_mammogram"]
