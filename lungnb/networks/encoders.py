"""Encoders from `keras.applications` for the left half of a U-Net, and initial weights from a file."""

from pathlib import Path

from lungnb.artefacts import home
from lungnb.files import need
from lungnb.networks.backend import Tensor, keras, layers
from lungnb.networks.blocks import BATCH_NORM_MOMENTUM
from lungnb.networks.chest_output import probability_part
from lungnb.networks.model_files import check_weights, read_network

# The order of the channels (blue first in VGG16 and ResNet50) does not matter, because the three are the same.
_CAFFE = (255.0, (-103.939, -116.779, -123.68))
_TORCH = ((1 / 0.229, 1 / 0.224, 1 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225))
_Factor = float | tuple[float, ...]  # for all channels, or for each
# The name in `keras.applications`, and the scale and offset by which a channel from 0 to 1 is preprocessed.
BACKBONES: dict[str, tuple[str, _Factor, _Factor]] = {
    "mobilenetv2": ("MobileNetV2", 2.0, -1.0),
    "efficientnetv2b0": ("EfficientNetV2B0", 255.0, 0.0),  # normalises its input itself
    "vgg16": ("VGG16", *_CAFFE),
    "resnet50": ("ResNet50", *_CAFFE),
    "densenet121": ("DenseNet121", *_TORCH),
}
_MIN_SIZE, _MAX_DEPTH = 32, 5  # px, halvings: the limits of all backbones


def pretrained_features(image: Tensor, encoder: str, weights: str | None, depth: int) -> dict[int, Tensor]:
    """Return the feature maps of a backbone for a grey image, `(batch, size, size, 1)` from 0 to 1.

    `features[k]` is `(batch, size / 2**k, size / 2**k, channels)`, for k up to `depth`; most backbones have no
    `features[0]`. The backbone is one layer of the model, called `encoder`. With pretrained weights its batch
    normalisation stays frozen, because the weights rely on its statistics and small batches would spoil them
    (https://keras.io/examples/vision/image_classification_efficientnet_fine_tuning).

    Raises ValueError for an unknown `encoder` or weights that do not fit or load, FileNotFoundError without a file.
    """
    if encoder not in BACKBONES:
        raise ValueError(f"encoder must be one of {', '.join(BACKBONES)}, not {encoder!r}.")
    (_, scale, offset), size = BACKBONES[encoder], image.shape[1]
    if size < _MIN_SIZE or depth > _MAX_DEPTH:
        limits = f"images of {_MIN_SIZE} px at least and a depth of {_MAX_DEPTH} at most"
        raise ValueError(f"encoder {encoder} needs {limits}.")
    whole = _application(encoder, "imagenet" if weights == "imagenet" else None, size)
    maps = [x for x in (layer.output for layer in whole.layers) if len(x.shape) == 4 and x.shape[3] > 3]  # no image
    stages = {x.shape[1]: x for x in maps}  # the last of each size
    strides = [power for power in range(depth + 1) if size // 2**power in stages]
    network = keras.Model(whole.input, [stages[size // 2**power] for power in strides], name="encoder")
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum, layer.trainable = BATCH_NORM_MOMENTUM, weights is None  # MobileNetV2 has 0.999
    if weights and weights != "imagenet":
        take_weights(network, phantom_file(encoder, depth, size) if weights == "phantom" else Path(weights), "encoder")
    colour = layers.Concatenate(name="three_channels")([image] * 3)
    colour = layers.Rescaling(scale, offset, name="preprocessing")(colour)
    return dict(zip(strides, network(colour), strict=True))


def phantom_file(encoder: str, depth: int, size: int, window: tuple[float, float] | None = None) -> Path:
    """Return the file of the model trained on phantoms, from which `weights="phantom"` takes the encoder."""
    images = f"{size}px" + (f"_{window[0]:g}_{window[1]:g}" if window else "")
    return home() / "data" / "weights" / f"phantom_{encoder}_{depth}_{images}.keras"


def _application(encoder: str, weights: str | None, size: int) -> keras.Model:
    """Return a network of `keras.applications` without its top; Keras downloads the ImageNet weights."""
    build = getattr(keras.applications, BACKBONES[encoder][0])
    try:
        return build(include_top=False, weights=weights, input_shape=(size, size, 3))
    except Exception as error:  # Keras raises a bare Exception if the download fails
        if weights is None:
            raise
        raise ValueError(
            f"the ImageNet weights of {encoder} could not be downloaded ({error}). Without a network connection, use "
            "weights=phantom, which is trained here, or put the file that the address names into ~/.keras/models."
        ) from error


def take_weights(network: keras.Model, file: Path, part: str | None = None) -> None:
    """Copy weights into a network from a `.keras` model or from a `.weights.h5` file.

    The model's input size may differ. `part` is the name of the model's layer that has the network's structure; a
    `.weights.h5` file holds the network itself. Raises FileNotFoundError without the file, ValueError if its weights do
    not fit the network.
    """
    need(file, "train it, or name another file,")
    origin = ""
    try:
        if file.name.endswith(".weights.h5"):
            check_weights(file)
            network.load_weights(file)
        else:
            model = read_network(file)
            origin = f", but of a {model.name}, whose filters and depth must be used too"
            network.set_weights((model.get_layer(part) if part else probability_part(model)).get_weights())
    except (ValueError, OSError) as error:
        target = f"this {part} at this" if part else f"{network.name} at this width and"
        raise ValueError(f"{file}: not weights for {target} depth{origin} ({error}).") from error
