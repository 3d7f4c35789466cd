"""The second, small output of a network, `chest`, which says whether an image shows a chest.

`tools/train_chest.py` makes and trains it. It is near 1 for an upright chest film and an axial CT slice of a chest.
"""

from lungnb.networks.backend import keras

CHEST = "chest"  # the name of the output, and of the layer that computes it


def has_chest(model: keras.Model) -> bool:
    """Return whether a network has the second output `chest`."""
    return len(model.outputs) == 2 and model.output_names[1] == CHEST and tuple(model.outputs[1].shape) == (None, 1)


def probability_part(model: keras.Model) -> keras.Model:
    """Return the part of a network that computes the probability of lung; it shares the weights of the network."""
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name) if has_chest(model) else model
