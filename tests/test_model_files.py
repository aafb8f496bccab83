"""Model files from elsewhere: damaged, hostile, or with layers that no machine could hold."""

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bac_utils import __main__ as cli
from bac_utils.detector import BUNDLED
from bac_utils.model import check_size, load_model


def changed(folder: Path, change=lambda layer: None, name="cells", without=()) -> Path:
    """Return a copy of the bundled detector with another description of a layer."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(BUNDLED) as given, zipfile.ZipFile(path, "w") as made:
        for part in given.namelist():
            content = given.read(part)
            if part == "config.json":
                config = json.loads(content)
                change(next(layer for layer in config["config"]["layers"] if layer["config"].get("name") == name))
                content = json.dumps(config).encode()
            if part not in without:
                made.writestr(part, content)
    return path


def wide(units):
    return lambda layer: layer["config"].update(units=units)


def unbuilt(layer):
    del layer["build_config"]
    layer["config"]["units"] = 10**12


def a_lambda(layer):
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    layer.update(class_name="Lambda", config={"name": layer["config"]["name"], "function": code})


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"change": wide(10**12)}, "a layer needs 96,000,000,000,000 weights or more, the file has"),
        ({"change": wide(10**6)}, "a layer needs 96,000,000 weights or more"),
        ({"change": unbuilt}, "a layer needs 1,000,000,000,000 weights or more"),
        ({"change": wide("many")}, "TypeError"),
        ({"change": a_lambda, "name": "decoder_up"}, "Lambda"),
        ({"change": lambda layer: layer.update(module="os", class_name="system"), "name": "decoder_up"}, "TypeError"),
        ({"without": ["model.weights.h5"]}, "the file has 0 bytes of weights"),
        ({"without": ["config.json"]}, "config.json"),
    ],
)
def test_what_keras_cannot_use_is_refused_in_one_line(tmp_path, options, cause):
    path = changed(tmp_path, **options)
    with pytest.raises(ValueError, match=rf"model: got .*changed.keras, must be a Keras model \(.*{cause}") as caught:
        load_model(path)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 800


@pytest.mark.parametrize("damage", [lambda b: b[:200_000], lambda b: b[:300_000] + bytes(5000) + b[305_000:]])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "model.keras"
    path.write_bytes(damage(BUNDLED.read_bytes()))
    with pytest.raises(ValueError, match="model.keras, must be a Keras model"):
        load_model(path)


def test_a_huge_input_is_refused(tmp_path):
    path = changed(tmp_path, lambda layer: layer["config"].update(batch_shape=[None, 10**6, 10**6, 1]), "prepared_view")
    with pytest.raises(ValueError, match=r"for views of \(1000000, 1000000\), must be at most 16384"):
        load_model(path)


def test_the_bundled_detector_has_enough_weights():
    check_size(BUNDLED)


@pytest.mark.parametrize(
    "error", [MemoryError(), EOFError("half a file"), OSError(28, "No space left on device", "a.dcm")]
)
def test_an_error_of_the_machine_is_one_line(monkeypatch, tmp_path, error):
    from bac_utils.simulator import cohort_files

    def fail(*arguments):
        raise error

    monkeypatch.setattr(cohort_files, "simulate_cohort", fail)
    done = CliRunner().invoke(cli.app, ["simulate", str(tmp_path / "out"), "--women", "2"])
    assert done.exit_code == 1 and done.output.startswith("error: ") and len(done.output.splitlines()) == 1
    assert len(done.output) > len("error: \n")
