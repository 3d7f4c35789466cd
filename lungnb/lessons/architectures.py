"""Look into networks for notebooks 03 and 08: networks at an equal budget, gates, and the channels of stages."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from lungnb.evaluation.differences import BETTER, EQUIVALENT, UNDECIDED, WORSE
from lungnb.metrics import ROUNDING
from lungnb.networks.backend import keras
from lungnb.networks.costs import stage_names
from lungnb.settings import counted, title_of

_CLEAR_GAP = 0.1  # of the mean α inside and outside the lungs


def at_equal_computing(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the best validation Dice of each network at an equal budget, in the order of `curves`.

    `curves` are histories with a column `computed`, the computing up to each epoch. The budget is that of the cheapest
    network for all its epochs. Columns: `epochs`, the number of epochs that fit into the budget; `dice`, the best
    validation Dice in these epochs, missing if none fits; and `dice_of_all`, the best in all epochs.

    Example:
        >>> columns = {"epoch": [0, 1], "val_dice": [0.8, 0.9]}
        >>> small, large = (pd.DataFrame(columns | {"computed": [each, 2 * each]}) for each in (1, 2))
        >>> at_equal_computing({"small": small, "large": large})["epochs"].to_dict()
        {'small': 2, 'large': 1}
    """
    budget, rows = min(curve["computed"].max() for curve in curves.values()), {}
    for name, curve in curves.items():
        affordable = curve[curve["computed"] <= budget * (1 + ROUNDING)]
        reached = affordable["val_dice"].max() if len(affordable) else np.nan
        rows[name] = {"epochs": len(affordable), "dice": reached, "dice_of_all": curve["val_dice"].max()}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"epochs": int})


def say_budgets(table: pd.DataFrame) -> str:
    """Return which network is ahead with equal epochs and with equal computing, from `at_equal_computing`.

    Example:
        >>> columns = {"epochs": [2, 12], "dice": [0.8, 0.9], "dice_of_all": [0.97, 0.9]}
        >>> print(say_budgets(pd.DataFrame(columns, index=["unet", "compact_unet"])))
        With equal epochs, U-Net is ahead in this training: validation Dice 0.970.
        With the computing that Compact U-Net needs for 12 epochs, Compact U-Net is ahead: 0.900 after 12 epochs.
    """
    cheapest, by_epochs, by_computing = (str(table[name].idxmax()) for name in ("epochs", "dice_of_all", "dice"))
    epochs = table["epochs"]
    return (
        f"With equal epochs, {title_of(by_epochs)} is ahead in this training: validation Dice "
        f"{table['dice_of_all'].max():.3f}.\nWith the computing that {title_of(cheapest)} needs for {epochs[cheapest]} "
        f"epochs, {title_of(by_computing)} is ahead: {table['dice'].max():.3f} after {epochs[by_computing]} epochs."
    )


def say_chance(summary: pd.DataFrame) -> str:
    """Return which networks differ from the best one by more than seeds do, from a table of `seed_summary`.

    A network differs if each of its seeds is worse than each seed of the best network.

    Example:
        >>> columns = {"seeds": [2, 2], "dice": [0.97, 0.94], "dice_low": [0.96, 0.93], "dice_high": [0.98, 0.95]}
        >>> print(say_chance(pd.DataFrame(columns, index=["U-Net", "Compact U-Net"])))
        U-Net has the highest mean Dice, 0.970, and its seeds lie from 0.960 to 0.980.
        Every seed is lower: Compact U-Net (mean 0.030 lower).
    """
    best = str(summary["dice"].idxmax())
    mean, low, high = summary.loc[best, ["dice", "dice_low", "dice_high"]]
    lines = [f"{best} has the highest mean Dice, {mean:.3f}, and its seeds lie from {low:.3f} to {high:.3f}."]
    others = summary.drop(best)
    is_lower = others["dice_high"] < low
    for start, rows in (("Some seeds are as good", others[~is_lower]), ("Every seed is lower", others[is_lower])):
        names = [f"{name} (mean {mean - dice:.3f} lower)" for name, dice in rows["dice"].items()]
        lines += [f"{start}: {', '.join(names)}."] if names else []
    return "\n".join(lines)


def say_tests(tests: pd.DataFrame, best: str) -> str:
    """Return how many other networks `best` is better than, from a table of `paired_tests`."""
    against = tests[(tests["first"] == best) | (tests["second"] == best)]
    wins = np.where(against["first"] == best, BETTER, WORSE)
    better, alike, undecided = ((against["conclusion"] == each).sum() for each in (wins, EQUIVALENT, UNDECIDED))
    return (
        f"{title_of(best)} against {counted(len(against), 'other network')}: better than {better} of them, not "
        f"relevantly different from {alike}, undecided for {undecided}."
    )


def say_price(summary: pd.DataFrame, margin: float) -> str:
    """Return a sentence that names the network with the fewest multiply-accumulates within `margin` of the best Dice.

    Example:
        >>> columns = {"dice": [0.977, 0.976], "multiplications": [200e6, 150e6]}
        >>> print(say_price(pd.DataFrame(columns, index=["U-Net", "Compact U-Net"]), 0.005))
        Within 0.005 of the best, U-Net (0.977), the cheapest is Compact U-Net: 0.976 at 0.75 times the computing.
    """
    best = summary.loc[str(summary["dice"].idxmax())]
    near = summary[summary["dice"] >= best["dice"] - margin]
    cheapest = near.loc[str(near["multiplications"].idxmin())]
    if cheapest.name == best.name:
        return f"The best, {best.name} ({best['dice']:.3f}), is also the cheapest within {margin:g} of it."
    return (
        f"Within {margin:g} of the best, {best.name} ({best['dice']:.3f}), the cheapest is {cheapest.name}: "
        f"{cheapest['dice']:.3f} at {cheapest['multiplications'] / best['multiplications']:.2f} times the computing."
    )


def gate_openings(network: keras.Model, image: np.ndarray) -> dict[int, np.ndarray]:
    """Return how far each gate of an attention U-Net is open, 0 to 1, by level, for an image `(height, width)`.

    Level 1 is the finest. The image is as from `load_batches`: 0 to 1, with the size of the network's input.
    """
    names = [layer.name for layer in network.layers if layer.name.endswith("_gate")]
    gates = keras.Model(network.input, [network.get_layer(name).output for name in names])
    values = gates(np.asarray(image, np.float32)[None, ..., None], training=False)
    return {int(name.split("_")[1]): np.asarray(value)[0, ..., 0] for name, value in zip(names, values, strict=True)}


def say_gates(openings: Mapping[int, np.ndarray], truth: np.ndarray) -> str:
    """Return how far gates are open inside and outside the lungs, a line for each level, from `gate_openings`.

    `truth` is the ground truth `(height, width)`, bool, with the size of the network's input.
    """
    if not openings:
        return "The attention U-Net is not among the networks."
    lines = []
    for level, opening in sorted(openings.items()):
        step = truth.shape[0] // opening.shape[0]
        lung = truth[::step, ::step]
        inside, outside = (opening[place].mean() if place.any() else np.nan for place in (lung, ~lung))
        more = "inside" if inside > outside else "outside"
        verdict = f"opens more {more}" if abs(inside - outside) > _CLEAR_GAP else "hardly tells lung from background"
        lines.append(f"Level {level}: mean α {inside:.2f} inside the lungs, {outside:.2f} outside. It {verdict}.")
    return "\n".join(lines)


class Channel(NamedTuple):
    """The channel of a stage that is most like the mask, and its correlation with the mask."""

    values: np.ndarray
    correlation: float


def lung_channels(network: keras.Model, image: np.ndarray, truth: np.ndarray) -> dict[str, Channel]:
    """Return for each stage of a network, and for its output, the channel that is most like the lungs in an image.

    The image `(height, width)` is scaled to 0 to 1 and has the size of the network's input, and so has `truth`, bool.
    """
    names = [*stage_names(network), "lung"]
    stages = keras.Model(network.input, [network.get_layer(name).output for name in names])
    outputs = stages(np.asarray(image, np.float32)[None, ..., None], training=False)
    return {name: _most_like(np.asarray(output)[0], truth) for name, output in zip(names, outputs, strict=True)}


def _most_like(channels: np.ndarray, truth: np.ndarray) -> Channel:
    """Return the channel of `(height, width, channels)` with the highest correlation with a mask of that size."""
    step = truth.shape[0] // channels.shape[0]
    shares = truth.reshape(channels.shape[0], step, channels.shape[1], step).mean(axis=(1, 3)).ravel()
    flat = channels.reshape(-1, channels.shape[2])
    spread = flat.std(axis=0) * shares.std()
    covariance = ((flat - flat.mean(axis=0)) * (shares - shares.mean())[:, None]).mean(axis=0)
    correlations = covariance / np.where(spread > 0, spread, np.inf)
    best = int(correlations.argmax())
    return Channel(channels[..., best], float(correlations[best]))


def say_channels(channels: Mapping[str, Channel]) -> str:
    """Return how like the mask the channels of `lung_channels` are: at the first stage, the bottom and the last one.

    Example:
        >>> found = {"encoder_1": 0.31, "bridge": 0.7, "decoder_1": 0.98, "lung": 0.99}
        >>> print(say_channels({name: Channel(np.zeros((2, 2)), r) for name, r in found.items()}))
        The correlation with the mask is 0.31 at encoder_1, 0.70 at the bottom (bridge), and 0.99 at the end (lung).
    """
    first, *_, last = channels
    bottom = [*channels][len(channels) // 2 - 1]
    r = [f"{channels[name].correlation:.2f}" for name in (first, bottom, last)]
    return (
        f"The correlation with the mask is {r[0]} at {first}, {r[1]} at the bottom ({bottom}), and {r[2]} at the end "
        f"({last})."
    )
