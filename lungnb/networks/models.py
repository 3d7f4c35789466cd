"""U-Net and its kin as Keras functional models, each laid out like the figure of its paper.

Every model maps `(batch, height, width, 1)`, grey from 0 to 1, to `(batch, height, width, 1)`, the probability of lung.
The layer that ends a stage is named after it: encoder_1 .. encoder_<depth>, bridge, decoder_<depth> .. decoder_1, lung.
In a compact U-Net the first halving is that by patches, so that there is a level less.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lungnb.networks.backend import keras
from lungnb.networks.costs import layer_calls
from lungnb.networks.encoders import pretrained_features
from lungnb.networks.weights import take_weights
from lungnb.settings import SHIPPED

layers = keras.layers

# Keras's default of 0.99 remembers 100 steps, more than a quick run on a small data set makes in an epoch or five.
_BATCH_NORM_MOMENTUM = 0.9

# The last convolution's weights begin this much smaller than usual, and what it gives is multiplied by it. Adam moves a
# weight by about the learning rate a step, whatever its size: a network begins as it would, and becomes sure this much
# faster. With a few channels it would take hundreds of steps until one that is right is also sure.
_SHARPNESS = 4.0

_PATCH = 2  # side of the patches that a compact U-Net sees as one, px


def unet(
    size: int = 256, filters: int = 16, depth: int = 4, encoder: str | None = None, weights: str | None = None
) -> keras.Model:
    """Return a U-Net: convolutions down, convolutions up, and skips across that carry the detail.

    As Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, with same padding, so that the mask has
    the image's size, and batch normalisation.

    Args:
        size: side of the square input, px; a multiple of 2**depth.
        filters: channels at the top; doubled at each halving.
        depth: how often the resolution is halved.
        encoder: a network of `keras.applications` in place of the way down, such as `mobilenetv2`; see `encoders`.
        weights: the encoder's: `imagenet`, `phantom`, a `.keras` or `.weights.h5` file, or None for random ones. Those
            of a whole network are taken by `build_model`.
    """
    if encoder is None:
        return _u_shape("unet", _double_convolution, size, filters, depth)

    def way_down(image: keras.KerasTensor) -> list[keras.KerasTensor]:
        features = pretrained_features(image, encoder, weights, depth)
        # Where a backbone begins with a halving, plain convolutions carry the image's own resolution across.
        top = features.get(0, None)
        top = _double_convolution(image, filters, "top") if top is None else top
        skips = [top, *(features[level] for level in range(1, depth))]
        named = [layers.Identity(name=f"encoder_{level}")(x) for level, x in enumerate(skips, 1)]
        return [*named, features[depth]]

    return _u_shape("unet", _double_convolution, size, filters, depth, way_down=way_down)


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


def attention_unet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return an attention U-Net: each skip is weighted, pixel by pixel, by what the coarser level takes for relevant.

    As Oktay and others (2018), https://arxiv.org/abs/1804.03999. Arguments as in `unet`.
    """

    def gate(skip: keras.KerasTensor, coarse: keras.KerasTensor, name: str) -> keras.KerasTensor:
        channels = skip.shape[-1]
        own = layers.Conv2D(channels, 2, strides=2, use_bias=False, name=f"{name}_gate_skip")(skip)
        other = layers.Conv2D(channels, 1, name=f"{name}_gate_coarse")(coarse)
        x = layers.ReLU(name=f"{name}_gate_relu")(layers.Add(name=f"{name}_gate_add")([own, other]))
        x = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_gate")(x)
        x = layers.UpSampling2D(interpolation="bilinear", name=f"{name}_gate_up")(x)
        return layers.Multiply(name=f"{name}_gated")([skip, x])

    return _u_shape("attention_unet", _double_convolution, size, filters, depth, gate=gate)


def transunet(size: int = 256, filters: int = 16, depth: int = 4, blocks: int = 4) -> keras.Model:
    """Return a U-Net with a transformer at its bottom, in which every place looks at every other.

    As Chen and others (2021), https://arxiv.org/abs/2102.04306, small enough to be trained from scratch: what is known
    of pictures comes from the convolutions above, and places are told apart by a depthwise convolution (Chu and others
    2021, https://arxiv.org/abs/2102.10882), which works for any size, not by a table that would have to be learnt.

    Args:
        size: side of the square input, px; a multiple of 2**depth.
        filters: channels at the top; doubled at each halving.
        depth: how often the resolution is halved.
        blocks: transformer blocks at the bottom, of attention and perceptron each.
    """
    if blocks < 0:
        raise ValueError(f"blocks must be at least 0, not {blocks}.")

    def bridge(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
        x = _double_convolution(x, channels, f"{name}_convolution")
        places = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_places")(x)
        x = layers.Add(name=f"{name}_placed")([x, places])
        height, width = x.shape[1:3]
        x = layers.Reshape((height * width, channels), name=f"{name}_tokens")(x)
        for block in range(1, blocks + 1):
            x = _transformer_block(x, channels, f"{name}_block_{block}")
        x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
        return layers.Reshape((height, width, channels), name=name)(x)

    return _u_shape("transunet", _double_convolution, size, filters, depth, bridge=bridge)


def compact_unet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return a U-Net that reads and writes patches of 2x2 pixels, for a quarter of the work.

    A strided convolution makes a pixel of each patch, a transposed one makes the patch's mask of what the U, half the
    image's size, says of it; such patches are Shi and others' (2016), https://arxiv.org/abs/1609.05158. Channels stop
    doubling at eight times `filters`: more of them, at the bottom, are most of a U-Net's weights.

    Args:
        size: side of the square input, px; a multiple of 2**depth.
        filters: channels at the top of the U; doubled at each halving, up to eight times as many.
        depth: how often the resolution is halved, that by patches included.
    """
    _check(size, filters, depth)
    inputs = keras.Input((size, size, 1), name="image")
    patches = layers.Conv2D(_PATCH**2, _PATCH, strides=_PATCH, use_bias=False, name="patches")(inputs)
    widths = [filters * min(2**level, 8) for level in range(depth)]
    return keras.Model(inputs, _head(_u(_double_convolution, widths, patches), _PATCH), name="compact_unet")


def _u_shape(
    name: str,
    unit: Callable,
    size: int,
    filters: int,
    depth: int,
    **parts: Callable,
) -> keras.Model:
    """Return a network of a U as large as the image, whose channels double at each halving; the rest as in `_u`."""
    _check(size, filters, depth)
    inputs = keras.Input((size, size, 1), name="image")
    widths = [filters * 2**level for level in range(depth + 1)]
    return keras.Model(inputs, _head(_u(unit, widths, inputs, **parts)), name=name)


def _u(
    unit: Callable,
    widths: Sequence[int],
    x: keras.KerasTensor,
    *,
    way_down: Callable | None = None,
    bridge: Callable | None = None,
    gate: Callable | None = None,
) -> keras.KerasTensor:
    """Return the U that the networks share, made of `unit(x, channels, name)`; `widths`: channels from top to bottom.

    `way_down(image)` gives what the levels carry across and, last, what reaches the bottom; `bridge` stands there in
    place of `unit`; `gate(skip, coarse, name)` changes what is carried across.
    """
    *levels, bottom = widths
    *skips, x = (way_down or partial(_way_down, unit, levels))(x)
    x = (bridge or unit)(x, bottom, "bridge")
    for level in range(len(levels), 0, -1):
        channels, stage = levels[level - 1], f"decoder_{level}"
        skip = gate(skips.pop(), x, stage) if gate else skips.pop()
        x = layers.Conv2DTranspose(channels, 2, strides=2, name=f"{stage}_up")(x)
        x = layers.Concatenate(name=f"{stage}_skip")([x, skip])
        x = unit(x, channels, stage)
    return x


def _way_down(unit: Callable, levels: Sequence[int], x: keras.KerasTensor) -> list[keras.KerasTensor]:
    """Return the output of each level's unit, of so many channels, and the last one halved once more."""
    skips = []
    for level, channels in enumerate(levels, 1):
        skips.append(unit(x, channels, f"encoder_{level}"))
        x = layers.MaxPooling2D(name=f"encoder_{level}_pool")(skips[-1])
    return [*skips, x]


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


def _transformer_block(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
    """Attention of every place to every other, then a perceptron at each; both normalised before and added to `x`."""
    heads = max(channels // 32, 1)
    attention = layers.MultiHeadAttention(heads, channels // heads, use_bias=False, name=f"{name}_attention")
    seen = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    x = layers.Add(name=f"{name}_add_1")([x, attention(seen, seen)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    y = layers.Dense(2 * channels, activation="gelu", name=f"{name}_dense_1")(y)
    y = layers.Dense(channels, name=f"{name}_dense_2")(y)
    return layers.Add(name=f"{name}_add_2")([x, y])


def _batch_norm(name: str) -> layers.Layer:
    return layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=name)


def _head(x: keras.KerasTensor, patch: int = 1) -> keras.KerasTensor:
    """Return the probability of lung in each of the pixels, `patch` by `patch`, that each place of `x` stands for."""
    # float32 also under mixed precision: a loss near 0 needs the digits.
    small = keras.initializers.VarianceScaling(1 / _SHARPNESS**2, "fan_avg", "uniform")
    own = {"kernel_initializer": small, "dtype": "float32", "name": "lung_conv"}
    x = layers.Conv2DTranspose(1, patch, strides=patch, **own)(x) if patch > 1 else layers.Conv2D(1, 1, **own)(x)
    x = layers.Rescaling(_SHARPNESS, dtype="float32", name="lung_sharper")(x)
    return layers.Activation("sigmoid", dtype="float32", name="lung")(x)


def _check(size: int, filters: int, depth: int) -> None:
    """Raise a ValueError that names the argument out of range."""
    for name, value in (("filters", filters), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    if size < 1 or size % 2**depth:
        near = max(round(size / 2**depth), 1) * 2**depth
        raise ValueError(f"size must be a multiple of {2**depth} for a depth of {depth}: not {size}, but {near}.")


MODELS: dict[str, Callable[..., keras.Model]] = {
    "unet": unet,
    "resunet": resunet,
    "r2unet": r2unet,
    "attention_unet": attention_unet,
    "transunet": transunet,
    "compact_unet": compact_unet,
}


def build_model(name: str, **arguments: int | str | None) -> keras.Model:
    """Return the model called `name`, built with `arguments` (size, filters, depth, ...).

    `weights`, where there is no encoder, are those that the whole network begins with: a file's, or with `phantom`
    those that lungnb ships, of a `compact_unet` of 16 filters and depth 5.

    Raises ValueError for an unknown name, listing those there are, for an encoder that is not for this model, and for
    weights that are not.
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {name!r}.")
    if arguments.get("encoder") and name != "unet":
        raise ValueError(f"an encoder goes with unet alone, not with {name}.")
    weights = None if arguments.get("encoder") else arguments.pop("weights", None)
    model = MODELS[name](**arguments)
    if weights:
        take_weights(model, SHIPPED if weights == "phantom" else Path(weights))
    return model


def count_multiplications(model: keras.Model) -> int:
    """Return the multiply-accumulates that a model takes for one image, in convolutions, dense layers and attention.

    A layer that is used several times, as in an R2U-Net, counts as often. Normalisation, activation and resizing, which
    add a few percent, do not count.
    """
    calls, _ = layer_calls(model)
    return sum(_multiplications(call.layer, call.inputs[0].shape, call.outputs[0].shape) for call in calls)


def _multiplications(layer: keras.Layer, taken: tuple, given: tuple) -> int:
    """Return the multiply-accumulates of one use of a layer, from the shapes it takes and gives."""
    if isinstance(layer, keras.Model):
        return count_multiplications(layer)
    if isinstance(layer, layers.MultiHeadAttention):
        places, channels = taken[1:]
        return 4 * places * channels**2 + 2 * places**2 * channels  # four projections, two products of all with all
    if isinstance(layer, layers.Conv2DTranspose):
        return math.prod(taken[1:3]) * math.prod(layer.kernel.shape)  # each pixel it takes meets the whole kernel
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
        return math.prod(given[1:-1]) * math.prod(layer.kernel.shape)
    return 0
