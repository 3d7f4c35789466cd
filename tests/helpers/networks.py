"""A network of one layer, an encoder of five convolutions, a picture of two blocks, a training that only begins."""

import numpy as np

from lungnb.networks.backend import keras


def bright(size=32):
    """A model of one layer that takes what is brighter than half for lung."""
    inputs = keras.Input((size, size, 1))
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 1, 1), 40.0), np.array([-20.0])])
    return model


def five_layers(include_top, weights, input_shape):
    """Return a network with a feature map at each of five strides, built as those of `keras.applications` are."""
    assert not include_top and weights is None
    features = image = keras.Input(input_shape)
    for _ in range(5):
        features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(features)
        features = keras.layers.BatchNormalization()(features)
        features = keras.layers.ReLU()(features)
    return keras.Model(image, features)


class Begun(Exception):
    """Raised in place of training."""


BLOCKS = np.zeros((60, 100), np.uint8)  # wider than high
BLOCKS[15:45, 10:40] = 255
BLOCKS[20:50, 60:90] = 255
