"""One step of the training: its device, its precision, and how many views fit in memory at once."""

import os
import subprocess
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bac_utils.backbones import CONVOLUTIONS
from bac_utils.settings import Settings

MEMORY_SHARE = 0.75
"""Largest share of the device's memory that a step may take by the estimate; the rest is for its error."""
GIB = 2**30


@dataclass(frozen=True)
class StepPlan:
    """How a batch is computed: all views at once, or in parts that fit in memory."""

    device: str
    memory: int | None
    """Memory of the device, bytes; None if unknown."""
    mixed_precision: bool
    batch_size: int
    views_at_once: int
    """Views whose gradient is computed at once, 1 to `batch_size`."""
    estimate: int
    """Estimated memory of a step with this number of views, bytes."""

    def __str__(self) -> str:
        """Return two lines for a notebook."""
        total = f" of {_readable(self.memory)}" if self.memory else ""
        views = f"all {self.batch_size} views of a batch at once"
        if self.views_at_once < self.batch_size:
            views = f"the {self.batch_size} views of a batch in parts of {self.views_at_once}"
        return (
            f"Device: {self.device}; mixed precision: {'on' if self.mixed_precision else 'off'}.\n"
            f"Estimated memory of a training step: {_readable(self.estimate)}{total}, {views}."
        )


def _readable(size: int) -> str:
    """Return a size in bytes as GiB, or as MiB if it is smaller than one GiB."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.0f} MiB"


def plan_step(model: keras.Model, settings: Settings) -> StepPlan:
    """Choose how many views are computed at once: the largest number that needs `MEMORY_SHARE` of the memory.

    Args:
        model: From `build_model`, in full precision.
        settings: `batch_size` and `mixed_precision` are used.

    Returns:
        The plan. If the memory of the device is unknown, all views of a batch are computed at once.
    """
    device, memory = _device()
    fixed, per_view = step_bytes(in_mixed_precision(model) if settings.mixed_precision else model)
    views = settings.batch_size
    if memory is not None:
        views = int(np.clip((MEMORY_SHARE * memory - fixed) // per_view, 1, settings.batch_size))
    return StepPlan(device, memory, settings.mixed_precision, settings.batch_size, views, int(fixed + views * per_view))


def step_bytes(model: keras.Model) -> tuple[int, int]:
    """Estimate the memory of a training step with Adam.

    The frozen layers need the input of one layer and its output before and after the activation. The trained layers
    keep all outputs for the gradient, in which two more of the largest size are needed. Peaks measured with TensorFlow
    2.21 on a CPU were 0.8 to 1.2 times the estimate, plus 0.1 GiB; nothing was measured on a GPU.

    Args:
        model: Functional, with layers of one output each.

    Returns:
        Bytes of the weights with their gradients and moments, and bytes for each view.
    """
    outputs = [_bytes(layer.output, layer) for layer in model.layers]
    first = next(i for i, layer in enumerate(model.layers) if layer.trainable_weights)
    frozen = [
        sum(_bytes(tensor, layer) for tensor in keras.tree.flatten(layer.input)) + 2 * size
        for layer, size in zip(model.layers[:first], outputs, strict=False)
    ]
    kept = outputs[max(first - 1, 0) :]
    weights, trained = (4 * sum(int(np.prod(w.shape)) for w in ws) for ws in (model.weights, model.trainable_weights))
    return weights + 3 * trained, max([*frozen, sum(kept) + 2 * max(kept)])


def _bytes(tensor: Any, layer: keras.layers.Layer) -> int:
    """Return the size of one view's part of a tensor in the precision that the layer computes in."""
    return int(np.prod(tensor.shape[1:])) * np.dtype(layer.compute_dtype).itemsize


def in_mixed_precision(model: keras.Model) -> keras.Model:
    """Return a copy of a model that computes in float16 up to its last convolution.

    Weights and the head stay in float32 (Micikevicius et al., "Mixed precision training", ICLR 2018), so that the
    logits and sums over the last map keep their precision. No global policy of Keras is changed.

    Args:
        model: Functional, in full precision.

    Returns:
        A copy with equal weights, to be trained with `keras.optimizers.LossScaleOptimizer`.
    """
    last = max(i for i, layer in enumerate(model.layers) if isinstance(layer, CONVOLUTIONS))
    early = {layer.name for layer in model.layers[: last + 1]}

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        policy = "mixed_float16" if layer.name in early else "float32"
        return type(layer).from_config(layer.get_config() | {"dtype": policy})

    mixed = keras.models.clone_model(model, clone_function=copied)
    mixed.set_weights(model.get_weights())
    return mixed


class InParts(keras.Model):
    """A model that computes the gradient of a batch in parts, with less memory and the same result.

    The gradient is that of the whole batch, except for the dropout masks, the batch statistics of trained batch
    normalisation, and rounding. (Keras's `gradient_accumulation_steps` counts parts across the smaller last batch of an
    epoch, and its steps are lost where `LossScaleOptimizer` skips one.)
    """

    views_at_once = 1

    def train_step(self, data: Any) -> dict:
        """Compute the gradient part by part, and take one step."""
        views, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        number, variables = tf.shape(views)[0], self.trainable_variables

        def add_part(start: tf.Tensor, loss: tf.Tensor, gradients: list) -> tuple:
            part = slice(start, start + self.views_at_once)
            share = tf.cast(tf.shape(labels[part])[0], tf.float32) / tf.cast(number, tf.float32)
            with tf.GradientTape() as tape:
                logits = self(views[part], training=True)
                of_part = share * self.compute_loss(views[part], labels[part], logits, weights[part])
                scaled = self.optimizer.scale_loss(of_part)
            added = tape.gradient(scaled, variables)
            return start + self.views_at_once, loss + of_part, [a + b for a, b in zip(gradients, added, strict=True)]

        zeros = [tf.zeros(v.shape, v.dtype) for v in variables]
        _, loss, gradients = tf.while_loop(
            lambda start, *_: start < number, add_part, (0, 0.0, zeros), parallel_iterations=1
        )
        self.optimizer.apply(gradients, variables)
        self._loss_tracker.update_state(loss, sample_weight=number)
        return self.get_metrics_result()


def _device() -> tuple[str, int | None]:
    """Return the name of the device that TensorFlow computes on, and its memory in bytes, None if unknown."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"), _gpu_memory()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = None
    return f"CPU, {os.cpu_count()} cores", memory


def _gpu_memory() -> int | None:
    """Return the memory of the smallest visible NVIDIA GPU, bytes; None if `nvidia-smi` does not report it."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        table = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    found = [line.split(", ") for line in table.splitlines()]
    mebibytes = [int(size) for *names, size in found if size.isdigit() and (visible == [""] or {*names} & {*visible})]
    return min(mebibytes) * 2**20 if mebibytes else None
