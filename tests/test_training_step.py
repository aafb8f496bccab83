"""Steps in parts and in mixed precision give the result of a plain step; the plan follows the memory."""

import json
import subprocess
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from bac_utils.model import build_model, load_model
from bac_utils.settings import Augmentation
from bac_utils.training import fit, fit_model, step, sweep_convolutions
from bac_utils.training.step import GIB, InParts, StepPlan, in_mixed_precision, plan_step, step_bytes

NUMBERS = [name for name in fit.HISTORY if name != "seconds"]


@pytest.fixture
def sets(tiny_views):
    pixels, labels = tiny_views
    return (pixels[:14], labels[:14]), (pixels[14:], labels[14:])


def use_parts(monkeypatch, views):
    """Let every plan compute this many views at once."""
    plan = StepPlan("CPU", 1, False, 4, views, 1)
    monkeypatch.setattr(fit, "plan_step", lambda *_: plan)


def test_a_step_in_parts_is_the_step_of_the_whole_batch(tiny_settings, tiny_views):
    """Seven views in parts of three: the last part is smaller, and the classes have weights."""
    views, labels = tiny_views[0][:7, ..., None].astype(np.float32), tiny_views[1][:7, None].astype(np.float32)
    found = []
    for in_parts in (False, True):
        model = build_model(replace(tiny_settings, dropout=0.0))
        before = model.get_weights()
        fitted = InParts(model.inputs, model.outputs) if in_parts else model
        fitted.views_at_once = 3
        fitted.compile(keras.optimizers.SGD(0.1), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
        loss = fitted.train_on_batch(views, labels, class_weight={0: 0.6, 1: 2.5})
        found.append((loss, [a - b for a, b in zip(model.get_weights(), before, strict=True)]))
    (loss, changes), (loss_in_parts, changes_in_parts) = found
    assert loss_in_parts == pytest.approx(loss, rel=1e-5)
    assert sum(np.abs(change).max() > 1e-4 for change in changes) > 10
    for whole, parts in zip(changes, changes_in_parts, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-6)


def test_mixed_precision_ends_at_the_last_convolution(tiny_settings, tiny_views):
    model = build_model(tiny_settings)
    policy = keras.config.dtype_policy().name
    mixed = in_mixed_precision(model)
    assert keras.config.dtype_policy().name == policy == "float32"
    kinds = {layer.name: layer.compute_dtype for layer in mixed.layers}
    assert kinds["block1_conv1"] == kinds["block4_pool"] == kinds["block5_conv3"] == "float16"
    assert kinds["dense_1"] == kinds["pooling"] == kinds["logit"] == "float32"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    trained = [[weight.path for weight in network.trainable_weights] for network in (mixed, model)]
    assert trained[0] == trained[1] != []
    views = tiny_views[0][..., None].astype(np.float32)
    logits, expected = mixed.predict_on_batch(views), model.predict_on_batch(views)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0.02, atol=0.005)
    assert not np.array_equal(logits, expected)


def test_a_resumed_training_in_parts_and_mixed_precision_gives_the_same_numbers(
    tiny_settings, sets, tiny_views, tmp_path, monkeypatch
):
    settings = replace(tiny_settings, mixed_precision=True, epochs=2)
    use_parts(monkeypatch, 3)
    whole = fit_model(build_model(settings), settings, *sets, tmp_path / "whole")
    saved = load_model(tmp_path / "whole" / "model.keras")
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    assert saved.predict_on_batch(tiny_views[0][..., None]).dtype == np.float32
    assert whole["loss"][1] < whole["loss"][0]

    original, calls = fit.average_precision_score, []

    def stops(*given):
        calls.append(given)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return original(*given)

    with monkeypatch.context() as patched:
        patched.setattr(fit, "average_precision_score", stops)
        with pytest.raises(KeyboardInterrupt):
            fit_model(build_model(settings), settings, *sets, tmp_path / "resumed")
    assert len(pd.read_csv(tmp_path / "resumed" / "history.csv")) == 1
    assert json.loads((tmp_path / "resumed" / "training" / "fit.json").read_text())["views_at_once"] == 3
    use_parts(monkeypatch, 1)  # as if the memory had changed: the parts stay as they were
    resumed = fit_model(build_model(settings), settings, *sets, tmp_path / "resumed")
    pd.testing.assert_frame_equal(resumed[NUMBERS], whole[NUMBERS], check_exact=True)


def test_estimate_of_a_small_network():
    """By hand, in values of 4 bytes; the second convolution and the dense layer are trained."""
    x = keras.Input((8, 8, 1))
    y = keras.layers.Conv2D(2, 3, padding="same", name="first")(x)  # 64 in, 128 out
    y = keras.layers.MaxPooling2D(2)(y)  # 128 in, 32 out
    y = keras.layers.Conv2D(4, 3, padding="same")(y)  # 32 in, 64 out
    y = keras.layers.Dense(1)(keras.layers.Flatten()(y))  # 64 and 1 out
    model = keras.Model(x, y)
    model.get_layer("first").trainable = False
    weights, trained = 20 + 76 + 65, 76 + 65  # 3 x 3 x 1 x 2 + 2, 3 x 3 x 2 x 4 + 4, 64 + 1
    assert step_bytes(model) == (4 * (weights + 3 * trained), 4 * (64 + 2 * 128))
    model.get_layer("first").trainable = True
    kept = 64 + 128 + 32 + 64 + 64 + 1
    assert step_bytes(model) == (4 * 4 * weights, 4 * (kept + 2 * 128))
    half = step_bytes(in_mixed_precision(model))[1]
    assert half == 4 * (64 + 1) + 2 * (128 + 32 + 64) + 4 * 64 + 2 * 2 * 128


@pytest.mark.parametrize(("memory", "views"), [(None, 4), (10 * GIB, 4), (1, 1)])
def test_plan_follows_the_memory(tiny_settings, monkeypatch, memory, views):
    monkeypatch.setattr(step, "_device", lambda: ("CPU, 2 cores", memory))
    assert plan_step(build_model(tiny_settings), tiny_settings).views_at_once == views


def test_plan_takes_as_many_views_as_fit(tiny_settings, monkeypatch):
    model = build_model(tiny_settings)
    fixed, per_view = step_bytes(model)
    for memory, views in ((fixed + 3.1 * per_view, 3), (fixed + 2.9 * per_view, 2)):
        monkeypatch.setattr(step, "_device", lambda memory=memory: ("CPU, 2 cores", memory / step.MEMORY_SHARE))
        plan = plan_step(model, tiny_settings)
        assert (plan.views_at_once, plan.estimate) == (views, fixed + views * per_view)


def test_plan_is_printed():
    plan = StepPlan("Tesla T4", 16 * GIB, True, 8, 8, 3 * GIB)
    memory = "Estimated memory of a training step: 3.0 GiB of 16.0 GiB, all 8 views of a batch at once."
    assert str(plan) == f"Device: Tesla T4; mixed precision: on.\n{memory}"
    plan = StepPlan("CPU, 2 cores", None, False, 8, 2, GIB // 4)
    memory = "Estimated memory of a training step: 256 MiB, the 8 views of a batch in parts of 2."
    assert str(plan) == f"Device: CPU, 2 cores; mixed precision: off.\n{memory}"


def test_memory_of_the_visible_gpu(monkeypatch):
    table = "0, GPU-aa, 81559\n1, GPU-bb, 15360\n2, GPU-cc, [N/A]\n"
    done = subprocess.CompletedProcess([], 0, table, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    for visible, mebibytes in (("", 15360), ("0", 81559), ("GPU-bb", 15360), ("0,1", 15360)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert step._gpu_memory() == mebibytes * 2**20
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert step._gpu_memory() is None
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    assert step._gpu_memory() is None


def test_sweep_keeps_the_best_number_and_is_reused(tiny_settings, sets, tmp_path, monkeypatch):
    still = Augmentation(0.0, 0.0, 0.0, False, False, 0.0, 0.0)
    settings = replace(tiny_settings, epochs=2, augmentation=still, learning_rate=0.01)
    best, table = sweep_convolutions([5, 0], settings, *sets, tmp_path)
    assert table["trainable_convolutions"].tolist() == [0, 5]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep.csv"), table)
    for row in table.itertuples():
        history = pd.read_csv(tmp_path / "training" / f"sweep-{row.trainable_convolutions:02d}" / "history.csv")
        assert history["val_auc_pr"].max() == pytest.approx(row.val_auc_pr)
        assert history["epoch"][history["val_auc_pr"].argmax()] == row.epoch
        assert history["seconds"].sum() / 60 == pytest.approx(row.minutes)
    assert best == table["trainable_convolutions"][table["val_auc_pr"].argmax()]

    monkeypatch.setattr(fit, "training_batches", None)  # nothing may be trained again
    chosen = replace(settings, trainable_convolutions=best)
    model = build_model(chosen)
    history = fit_model(model, chosen, *sets, tmp_path)
    assert history["val_auc_pr"].max() == pytest.approx(table["val_auc_pr"].max())
    source = load_model(tmp_path / "training" / f"sweep-{best:02d}" / "model.keras")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), source.get_weights(), strict=True))
    again, same = sweep_convolutions([0, 5], settings, *sets, tmp_path)
    assert again == best
    pd.testing.assert_frame_equal(same, table)
    with pytest.raises(ValueError, match=r"has a training with learning_rate 0.01, got 0.02; choose another folder"):
        sweep_convolutions([0, 5], replace(settings, learning_rate=0.02), *sets, tmp_path)


def test_sweep_refuses_the_folder_of_a_plain_training_and_bad_numbers(tiny_settings, sets, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "fit.json").write_text('{"trainable_convolutions": 5}')
    with pytest.raises(ValueError, match=r"has a training with trainable_convolutions 5, got \[0, 5\]; choose another"):
        sweep_convolutions([0, 5], tiny_settings, *sets, tmp_path)
    for numbers in ([], [5, 5], [-1], [True], [2.0], 5, "5"):
        with pytest.raises(ValueError, match="sweep_trainable_convolutions: got .* list of different numbers >= 0"):
            sweep_convolutions(numbers, tiny_settings, *sets, tmp_path)
    with pytest.raises(ValueError, match="trainable_convolutions: got 99, must be 0 to 13"):
        sweep_convolutions([0, 99], tiny_settings, *sets, tmp_path / "new")
    assert not (tmp_path / "new").exists()
