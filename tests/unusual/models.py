"""Models that users bring."""

import shutil

from lungnb.formats.images import write_png
from lungnb.networks.backend import keras
from lungnb.segmentation.predict import segment
from unusual import Result, case, explained_by, film


def network(outputs=1, activation="sigmoid", channels=1, size=64, inside=None):
    """Return a small network."""
    image = keras.Input((size, size, channels))
    features = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    features = inside(features) if inside else features
    return keras.Model(image, keras.layers.Conv2D(outputs, 1, activation=activation)(features))


def judge_model(file, *words):
    """Segment a film: right if there is a mask of probabilities, explained if an error has the words."""
    write_png(file.parent / "film.png", film())
    try:
        probability = segment(file.parent / "film.png", file).probability
    except (ValueError, OSError) as error:
        return Result("wrong", str(error)) if "whole" in str(error) else explained_by(error, *words)
    return Result("right" if 0 <= probability.min() <= probability.max() <= 1 else "wrong", "")


@case
def code_inside(folder):
    """A model with a Lambda layer."""
    network(inside=keras.layers.Lambda(lambda values: values / 2.0)).save(folder / "a.keras")
    return judge_model(folder / "a.keras", "Lambda")


@case
def own_layer(folder):
    """A model with a layer of its own."""

    @keras.saving.register_keras_serializable("unusual")
    class Own(keras.layers.Layer):
        def call(self, values):
            return values

    network(inside=Own()).save(folder / "a.keras")
    return judge_model(folder / "a.keras", "Own")


@case
def hdf5(folder):
    """An HDF5 model called .keras."""
    network().save(folder / "a.h5")
    shutil.move(folder / "a.h5", folder / "a.keras")
    return judge_model(folder / "a.keras", "HDF5")


@case
def weights_alone(folder):
    """Weights without their model."""
    network().save_weights(folder / "a.weights.h5")
    return judge_model(folder / "a.weights.h5", "weights")


@case
def two_classes(folder):
    """A model with two outputs."""
    network(2, "softmax").save(folder / "a.keras")
    return judge_model(folder / "a.keras", "2")


@case
def colour_input(folder):
    """A model that takes colours."""
    network(channels=3).save(folder / "a.keras")
    return judge_model(folder / "a.keras", "3")


@case
def logits(folder):
    """A model that gives logits."""
    network(activation=None).save(folder / "a.keras")
    return judge_model(folder / "a.keras", "sigmoid")


@case
def any_size(folder):
    """A model of no fixed size."""
    network(size=None).save(folder / "a.keras")
    return judge_model(folder / "a.keras", "size")
