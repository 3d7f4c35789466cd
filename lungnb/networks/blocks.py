"""The parts of which the networks consist: units of convolutions, a transformer block, and the last layers."""

from lungnb.networks.backend import Tensor, keras, layers

# Keras's default of 0.99 averages over about 100 steps, which are several epochs of a quick run on a small data set.
BATCH_NORM_MOMENTUM = 0.9

# The last convolution starts with weights this many times smaller than usual, and its output is multiplied by this.
# Adam changes a weight by about the learning rate per step, whatever its size. So the network starts as usual, but its
# probabilities become confident this many times faster. With few channels they would need hundreds of steps.
_SHARPNESS = 4.0

_CHANNELS_PER_HEAD = 32  # of attention


def double_convolution(x: Tensor, channels: int, name: str) -> Tensor:
    """Apply convolution, normalisation and ReLU, twice."""
    for i in (1, 2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv_{i}")(x)
        x = batch_norm(f"{name}_norm_{i}")(x)
        x = layers.ReLU(name=f"{name}_relu_1" if i == 1 else name)(x)
    return x


def recurrent_convolution(x: Tensor, channels: int, steps: int, name: str) -> Tensor:
    """Apply one convolution to the input, then `steps` times to the sum of the input and its last output."""
    convolution = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")
    relu = layers.ReLU(name=f"{name}_relu")
    state = relu(convolution(x))
    for step in range(1, steps + 1):
        state = relu(convolution(layers.Add(name=f"{name}_add_{step}")([x, state])))
    # Normalise only at the end, because the steps have different statistics. With one set of moving averages for all
    # steps, the network works in training and fails afterwards.
    return batch_norm(f"{name}_norm")(state)


def residual_unit(x: Tensor, channels: int, name: str, stride: int = 1) -> Tensor:
    """Apply normalisation, ReLU and convolution, twice; add a projected shortcut. The image is not normalised first."""
    shortcut = x
    if stride > 1:
        # This equals a stride in the 1x1 convolution, which crashes oneDNN in TensorFlow 2.21 when training on a CPU.
        shortcut = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut_stride")(shortcut)
    shortcut = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_shortcut")(shortcut)
    shortcut = batch_norm(f"{name}_shortcut_norm")(shortcut)
    if name != "encoder_1":
        x = layers.ReLU(name=f"{name}_relu_1")(batch_norm(f"{name}_norm_1")(x))
    x = layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv_1")(x)
    x = layers.ReLU(name=f"{name}_relu_2")(batch_norm(f"{name}_norm_2")(x))
    x = layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv_2")(x)
    return layers.Add(name=name)([shortcut, x])


def transformer_block(x: Tensor, channels: int, name: str) -> Tensor:
    """Apply attention between all places, then a perceptron at each; normalise the input of both, and add it again."""
    heads = max(channels // _CHANNELS_PER_HEAD, 1)
    attention = layers.MultiHeadAttention(heads, channels // heads, use_bias=False, name=f"{name}_attention")
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    x = layers.Add(name=f"{name}_add_1")([x, attention(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    y = layers.Dense(2 * channels, activation="gelu", name=f"{name}_dense_1")(y)
    y = layers.Dense(channels, name=f"{name}_dense_2")(y)
    return layers.Add(name=f"{name}_add_2")([x, y])


def batch_norm(name: str) -> keras.Layer:
    """Return a batch normalisation whose averages follow a small data set quickly."""
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=name)


def head(x: Tensor, patch: int = 1) -> Tensor:
    """Return the probability of lung in every pixel; each place of `x` stands for `patch` x `patch` pixels."""
    # Use float32 also in mixed precision, because a loss near 0 needs the digits.
    small = keras.initializers.VarianceScaling(1 / _SHARPNESS**2, "fan_avg", "uniform")
    options = {"kernel_initializer": small, "dtype": "float32", "name": "lung_conv"}
    convolution = layers.Conv2D if patch == 1 else layers.Conv2DTranspose
    x = convolution(1, patch, strides=patch, **options)(x)
    x = layers.Rescaling(_SHARPNESS, dtype="float32", name="lung_sharper")(x)
    return layers.Activation("sigmoid", dtype="float32", name="lung")(x)
