"""U-Net, ResUNet and R2U-Net as Keras functional models, each laid out like the figure of its paper.

Every model maps `(batch, height, width, 1)`, grey from 0 to 1, to `(batch, height, width, 1)`, the probability of lung.
The layer that ends a stage is named after it: encoder_1 .. encoder_<depth>, bridge, decoder_<depth> .. decoder_1, lung.
"""

from __future__ import annotations

from collections.abc import Callable

from lungnb.backend import keras

layers = keras.layers

# Keras's default of 0.99 remembers 100 steps, more than a quick run on a small data set makes in an epoch or five.
_BATCH_NORM_MOMENTUM = 0.9


def unet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return a U-Net: convolutions down, convolutions up, and skips across that carry the detail.

    As Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, with same padding, so that the mask has
    the image's size, and batch normalisation.

    Args:
        size: side of the square input, px; a multiple of 2**depth.
        filters: channels at the top; doubled at each halving.
        depth: how often the resolution is halved.
    """
    return _u_shape("unet", _double_convolution, size, filters, depth)


def r2unet(size: int = 256, filters: int = 16, depth: int = 4, steps: int = 2) -> keras.Model:
    """Return an R2U-Net: a U-Net whose convolutions feed back on themselves `steps` times, with shortcuts.

    As Alom and others (2018), https://arxiv.org/abs/1802.06955. One kernel serves all the steps of a recurrent layer,
    so that the number of parameters does not depend on `steps`. Other arguments as in `unet`.
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, not {steps}.")

    def unit(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
        shortcut = layers.Conv2D(channels, 1, name=f"{name}_shortcut")(x)
        x = _recurrent_convolution(shortcut, channels, steps, f"{name}_recurrent_1")
        x = _recurrent_convolution(x, channels, steps, f"{name}_recurrent_2")
        return layers.Add(name=name)([shortcut, x])

    return _u_shape("r2unet", unit, size, filters, depth)


def resunet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return a ResUNet: a U of pre-activation residual units, halved by strides and doubled by plain upsampling.

    As Zhang, Liu and Wang (2018), https://arxiv.org/abs/1711.10684. Arguments as in `unet`.
    """
    _check(size, filters, depth)
    inputs = x = keras.Input((size, size, 1), name="image")
    skips = []
    for level in range(1, depth + 1):
        x = _residual_unit(x, filters * 2 ** (level - 1), f"encoder_{level}", stride=1 if level == 1 else 2)
        skips.append(x)
    x = _residual_unit(x, filters * 2**depth, "bridge", stride=2)
    for level in range(depth, 0, -1):
        x = layers.UpSampling2D(name=f"decoder_{level}_up")(x)
        x = layers.Concatenate(name=f"decoder_{level}_skip")([x, skips.pop()])
        x = _residual_unit(x, filters * 2 ** (level - 1), f"decoder_{level}")
    return keras.Model(inputs, _head(x), name="resunet")


def _u_shape(name: str, unit: Callable, size: int, filters: int, depth: int) -> keras.Model:
    """Return the U that U-Net and R2U-Net share, made of `unit(x, channels, name)`."""
    _check(size, filters, depth)
    inputs = x = keras.Input((size, size, 1), name="image")
    skips = []
    for level in range(1, depth + 1):
        x = unit(x, filters * 2 ** (level - 1), f"encoder_{level}")
        skips.append(x)
        x = layers.MaxPooling2D(name=f"encoder_{level}_pool")(x)
    x = unit(x, filters * 2**depth, "bridge")
    for level in range(depth, 0, -1):
        channels = filters * 2 ** (level - 1)
        x = layers.Conv2DTranspose(channels, 2, strides=2, name=f"decoder_{level}_up")(x)
        x = layers.Concatenate(name=f"decoder_{level}_skip")([x, skips.pop()])
        x = unit(x, channels, f"decoder_{level}")
    return keras.Model(inputs, _head(x), name=name)


def _double_convolution(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Convolution, normalisation, ReLU; twice."""
    for i in (1, 2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv_{i}")(x)
        x = _batch_norm(f"{name}_norm_{i}")(x)
        x = layers.ReLU(name=f"{name}_relu_1" if i == 1 else name)(x)
    return x


def _recurrent_convolution(x: keras.KerasTensor, channels: int, steps: int, name: str) -> keras.KerasTensor:
    """One convolution applied to its input, then `steps` times to the sum of its input and its own last output."""
    convolution = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")
    relu = layers.ReLU(name=f"{name}_relu")
    state = relu(convolution(x))
    for step in range(1, steps + 1):
        state = relu(convolution(layers.Add(name=f"{name}_add_{step}")([x, state])))
    # Normalised once, at the end: the steps have different statistics, and one set of moving averages for all of them
    # makes a network that works while training and fails afterwards.
    return _batch_norm(f"{name}_norm")(state)


def _residual_unit(x: keras.KerasTensor, channels: int, name: str, stride: int = 1) -> keras.KerasTensor:
    """Normalisation, ReLU, convolution; twice; plus a projected shortcut. The image itself is not normalised first."""
    shortcut = x
    if stride > 1:
        # The same as a stride in the 1x1 convolution, which crashes oneDNN in TensorFlow 2.21 when training on a CPU.
        shortcut = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut_stride")(shortcut)
    shortcut = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_shortcut")(shortcut)
    shortcut = _batch_norm(f"{name}_shortcut_norm")(shortcut)
    if name != "encoder_1":
        x = layers.ReLU(name=f"{name}_relu_1")(_batch_norm(f"{name}_norm_1")(x))
    x = layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv_1")(x)
    x = layers.ReLU(name=f"{name}_relu_2")(_batch_norm(f"{name}_norm_2")(x))
    x = layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv_2")(x)
    return layers.Add(name=name)([shortcut, x])


def _batch_norm(name: str) -> layers.Layer:
    return layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=name)


def _head(x: keras.KerasTensor) -> keras.KerasTensor:
    # float32 also under mixed precision: a loss near 0 needs the digits.
    return layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="lung")(x)


def _check(size: int, filters: int, depth: int) -> None:
    """Raise a ValueError that names the argument out of range."""
    for name, value in (("filters", filters), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    if size < 1 or size % 2**depth:
        near = max(round(size / 2**depth), 1) * 2**depth
        raise ValueError(f"size must be a multiple of {2**depth} for a depth of {depth}: not {size}, but {near}.")


MODELS: dict[str, Callable[..., keras.Model]] = {"unet": unet, "resunet": resunet, "r2unet": r2unet}


def build_model(name: str, **arguments: int) -> keras.Model:
    """Return the model called `name`, built with `arguments` (size, filters, depth, ...).

    Raises ValueError for an unknown name, listing those there are.
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {name!r}.")
    return MODELS[name](**arguments)
