"""The report of a finished run or evaluation: pages, Word files and a model card, filled from the files of its folder.

`write_report` is the entry point. The wing computes no results: each number is read from a file of the folder
(`sources`), and the page states from which one.
"""

from bac_utils.report.folder import NAMES, report_after, write_report

__all__ = ["NAMES", "report_after", "write_report"]
