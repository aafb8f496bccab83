"""Notebooks of a few lines, without a network, that stand for those of a run."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'preset = "demo"  # demo or paper\noutput = "."\ncohort = ""\nseed = None\nfail = False\n'
COHORT = (
    "from bac_utils.run_folder import save_part\nfrom pathlib import Path\n"
    "counts = dict(women=4, views=16, bac_women=1, bac_views=3, age_median=59.0)\n"
    'with open(Path(output) / "views.csv", "a") as table:\n    table.write("one run\\n")\n'
    'save_part(Path(output), "cohort", preset=preset, seed=seed or 2023, cohort=counts, splits={})'
)
SIMULATOR = (
    "from pathlib import Path\nfigures = Path(output) / 'figures'\nfigures.mkdir(exist_ok=True)\n"
    "(figures / 'simulator_spectra.png').write_text('a figure')"
)


def write_notebook(path: Path, *code: str, parameters: str = PARAMETERS) -> Path:
    cells = [new_markdown_cell(f"# {path.stem}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells += [new_code_cell(text) for text in code]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path
