"""Say whether an image shows a chest: a second, small output of a network, `chest`.

A network that segments lungs marks something as lung in any picture. The classifier here compares the picture with what
the network marked in it. It sees both in coarse form only: the averages of the image, of the probability of lung p, and
of p(1 - p), which is high where the network is uncertain. It does not use features from inside the network, so that the
classifier remains valid when the network is adapted to other masks.
"""

from lungnb.networks.backend import Tensor, keras, layers

CHEST = "chest"  # the name of the output, and of the layer that computes it
POOLED_PX = 32  # side of the averages that the classifier sees
_CHANNELS = (12, 24, 32, 40)  # of its convolutions, each of which halves the side except the first
_HIDDEN = 32  # units between convolutions and output
_DROPOUT = 0.3  # strong, because it learns from drawings and is used on films


def with_chest(model: keras.Model) -> keras.Model:
    """Return a network with two outputs: its probability of lung, unchanged, and `chest`, `(batch, 1)`, 0 to 1.

    `chest` is near 1 for an upright chest film and an axial CT slice of a chest. It is untrained, and shares no weights
    with the network. If the network has that output already, return it with a new one.

    Raises ValueError if the side of the network's image is not a multiple of 32 px.

    >>> from lungnb.networks.models import build_model
    >>> with_chest(build_model("unet", size=32, filters=2, depth=1)).output_shape
    [(None, 32, 32, 1), (None, 1)]
    """
    image, probability = model.inputs[0], model.outputs[0]
    size = image.shape[1]
    if size % POOLED_PX:
        raise ValueError(f"the network takes {size} px; take one of a multiple of {POOLED_PX} px for output {CHEST}.")
    chest = classifier()(_pooled(image, probability, size // POOLED_PX))
    return keras.Model(image, [probability, chest], name=model.name)


def _pooled(image: Tensor, probability: Tensor, factor: int) -> Tensor:
    """Return the averages of image, probability and uncertainty, `(batch, 32, 32, 3)`."""
    no_lung = layers.Rescaling(-1.0, 1.0, name="no_lung")(probability)
    uncertainty = layers.Multiply(name="uncertainty")([probability, no_lung])
    maps = layers.Concatenate(name="maps")([image, probability, uncertainty])
    return layers.AveragePooling2D(factor, name="pooled")(maps)


def classifier() -> keras.Model:
    """Return an untrained classifier of pooled maps, `(batch, 32, 32, 3)`; it returns `(batch, 1)`, 0 to 1."""
    maps = x = keras.Input((POOLED_PX, POOLED_PX, 3))
    for number, channels in enumerate(_CHANNELS):
        x = layers.Conv2D(channels, 3, strides=2 if number else 1, padding="same", activation="relu")(x)
    x = layers.Dropout(_DROPOUT)(layers.Flatten()(x))  # flat, because the place of a lung tells how the film lies
    x = layers.Dropout(_DROPOUT)(layers.Dense(_HIDDEN, activation="relu")(x))
    return keras.Model(maps, layers.Dense(1, activation="sigmoid")(x), name=CHEST)


def has_chest(model: keras.Model) -> bool:
    """Return whether a network has the second output `chest`."""
    return len(model.outputs) == 2 and model.output_names[1] == CHEST and tuple(model.outputs[1].shape) == (None, 1)


def pooled_part(model: keras.Model) -> keras.Model:
    """Return the part of a network with `chest` that computes the pooled maps which the classifier sees."""
    return keras.Model(model.inputs[0], model.get_layer("pooled").output)


def probability_part(model: keras.Model) -> keras.Model:
    """Return the part of a network that computes the probability of lung; it shares the weights of the network."""
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name) if has_chest(model) else model
