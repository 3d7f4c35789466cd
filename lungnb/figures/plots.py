"""Draw learning curves and the scores of networks; each function returns the figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from lungnb.figures.theme import COLORS, MARKERS, draw_boxes, draw_curves, places_of, score_title, subplots, themed
from lungnb.metrics import FAILED_DICE, TOLERANCE_MM, TOLERANCE_PERCENT, Counts
from lungnb.settings import title_of

_FITTING = 24  # characters below a panel of `score_boxes`


@themed
def learning_curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """Draw loss, accuracy and Dice over the epochs. Each model has a colour and a dash; training curves are faint."""
    figure, axes = subplots(1, 3, figsize=(12, 4.2))
    for axis, score in zip(axes, ("loss", "accuracy", "dice"), strict=True):
        draw_curves(axis, histories, f"val_{score}", suffix=", validation")
        draw_curves(axis, histories, score, suffix=", training", alpha=0.65, linewidth=1)
        axis.set_title(score_title(score))
    for name, place in places_of([*histories]).items():
        best = histories[name].iloc[histories[name]["val_loss"].argmin()]
        color = COLORS[place % len(COLORS)]
        axes[0].plot(best["epoch"] + 1, best["val_loss"], "o", color=color, markeredgecolor="black")
    axes[0].set_title("Loss (dot: the epoch that is kept)")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


@themed
def split_panels(histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> Figure:
    """Draw loss, IoU and Dice (rows) of training, validation and test (columns). Each model has a colour and a dash.

    For training and validation, draw the means over images against the epochs, from `read_history` by model. For the
    test, draw each image as a point, and a box with a diamond at the mean, from rows of `evaluate` with a column
    `model`. If there is no test split, take the validation images instead.
    """
    figure, axes = subplots(3, 3, figsize=(12, 10))
    for axis, (score, column) in zip(axes.flat, _panel_names(scores), strict=True):
        _draw_panel(axis, score, column, histories, scores)
    for row in axes:  # so that training and validation have one scale
        row[0].sharey(row[1])
        row[0].autoscale(axis="y")
    if len(histories) > 1:
        entries = axes[0, 0].get_legend_handles_labels()
        figure.legend(*entries, loc="outside lower center", ncols=len(histories), frameon=False)
    return figure


@themed
def single_panels(histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> dict[str, Figure]:
    """Draw a score of training, validation or test. Return the panels of `split_panels` by names like `dice_test`."""
    figures = {}
    for score, column in _panel_names(scores):
        figures[f"{score}_{column}"], axis = subplots(figsize=(5.4, 4))
        _draw_panel(axis, score, column, histories, scores)
        if len(histories) > 1 and column in ("train", "validation"):
            axis.legend(fontsize=10)
    return figures


def _panel_names(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Return score and column of each panel that `_draw_panel` can draw, row by row."""
    split = scores["split"].iloc[0]
    columns = ("train", "validation", "test" if split == "test" else f"{split}_images")
    return [(score, column) for score in ("loss", "iou", "dice") for column in columns]


def _draw_panel(axis: Axes, score: str, column: str, histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> None:
    """Draw one panel: curves over the epochs, or the scores of every image."""
    if column in ("train", "validation"):
        draw_curves(axis, histories, score if column == "train" else f"val_{score}")
        axis.set_title(f"{score_title(score)}, {'training' if column == 'train' else column}")
    else:
        draw_boxes(axis, scores, score, [*histories])
        images, split = scores["id"].nunique(), scores["split"].iloc[0]
        axis.set(title=f"{score_title(score)}, {split}", ylabel=f"{images} images (diamond: mean)")


@themed
def score_boxes(table: pd.DataFrame) -> Figure:
    """Draw the scores of every image as box and points, one panel per score, one colour per model."""
    figure, axes = subplots(1, 4, figsize=(12.8, 4))
    for axis, name in zip(axes, ("dice", "iou", "precision", "recall"), strict=True):
        draw_boxes(axis, table, name, [*table["model"].unique()])
        axis.set_title(score_title(name))
        _fit_names(axis, [*table["model"].unique()])
    split = f"{table['split'].iloc[0]} " if "split" in table else ""
    figure.suptitle(f"Scores of each of {table['id'].nunique()} {split}images", fontsize=12)
    return figure


def _fit_names(axis: Axes, models: Sequence[str]) -> None:
    """Turn the networks' names below a panel if they do not fit beside each other."""
    if len(models) * max(len(title_of(name)) for name in models) > _FITTING:
        plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


@themed
def distance_boxes(table: pd.DataFrame) -> Figure:
    """Draw the distances between borders of every image, one panel per score, one colour per model.

    The box shows median and quartiles. A mean would say little, because the distance of one empty mask is the diagonal.
    """
    figure, axes = subplots(1, 3, figsize=(10.5, 4))
    tolerance = f"{TOLERANCE_MM:g} mm" if table["unit"].iloc[0] == "mm" else f"{TOLERANCE_PERCENT:g} %"
    unit = "mm" if table["unit"].iloc[0] == "mm" else "% of the longer side"
    labels = {"hd95": unit, "assd": unit, "nsd": f"share of borders within {tolerance}"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        draw_boxes(axis, table, name, [*table["model"].unique()], has_mean=False)
        axis.set(title=score_title(name), ylabel=label)
        _fit_names(axis, [*table["model"].unique()])
    failed = (table["dice"] < FAILED_DICE).groupby(table["model"], sort=False).sum()
    listed = ", ".join(f"{title_of(str(name))} {count}" for name, count in failed.items())
    figure.suptitle(f"Distances of {table['id'].nunique()} images; failed masks: {listed}", fontsize=12)
    return figure


@themed
def score_against_cost(
    comparison: pd.DataFrame, bars: str = "95 % interval", last: str = "milliseconds_per_image"
) -> Figure:
    """Draw mean Dice against parameters, training time and time an image. `bars` names the range that bars show.

    `last` is the column of the last panel: `milliseconds_per_image`, or `multiplications`, which no other work changes.
    """
    costs = {"parameters": "parameters", "training_minutes": "training time (minutes)"}
    costs[last] = {"multiplications": "multiply-accumulates per image"}.get(last, "time per image (ms)")
    figure, axes = subplots(1, 3, figsize=(11, 3.8), sharey=True)
    places = places_of([*map(str, comparison.index)])
    for axis, (column, label) in zip(axes, costs.items(), strict=True):
        for name, row in zip(places, comparison.to_dict("records"), strict=True):
            error = [[row["dice"] - row["dice_low"]], [row["dice_high"] - row["dice"]]]
            color, marker = COLORS[places[name] % len(COLORS)], MARKERS[places[name] % len(MARKERS)]
            axis.errorbar(row[column], row["dice"], error, fmt=marker, color=color, markersize=8, capsize=4, label=name)
        axis.set(xlabel=label, xlim=(0, comparison[column].max() * 1.25))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        is_count = column in ("parameters", "multiplications")
        axis.xaxis.set_major_formatter(EngFormatter(sep=" ") if is_count else "{x:g}")
    axes[0].set_ylabel(f"mean Dice, {bars}")
    entries = axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside lower center", ncols=len(comparison), frameon=False)
    return figure


@themed
def seed_scores(tables: Mapping[str, pd.DataFrame] | pd.DataFrame) -> Figure:
    """Draw how far the seeds of each network are from the mean of the first network, a panel for each table.

    `tables` are those of `compare_seeds`, by the titles of the panels, or one table without a title. The grey band
    reaches from the lowest seed of the first network to the highest. A line is the mean of a network.
    """
    tables = {"": tables} if isinstance(tables, pd.DataFrame) else tables
    rows = max(table["model"].nunique() for table in tables.values())
    figure, axes = subplots(1, len(tables), figsize=(6 * len(tables), 0.5 * rows + 1.4), sharex=True, squeeze=False)
    for axis, (title, table) in zip(axes.flat, tables.items(), strict=True):
        seeds = {name: table.loc[table["model"] == name, "dice"] for name in table["model"].unique()}
        first = next(iter(seeds.values()))
        axis.axvspan(*(first.agg(["min", "max"]) - first.mean()), color="0.85", zorder=0)
        for row, (name, dice) in enumerate(seeds.items()):
            change, color = dice - first.mean(), COLORS[places_of([*seeds])[name] % len(COLORS)]
            axis.plot([change.mean()] * 2, [row - 0.3, row + 0.3], color="0.3", linewidth=2)
            axis.plot(change, [row] * len(change), "o", color=color, markersize=7, markeredgecolor="0.3")
        axis.set(yticks=range(len(seeds)), yticklabels=map(title_of, seeds), title=title)
        axis.set_xlabel(f"mean Dice minus that of {title_of(next(iter(seeds)))}")
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    return figure


@themed
def bland_altman(scores: pd.DataFrame) -> Figure:
    """Draw the difference of predicted and true area, one panel per model, one point per image.

    The difference is in percent of the mean of both areas. It is drawn over the true area as a share of the picture.
    Lines are the mean and the limits of agreement, mean ± 1.96 standard deviations (Bland and Altman 1986,
    https://doi.org/10.1016/S0140-6736(86)90837-8). One image has no limits. Images with two empty masks are left out.
    """
    models = [*scores["model"].unique()]
    places = places_of(models)
    figure, axes = subplots(1, len(models), figsize=(4 * len(models), 3.8), sharey=True, squeeze=False)
    for axis, name in zip(axes.flat, models, strict=True):
        tp, fp, fn, tn = (scores.loc[scores["model"] == name, count] for count in Counts._fields)
        gap = (200 * (fp - fn) / (2 * tp + fp + fn)).dropna()
        true_share = ((tp + fn) / (tp + fp + fn + tn))[gap.index]
        axis.scatter(true_share, gap, s=22, color=COLORS[places[name] % len(COLORS)], alpha=0.7)
        axis.axhline(0, color="0.8", linewidth=1, zorder=0)  # both areas are the same
        lines = ((0, "-"), (-1.96, "--"), (1.96, "--"))
        for shift, dash in lines if len(gap) > 1 else lines[: len(gap)]:
            level = gap.mean() + (shift * gap.std() if shift else 0)
            axis.axhline(level, color="0.3", linestyle=dash, linewidth=1)
            axis.annotate(f"{level:+.1f}", (1, level), xycoords=("axes fraction", "data"), fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        axis.set(title=title_of(name), xlabel="ground truth: lung, share of image")
    axes[0, 0].set_ylabel("predicted minus true area (%)")
    return figure


@themed
def confusion_matrices(counts: dict[str, Counts]) -> Figure:
    """Draw each model's confusion matrix, pooled over all pixels of all images, as shares of the true class."""
    figure, axes = subplots(1, len(counts), figsize=(3.4 * len(counts), 3.3), squeeze=False)
    for axis, (name, count) in zip(axes.flat, counts.items(), strict=True):
        matrix = np.array([[count.tn, count.fp], [count.fn, count.tp]], float)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        sns.heatmap(
            shares, annot=True, fmt=".2%", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axis,
            xticklabels=["not lung", "lung"], yticklabels=["not lung", "lung"],
        )  # fmt: skip
        axis.set(title=title_of(name), xlabel="prediction", ylabel="ground truth")
    return figure
