"""Importing the package, its command line and its light modules brings in no TensorFlow."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bac_utils

ROOT = Path(__file__).resolve().parents[1]


def test_version_is_that_of_the_release():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert bac_utils.__version__ == project["version"]


@pytest.mark.parametrize(("asked", "backend"), [(None, "tensorflow"), ("jax", "jax")])
def test_the_backend_is_tensorflow_whatever_keras_is_set_to_unless_for_the_pretraining(asked, backend):
    given = os.environ | {"KERAS_BACKEND": "torch"} | ({} if asked is None else {"BAC_UTILS_PRETRAIN_BACKEND": asked})
    code = "import bac_utils, os; print(os.environ['KERAS_BACKEND'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == backend


@pytest.mark.parametrize(
    "module",
    ["bac_utils", "bac_utils.__main__", "bac_utils.study.runner", "bac_utils.scoring.batch", "bac_utils.plots"],
)
def test_import_is_light(module):
    heavy = "tensorflow", "keras"
    if module in ("bac_utils", "bac_utils.__main__"):
        heavy += ("pandas", "matplotlib", "papermill")
    code = f"import {module}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
