"""U-Net and its relatives as Keras functional models, each arranged like the figure in its paper.

Every model maps `(batch, height, width, 1)`, grey from 0 to 1, to `(batch, height, width, 1)`, the probability of lung.
The last layer of a stage has its name: encoder_1 .. encoder_<depth>, bridge, decoder_<depth> .. decoder_1, lung.
A compact U-Net has one stage less, because patches do the first halving.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from lungnb.networks.backend import Tensor, keras, layers
from lungnb.networks.blocks import double_convolution, head, recurrent_convolution, residual_unit, transformer_block
from lungnb.networks.encoders import pretrained_features, take_weights
from lungnb.networks.model_files import refuse_logits, refuse_unreadable
from lungnb.settings import SHIPPED, TITLES

Unit = Callable[[Tensor, int, str], Tensor]  # of input, channels and name
Gate = Callable[[Tensor, Tensor, str], Tensor]  # of skip, coarser level and name

_PATCH = 2  # side of the patches that a compact U-Net reads as one, px
_MAX_WIDENING = 8  # most channels of a compact U-Net, as a multiple of `filters`


def unet(
    size: int = 256, filters: int = 16, depth: int = 4, encoder: str | None = None, weights: str | None = None,
    skips: bool = True,
) -> keras.Model:  # fmt: skip
    """Return a U-Net: convolutions down, convolutions up, and skip connections that carry the detail across.

    After Ronneberger, Fischer and Brox (2015), https://arxiv.org/abs/1505.04597, but with batch normalisation, and with
    same padding, so that the mask has the image's size.

    Args:
        size: side of the square input, px; a multiple of 2**depth.
        filters: channels at the top; doubled at each halving.
        depth: how often the resolution is halved.
        encoder: a network of `keras.applications` that replaces the way down, such as `mobilenetv2`; see `encoders`.
        weights: initial weights of the encoder: `imagenet`, `phantom`, a `.keras` or `.weights.h5` file, or None for
            random ones. `build_model` loads weights of a whole network.
        skips: whether the way up gets the skip connections. Notebook 03 shows what they do by leaving them out.
    """
    inputs, widths = _input(size, filters, depth)
    features = None
    if encoder is not None:
        by_level = pretrained_features(inputs, encoder, weights, depth)
        if 0 not in by_level:  # if a backbone begins with a halving, plain convolutions carry the resolution across
            by_level[0] = double_convolution(inputs, filters, "top")
        features = [layers.Identity(name=f"encoder_{level + 1}")(by_level[level]) for level in range(depth)]
        features.append(by_level[depth])
    x = u_shape(double_convolution, widths, inputs, features, skips=skips)
    return keras.Model(inputs, head(x), name="unet")


def r2unet(size: int = 256, filters: int = 16, depth: int = 4, steps: int = 2) -> keras.Model:
    """Return an R2U-Net: a U-Net with residual units of convolutions that take their own output `steps` times.

    After Alom and others (2018), https://arxiv.org/abs/1802.06955. The steps of a recurrent layer share one kernel, so
    that the number of parameters does not depend on `steps`. In the paper, the input and the last output have a kernel
    each; here they share it. The other arguments are those of `unet`.
    """
    if steps < 0:
        raise ValueError(f"steps must be at least 0, not {steps}.")

    def unit(x: Tensor, channels: int, name: str) -> Tensor:
        shortcut = layers.Conv2D(channels, 1, name=f"{name}_shortcut")(x)
        x = recurrent_convolution(shortcut, channels, steps, f"{name}_recurrent_1")
        x = recurrent_convolution(x, channels, steps, f"{name}_recurrent_2")
        return layers.Add(name=name)([shortcut, x])

    inputs, widths = _input(size, filters, depth)
    return keras.Model(inputs, head(u_shape(unit, widths, inputs)), name="r2unet")


def resunet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return a ResUNet: a U of pre-activation residual units; strides halve the resolution, upsampling doubles it.

    After Zhang, Liu and Wang (2018), https://arxiv.org/abs/1711.10684. The arguments are those of `unet`.
    """
    inputs, widths = _input(size, filters, depth)
    x, skips = inputs, []
    for level in range(1, depth + 1):
        x = residual_unit(x, widths[level - 1], f"encoder_{level}", stride=1 if level == 1 else 2)
        skips.append(x)
    x = residual_unit(x, widths[depth], "bridge", stride=2)
    for level in range(depth, 0, -1):
        x = layers.UpSampling2D(name=f"decoder_{level}_up")(x)
        x = layers.Concatenate(name=f"decoder_{level}_skip")([x, skips.pop()])
        x = residual_unit(x, widths[level - 1], f"decoder_{level}")
    return keras.Model(inputs, head(x), name="resunet")


def attention_unet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return an attention U-Net: the coarser level decides, pixel by pixel, how much of each skip connection to use.

    After Oktay and others (2018), https://arxiv.org/abs/1804.03999. The arguments are those of `unet`.
    """

    def gate(skip: Tensor, coarse: Tensor, name: str) -> Tensor:
        channels = skip.shape[-1]
        fine = layers.Conv2D(channels, 2, strides=2, use_bias=False, name=f"{name}_gate_skip")(skip)
        coarse = layers.Conv2D(channels, 1, name=f"{name}_gate_coarse")(coarse)
        x = layers.ReLU(name=f"{name}_gate_relu")(layers.Add(name=f"{name}_gate_add")([fine, coarse]))
        x = layers.Conv2D(1, 1, activation="sigmoid", name=f"{name}_gate")(x)
        x = layers.UpSampling2D(interpolation="bilinear", name=f"{name}_gate_up")(x)
        return layers.Multiply(name=f"{name}_gated")([skip, x])

    inputs, widths = _input(size, filters, depth)
    return keras.Model(inputs, head(u_shape(double_convolution, widths, inputs, gate=gate)), name="attention_unet")


def transunet(size: int = 256, filters: int = 16, depth: int = 4, blocks: int = 4) -> keras.Model:
    """Return a U-Net with a transformer at its bottom, where every place attends to every other.

    After Chen and others (2021), https://arxiv.org/abs/2102.04306, but small enough to train from scratch. A depthwise
    convolution encodes the places (Chu and others 2021, https://arxiv.org/abs/2102.10882). Unlike a learned table, it
    works for any image size. `blocks` is the number of transformer blocks; the other arguments are those of `unet`.
    """
    if blocks < 0:
        raise ValueError(f"blocks must be at least 0, not {blocks}.")

    def bridge(x: Tensor, channels: int, name: str) -> Tensor:
        x = double_convolution(x, channels, f"{name}_convolution")
        places = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_places")(x)
        x = layers.Add(name=f"{name}_placed")([x, places])
        height, width = x.shape[1:3]
        x = layers.Reshape((height * width, channels), name=f"{name}_tokens")(x)
        for block in range(1, blocks + 1):
            x = transformer_block(x, channels, f"{name}_block_{block}")
        x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)
        return layers.Reshape((height, width, channels), name=name)(x)

    inputs, widths = _input(size, filters, depth)
    return keras.Model(inputs, head(u_shape(double_convolution, widths, inputs, bridge=bridge)), name="transunet")


def compact_unet(size: int = 256, filters: int = 16, depth: int = 4) -> keras.Model:
    """Return a U-Net that reads and writes patches of 2x2 pixels, which takes a quarter of the computation.

    A strided convolution turns each patch into one pixel, and a transposed one turns each output pixel into the mask of
    a patch (after Shi and others 2016, https://arxiv.org/abs/1609.05158). Channels stop doubling at eight times
    `filters`, because a U-Net has most of its weights at the bottom. The arguments are those of `unet`.
    """
    inputs, _ = _input(size, filters, depth)
    patches = layers.Conv2D(_PATCH**2, _PATCH, strides=_PATCH, use_bias=False, name="patches")(inputs)
    widths = [filters * min(2**level, _MAX_WIDENING) for level in range(depth)]
    return keras.Model(inputs, head(u_shape(double_convolution, widths, patches), _PATCH), name="compact_unet")


def _input(size: int, filters: int, depth: int) -> tuple[Tensor, list[int]]:
    """Return the input image, and the channels from top to bottom; raise ValueError for an argument out of range."""
    for name, value in (("filters", filters), ("depth", depth)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}.")
    if size < 1 or size % 2**depth:
        near = max(round(size / 2**depth), 1) * 2**depth
        raise ValueError(f"size must be a multiple of {2**depth} for a depth of {depth}: not {size}, but {near}.")
    return keras.Input((size, size, 1), name="image"), [filters * 2**level for level in range(depth + 1)]


def u_shape(
    unit: Unit, widths: Sequence[int], x: Tensor, features: Sequence[Tensor] | None = None,
    bridge: Unit | None = None, gate: Gate | None = None, skips: bool = True,
) -> Tensor:  # fmt: skip
    """Return the U that the networks share, made of `unit`; `widths` are the channels from top to bottom.

    `features` of an encoder replace the way down: the skip connections from top to bottom, and last the input of the
    bottom. `bridge` replaces `unit` at the bottom. `gate` changes a skip connection. Without `skips` there are none.
    """
    *upper, bottom = widths
    if features:
        *details, x = features
    else:
        details = []
        for level, channels in enumerate(upper, 1):
            details.append(unit(x, channels, f"encoder_{level}"))
            x = layers.MaxPooling2D(name=f"encoder_{level}_pool")(details[-1])
    x = (bridge or unit)(x, bottom, "bridge")
    for level in range(len(upper), 0, -1):
        channels, stage = upper[level - 1], f"decoder_{level}"
        detail = gate(details.pop(), x, stage) if gate else details.pop()
        x = layers.Conv2DTranspose(channels, 2, strides=2, name=f"{stage}_up")(x)
        if skips:
            x = layers.Concatenate(name=f"{stage}_skip")([x, detail])
        x = unit(x, channels, stage)
    return x


_NETWORKS: tuple[Callable[..., keras.Model], ...] = (unet, resunet, r2unet, attention_unet, transunet, compact_unet)
MODELS = {network.__name__: network for network in _NETWORKS}


def add_network(build: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    """Make a network of your own known by the name of its function, until Python ends; return the function.

    `build(size, filters, depth)` returns a Keras model from `(size, size, 1)`, grey from 0 to 1, to `(size, size, 1)`,
    the probability of lung. Use layers of Keras, because lungnb runs no code from a model's file. `build_model` and
    `train` raise ValueError for other shapes and layers, and for values that are no probabilities. If the function's
    source changes, `train` trains again. Raises ValueError for a name that a network of lungnb has, or that is none, as
    that of a lambda.
    """
    name = getattr(build, "__name__", "")
    if not name.isidentifier() or name in {network.__name__ for network in _NETWORKS}:
        raise ValueError(f"{name or build}: give the function another name, which no network of lungnb has.")
    MODELS[name] = build
    TITLES.setdefault(name, name)
    return build


def build_model(name: str, **arguments: int | str | None) -> keras.Model:
    """Return the model called `name`, built with `arguments` (size, filters, depth, ...).

    `lungnb.networks.build_network(settings, name)` takes the arguments from settings. Without an encoder, `weights` are
    the initial weights of the whole network: a file, or `phantom` for the weights that lungnb ships, which fit a
    `compact_unet` of 16 filters and depth 5.

    Raises ValueError for an unknown name, other shapes, and an encoder or weights that do not fit this model.
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {name!r}.")
    if arguments.get("encoder") and name != "unet":
        raise ValueError(f"an encoder needs the model unet, not {name}.")
    weights = None if arguments.get("encoder") else arguments.pop("weights", None)
    model = MODELS[name](**arguments)
    if MODELS[name] not in _NETWORKS:
        if not isinstance(model, keras.Model) or not model.built:
            raise ValueError(f"{name}: must return keras.Model(inputs, outputs), as the networks of lungnb do.")
        if (shape := model.output_shape) != model.input_shape or shape[-1] != 1:
            raise ValueError(f"{name}: must map (size, size, 1) to the same shape, not to {shape[1:]}.")
        refuse_unreadable(model, name)  # now, and not after a long training
        refuse_logits(model, name)
    if weights:
        take_weights(model, SHIPPED if weights == "phantom" else Path(str(weights)))
    return model
