"""The manufacturer that a DICOM header states, for comparisons between devices."""

from pathlib import Path

from bac_utils.intake.dicom_file import is_dicom, read_header, text
from bac_utils.intake.mammogram import Skip
from bac_utils.intake.reader import quiet


def read_vendor(path: str | Path) -> str:
    """Return the Manufacturer (0008,0070) of a DICOM file as it is written there.

    Args:
        path: A mammogram of any supported format.

    Returns:
        The text, without blanks at its ends; empty if it is not stated, or the file is no DICOM file or unreadable.
    """
    try:
        with Path(path).open("rb") as file:
            if not is_dicom(file.read(132)):
                return ""
        with quiet():
            return text(read_header(Path(path))[0], "Manufacturer")
    except (OSError, Skip):
        return ""
