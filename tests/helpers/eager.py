"""Keras without graphs: TensorFlow takes 7 s to trace the graph of a tiny training, which takes 2.5 s without one."""

import pytest


def run_eagerly(patch: pytest.MonkeyPatch) -> None:
    """Let Keras train, evaluate and predict eagerly in this process."""
    from lungnb.networks.backend import keras

    if keras.backend.backend() == "tensorflow":
        # A property that ignores what `compile` sets it to.
        patch.setattr(keras.Model, "run_eagerly", property(lambda model: True, lambda model, value: None))
