"""Interpret what notebook 11 shows: the operators of an exported network, rounding, and the times of engines."""

from pathlib import Path

import numpy as np
import pandas as pd

from lungnb.engines.engines import Engine
from lungnb.masks import LUNG_THRESHOLD

_OPERATORS = {
    "Conv": "convolution; batch normalisation is folded into its weights",
    "ConvTranspose": "doubles the side, on the way up",
    "Relu": "sets negative numbers to 0",
    "MaxPool": "halves the side, on the way down",
    "Concat": "joins a skip connection",
    "Sigmoid": "turns logits to probabilities",
    "Reshape": "arranges numbers anew",
    "Add": "adds two numbers at each place",
    "Mul": "multiplies two numbers at each place",
}


def operator_table(file: str | Path) -> pd.DataFrame:
    """Return the kinds of operators in an ONNX file: how many there are of each, and what the main kinds do."""
    import onnx

    kinds = pd.Series([node.op_type for node in onnx.load(file).graph.node], dtype=str).value_counts()
    return pd.DataFrame({"number": kinds, "what": kinds.index.map(_OPERATORS).fillna("")}).rename_axis("operator")


def compare_pixels(first: Engine, second: Engine, images: np.ndarray) -> pd.DataFrame:
    """Return how two engines differ in each pixel of uint8 images `(count, size, size)`.

    `difference` is the difference of both probabilities. `from_half` is the distance of the first engine's probability
    from the threshold. `flipped` says whether the masks differ.
    """
    batches = [image[None, :, :, None].astype(np.float32) / 255 for image in images]
    one, other = (np.concatenate([engine(batch) for batch in batches]).ravel() for engine in (first, second))
    pixels = pd.DataFrame({"difference": np.abs(one - other), "from_half": np.abs(one - LUNG_THRESHOLD)})
    return pixels.assign(flipped=(one > LUNG_THRESHOLD) != (other > LUNG_THRESHOLD))


def say_rounding(pixels: pd.DataFrame) -> str:
    """Return how many pixels rounding can move across the threshold, from a table of `compare_pixels`.

    Example:
        >>> pixels = {"difference": [1e-7, 2e-7], "from_half": [0.4, 1e-8], "flipped": [False, True]}
        >>> print(say_rounding(pd.DataFrame(pixels)))
        The probabilities differ by at most 2e-07.
        1 of 2 pixels is at most this far from 0.5. The masks differ in 1 pixel.
    """
    largest, flipped = pixels["difference"].max(), int(pixels["flipped"].sum())
    near = int((pixels["from_half"] <= largest).sum())
    return (
        f"The probabilities differ by at most {largest:.0e}.\n{near:,} of {len(pixels):,} pixels "
        f"{'is' if near == 1 else 'are'} at most this far from {LUNG_THRESHOLD}. The masks differ in {flipped:,} "
        f"pixel{'' if flipped == 1 else 's'}."
    )


def say_exports(table: pd.DataFrame) -> str:
    """Return the fastest engine and the lowest Dice with the masks of Keras, from a table of `compare_exports`.

    Example:
        >>> rows = {"engine": ["keras, model.predict", "keras, compiled", "onnx"], "milliseconds": [50.0, 5.0, 2.5]}
        >>> print(say_exports(pd.DataFrame(rows | {"form": ["keras", "keras", "onnx"], "mean_dice": 1.0, "said": ""})))
        The fastest here is onnx (onnx) with 2.5 ms an image.
        That is 20 times as fast as model.predict, and 2.0 times as fast as the compiled Keras.
        The lowest mean Dice with the masks of Keras is 1.00000.
    """
    shown = table[table["said"] == ""].set_index("engine")
    fastest = shown.sort_values("milliseconds").iloc[0]
    ratio = shown["milliseconds"] / fastest["milliseconds"]
    return (
        f"The fastest here is {fastest.name} ({fastest['form']}) with {fastest['milliseconds']:.1f} ms an image.\n"
        f"That is {ratio['keras, model.predict']:.0f} times as fast as model.predict, and "
        f"{ratio['keras, compiled']:.1f} times as fast as the compiled Keras.\n"
        f"The lowest mean Dice with the masks of Keras is {shown['mean_dice'].min():.5f}."
    )
