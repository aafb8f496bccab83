"""Notebooks of a few lines for headless runs."""

import pytest
from tiny_notebooks import COHORT, write_notebook


@pytest.fixture
def notebooks(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "01_first.ipynb", COHORT)
    write_notebook(
        folder / "02_second.ipynb", "number = 6\nif fail:\n    raise KeyError('no such view')", "print(number)"
    )
    return folder
