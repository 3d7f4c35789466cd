"""Load Keras and TensorFlow without the notices that they write to stderr, and set them up for this machine.

Import both from here in this package. Loading takes seconds, so only modules that always need them import them. The
last two functions save memory and time where TensorFlow and Keras offer no way (see `benchmarks/training.py`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

from lungnb.networks.machine import has_fast_bf16

# Silence TensorFlow's log after loading. What it writes while loading depends on no setting.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# By default TensorFlow uses oneDNN's convolutions on some processors only, and trains at half the speed on the others.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Suppress what C++ code writes to stderr, unless the block fails."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            buffer.seek(0)
            sys.stderr.write(buffer.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


with quiet_stderr():
    try:
        import keras as keras  # offered to the package

        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise ImportError("lungnb works with tensorflow and jax only")
        # With JAX, TensorFlow need not be installed.
        if keras.backend.backend() != "jax" or find_spec("tensorflow"):
            import tensorflow as tf
        else:
            tf = None
    except (ImportError, ValueError) as error:
        chosen = os.environ.get("KERAS_BACKEND", "of ~/.keras/keras.json")
        hint = f"install it, or set KERAS_BACKEND={'jax' if chosen == 'tensorflow' else 'tensorflow'}"
        raise RuntimeError(f"the Keras backend {chosen} cannot be loaded ({error}); {hint}.") from error

    # TensorFlow's convolutions on CPUs need this layout, and GPUs' matrix units read it without transposing. A user's
    # ~/.keras/keras.json may say otherwise.
    keras.config.set_image_data_format("channels_last")
    if tf:
        for device in tf.config.list_physical_devices("GPU"):
            # Allocate GPU memory as needed, so that two notebooks can be open at once.
            tf.config.experimental.set_memory_growth(device, True)

layers, ops, Tensor = keras.layers, keras.ops, keras.KerasTensor
HAS_TENSORFLOW = keras.backend.backend() == "tensorflow"  # otherwise JAX computes
USE_XLA = keras.backend.backend() == "jax"  # JAX needs XLA; TensorFlow trains more slowly with XLA on CPUs


def fix_seeds(seed: int, deterministic: bool = False) -> None:
    """Seed Python, NumPy and Keras; with `deterministic`, make operations return the same bits each time."""
    keras.utils.set_random_seed(seed or 2**32 - 1)  # because TensorFlow cannot shuffle by epoch after a seed of 0
    if deterministic and HAS_TENSORFLOW:  # on a CPU, JAX always returns the same bits
        tf.config.experimental.enable_op_determinism()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors, compiled by the backend."""
    return tf.function(function) if HAS_TENSORFLOW else sys.modules["jax"].jit(function)


def random_numbers(shape: tuple[int, ...], seed: tuple[int, Any]) -> Any:  # noqa: ANN401
    """Return random numbers from 0 to 1; the same seed gives the same ones, on one backend."""
    if HAS_TENSORFLOW:
        return tf.random.stateless_uniform(shape, tf.cast(tf.stack(seed), tf.int32))
    random = sys.modules["jax"].random
    return random.uniform(random.fold_in(random.key(seed[0]), seed[1]), shape)


def device_name() -> str:
    """Return the name of the device that runs networks, such as `CPU, 2 cores` or a GPU's name."""
    if HAS_TENSORFLOW and (devices := tf.config.list_physical_devices("GPU")):
        name = str(tf.config.experimental.get_device_details(devices[0]).get("device_name", "GPU"))
        return name if len(devices) == 1 else f"{len(devices)} of {name}"
    if USE_XLA and (kind := sys.modules["jax"].devices()[0].device_kind) != "cpu":
        return str(kind)
    return f"CPU, {os.cpu_count()} cores"


def gpus() -> list[str]:
    """Return the names of the GPUs to train on."""
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")] if HAS_TENSORFLOW else []


def on_all_gpus() -> AbstractContextManager[object]:
    """Return the scope in which to make a model, and its optimizer's variables, to train it on all GPUs.

    Each GPU has a copy of the network and processes its part of the batch, and all take the same step
    (MirroredStrategy). With one GPU or none, the scope does nothing.
    """
    names = gpus()
    return _mirrored(*names).scope() if len(names) > 1 else nullcontext()


@cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


def devices_of(model: keras.Model) -> int:
    """Return the number of devices on which a model is trained."""
    return int(getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1))


def fastest_precision() -> str:
    """Return the precision in which this machine trains fastest: bfloat16 on GPUs and some processors."""
    on_gpu = gpus() if HAS_TENSORFLOW else not device_name().startswith("CPU")
    return "mixed_bfloat16" if on_gpu or has_fast_bf16() else "float32"


@contextmanager
def free_graphs() -> Iterator[None]:
    """Free the graphs that TensorFlow traced inside the block.

    TensorFlow keeps graphs with custom gradients in a table until the process ends: 60 MB for even a small training.
    """
    table: dict[str, object] = {}
    if HAS_TENSORFLOW:
        from tensorflow.python.framework import ops  # some versions may have no such table

        table = getattr(getattr(ops, "gradient_registry", None), "_registry", table)
    before = {*table}
    try:
        yield
    finally:
        for name in {*table} - before:
            if name.startswith("CustomGradient"):
                del table[name]


def fuse_batch_norm(model: keras.Model) -> None:
    """Replace the dozen operations of each batch normalisation in training by one fused operation of TensorFlow.

    On CPUs a U-Net trains 1.3 times as fast, in bfloat16 1.5 times. Results and files are the same except for rounding.
    """
    if not HAS_TENSORFLOW:
        return
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            fuse_batch_norm(layer)
        elif type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3):
            layer.call = partial(_normalised, layer)  # of this layer only, because its class name is saved


def _normalised(layer: keras.layers.Layer, x: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:
    if not (training and layer.trainable) or len(x.shape) != 4:
        return type(layer).call(layer, x, training=training, mask=mask)
    scale, offset = (tf.cast(weight, tf.float32) for weight in (layer.gamma, layer.beta))
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=layer.epsilon, is_training=True)
    count = tf.cast(tf.size(x), tf.float32) / x.shape[-1]
    variance *= (count - 1) / count  # TensorFlow returns the sample variance, Keras uses the population variance
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(layer.momentum * moving + (1 - layer.momentum) * new)
    return y
