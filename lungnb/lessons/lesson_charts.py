"""Charts that explain what notebooks 09 to 13 teach, mostly from invented data."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation.calibration import AUGMENTATIONS, predict_augmented
from lungnb.evaluation.probabilities import calibration_error
from lungnb.evaluation.search import RANDOM_TRIALS
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.figures.theme import COLORS, DASHES, MARKERS, subplots, themed
from lungnb.lessons.from_phantoms import left_out_changes
from lungnb.lessons.searches import BEST, BEST_DICE, SAMPLERS
from lungnb.lessons.uncertainty import confidence_examples
from lungnb.masks import LUNG_THRESHOLD
from lungnb.metrics import dice
from lungnb.phantoms.make import make_phantom
from lungnb.settings import Settings

_LOWEST_EXPONENT = -8  # of 10: distances from 0.5 that are smaller than 10^-8 are drawn at 10^-8
# For each part, the number of a phantom that clearly looks different if the part is left out.
WITHOUT_SHOWN = {
    "film": {
        "reader": 18, "tuberculosis": 9, "portable": 29, "heart": 24, "diaphragm": 9, "mediastinum": 55,
        "children": 56, "processing": 36, "labels": 64,
    },
    "wild": {"shape": 32, "pathology": 34, "tone": 38, "texture": 68, "acquisition": 14},
}  # fmt: skip


@themed
def confidence_chart() -> Figure:
    """Draw the reliability diagrams of three invented networks: over-confident, calibrated, under-confident."""
    figure, axes = subplots(1, 3, figsize=(12, 4.3), sharey=True)
    for axis, (name, table) in zip(axes, confidence_examples().items(), strict=True):
        predicted, observed = table["probability"], table["observed"]
        axis.plot([0, 1], [0, 1], color="0.5", linestyle=":")
        axis.vlines(predicted, predicted, observed, color=COLORS[1], linewidth=4, alpha=0.6)
        axis.plot(predicted, observed, "o-", color=COLORS[0])
        axis.set(title=f"{name}, error {calibration_error(table):.2f}", xlabel="probability of lung")
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes[0].set_ylabel("share that is lung")
    return figure


@themed
def augmented_masks_grid(settings: Settings, model_name: str, image_id: str) -> Figure:
    """Draw an image in changed forms, each with the network's mask and its disagreement with the first mask."""
    prepared = open_prepared(settings)
    row = next(row for row in prepared.rows(prepared.scoring_split()) if row["id"] == image_id)
    grey, _ = prepared.pair(row)
    engine = engine_of(load_model(settings.results / model_name / MODEL))
    masks = [probability > LUNG_THRESHOLD for probability in predict_augmented(engine, grey)]
    cells = []
    for (name, (change, undo)), mask in zip(AUGMENTATIONS.items(), masks, strict=True):
        title = name if name == "as it is" else f"{name}, 1 - Dice {1 - dice(masks[0], mask):.3f}"
        # Mirroring twice changes nothing, so `undo` also maps a mask onto the changed image.
        cells.append(Cell(title, change(grey), None, undo(mask)))
    return outline_grid(cells, columns=4, inches=2.7)


@themed
def sampler_chart(searches: pd.DataFrame) -> Figure:
    """Draw the best Dice over the trials, mean and quartiles, and the learning rates that each sampler tried.

    `searches` is a table of `repeat_searches`.
    """
    figure, (progress, *tried) = subplots(1, 3, figsize=(12, 4.2), width_ratios=[1.2, 1, 1])
    for index, (name, title) in enumerate(SAMPLERS.items()):
        rows, color = searches[searches["sampler"] == name], COLORS[index]
        best = rows.groupby("number")["true_best"]
        progress.plot(best.mean(), DASHES[index], color=color, label=title)
        progress.fill_between(best.mean().index, best.quantile(0.25), best.quantile(0.75), color=color, alpha=0.25)
        tried[index].scatter(rows["number"], rows["learning_rate"], s=8, color=color, alpha=0.6)
        tried[index].axhline(BEST["learning_rate"], color="0.3", linestyle=":")
        tried[index].set(title=title, xlabel="trial", ylabel="learning rate", yscale="log")
    progress.axhline(BEST_DICE, color="0.3", linestyle=":", label="best possible Dice, learning rate")
    lowest = searches.groupby(["sampler", "number"])["true_best"].quantile(0.25)
    progress.set(xlabel="trials", ylabel="true Dice of the best trial", ylim=(lowest.xs(3, level="number").min(), None))
    for axis in (progress, *tried):
        label = f"TPE learns after {RANDOM_TRIALS} trials"
        axis.axvline(RANDOM_TRIALS + 0.5, color="black", linestyle="-.", linewidth=1, label=label)
    figure.legend(*progress.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


@themed
def rounding_chart(pixels: pd.DataFrame) -> Figure:
    """Draw a histogram of the distances from the threshold, and the largest difference between two engines.

    `pixels` is a table of `compare_pixels`.
    """
    figure, axis = subplots(figsize=(8, 3.8))
    bins = np.logspace(_LOWEST_EXPONENT, np.log10(0.5), 33)
    axis.hist(pixels["from_half"].clip(lower=bins[0]), bins, color=COLORS[0])
    largest = max(pixels["difference"].max(), bins[0])
    axis.axvline(largest, color=COLORS[3], linewidth=2, label="largest difference between the engines")
    axis.set(xscale="log", yscale="log", xlabel="distance of a probability from 0.5", ylabel="pixels")
    figure.legend(loc="outside lower center", frameon=False)
    return figure


@themed
def without_grid(kind: str, *names: str) -> Figure:
    """Draw phantoms of a kind with each part that can be left out, and below them without it, with their masks.

    `kind` is `film` for the parts that films add, or `wild` for the kinds of variation of wild phantoms. With `names`,
    draw only these parts.
    """
    names, numbers = names or tuple(WITHOUT_SHOWN[kind]), WITHOUT_SHOWN[kind]
    whole = [(f"with {name}", make_phantom(numbers[name], kind=kind)) for name in names]
    parts = [("without", make_phantom(numbers[name], kind=kind, without=name)) for name in names]
    cells = [Cell(title, phantom.image, phantom.mask) for title, phantom in whole + parts]
    return outline_grid(cells, columns=len(names), inches=2.3)


@themed
def left_out_chart(table: pd.DataFrame) -> Figure:
    """Draw the change of the Dice on each data set if a part is left out. `table` is that of `leave_one_out`.

    A grey bar behind the points reaches from the lowest to the highest seed of the mean.
    """
    changes = left_out_changes(table)
    sets = [name for name in changes if name not in ("mean", "low", "high")]
    figure, axis = subplots(figsize=(9, 0.45 * len(changes) + 1.6))
    for index, name in enumerate(sets):
        style = {"marker": MARKERS[index % len(MARKERS)], "color": COLORS[index % len(COLORS)], "markersize": 8}
        axis.plot(changes[name], changes.index, linestyle="none", label=name, **style)
    axis.plot(changes["mean"], changes.index, "|", color="black", markersize=22, markeredgewidth=2, label="mean")
    if (changes["low"] < changes["high"]).any():
        of_seeds = {"color": "0.82", "linewidth": 16, "zorder": 1, "label": "mean, lowest to highest seed"}
        axis.hlines(changes.index, changes["low"], changes["high"], **of_seeds)
    axis.axvline(0, color="0.3", linewidth=1, zorder=1.5)
    axis.set(xlabel="change of the mean Dice if it is left out", ylabel="")
    axis.margins(y=0.15)
    axis.invert_yaxis()
    entries = axis.get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=len(sets) + 2, frameon=False)
    return figure
