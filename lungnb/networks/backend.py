"""Keras, loaded without the notices that TensorFlow writes to stderr as it loads, and set up for the machine.

Import `keras` from here in this package: it takes seconds, so only modules that need it at once do so.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from lungnb.networks.machine import has_fast_bf16

# For what TensorFlow would log later on; what it writes while loading heeds no setting.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow takes oneDNN's convolutions by itself on some processors only, and trains at half the speed on the others.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what C++ code writes to stderr; let it through if the block fails."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(saved, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


with quiet_stderr():
    try:
        import keras
    except (ImportError, ValueError) as error:
        chosen = os.environ.get("KERAS_BACKEND", "of ~/.keras/keras.json")
        raise RuntimeError(
            f"the Keras backend {chosen} cannot be loaded ({error}); install it, or set KERAS_BACKEND=tensorflow."
        ) from error

    # The layout that TensorFlow's convolutions on CPUs take, and that GPUs' matrix units read without transposing,
    # whatever ~/.keras/keras.json says.
    keras.config.set_image_data_format("channels_last")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            # Take GPU memory as it is needed, so that two notebooks can be open at once.
            tf.config.experimental.set_memory_growth(device, True)


def fix_seeds(seed: int, deterministic: bool = False) -> None:
    """Seed Python, NumPy and Keras; with `deterministic`, make TensorFlow's operations give the same bits each time.

    JAX's do so anyway on a CPU.
    """
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        tf.config.experimental.enable_op_determinism()


def device_name() -> str:
    """Return what the networks run on, such as `CPU, 2 cores` or a GPU's name."""
    if keras.backend.backend() == "tensorflow":
        found = tf.config.list_physical_devices("GPU")
        if found:
            name = tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU")
            return name if len(found) == 1 else f"{len(found)} of {name}"
    return f"CPU, {os.cpu_count()} cores"


def gpus() -> list[str]:
    """Return the names of the GPUs to train on."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")] if on_tensorflow else []


def on_all_gpus() -> AbstractContextManager:
    """Return the scope in which to make a model, and its optimizer's variables, that is to be trained on all GPUs.

    Each has a copy of the network and sees its part of the batch, and all take the same step (MirroredStrategy). With
    one GPU or none, the scope does nothing.
    """
    found = gpus()
    return _mirrored(*found).scope() if len(found) > 1 else nullcontext()


@cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


def devices_of(model: keras.Model) -> int:
    """Return on how many devices a model is trained."""
    return getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1)


def fastest_precision() -> str:
    """Return the precision to train in that is the fastest here: half the bits where the processor is made for it."""
    return "mixed_bfloat16" if gpus() or has_fast_bf16() else "float32"


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build layers inside the block in a precision such as `mixed_bfloat16`; restore Keras's policy after it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def worth_compiling() -> bool:
    """Whether to compile training with XLA: JAX knows no other way; TensorFlow was slower with it on CPUs.

    `benchmarks/training.py` measures it.
    """
    return keras.backend.backend() == "jax"
