"""Learning curves, comparison charts, and figures of a data set and of a network; each function returns the figure.

Networks differ in marker and dash as well as in colour, so that charts are legible in print (`theme`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, MaxNLocator

from lungnb.datasets.prepared import Prepared
from lungnb.figures.theme import COLORS, DASHES, MARKERS, subplots, themed
from lungnb.settings import SPLITS, title_of

if TYPE_CHECKING:
    import keras

    from lungnb.metrics import Counts


@themed
def data_overview(prepared: Prepared) -> Figure:
    """Draw how many images each split of a prepared data set has, their sizes, grey levels, and shares of lung."""
    manifest = prepared.manifest
    levels, areas = _grey_levels_and_areas(prepared)
    figure, axes = subplots(2, 2, figsize=(10, 7), layout="constrained")
    counts = manifest["split"].value_counts().reindex(SPLITS).dropna()
    axes[0, 0].bar_label(axes[0, 0].bar(counts.index, counts, color=sns.color_palette("colorblind")))
    axes[0, 0].set(title="Images in each split", xlabel="", ylabel="images")
    sizes = manifest.groupby(["width", "height"]).size().rename("images").reset_index()
    sns.scatterplot(sizes, x="width", y="height", size="images", sizes=(60, 400), legend=False, ax=axes[0, 1])
    for row in sizes.nlargest(5, "images").itertuples():
        axes[0, 1].annotate(f"  {row.images}", (row.width, row.height), va="center", fontsize=9)
    axes[0, 1].set(title="Sizes, with the number of images", xlabel="width (px)", ylabel="height (px)")
    axes[0, 1].margins(0.3)
    axes[1, 0].stairs(levels["lung"], np.arange(0, 257, 4), label="lung", linewidth=2)
    axes[1, 0].stairs(levels["rest"], np.arange(0, 257, 4), label="rest", linewidth=2, linestyle="--")
    axes[1, 0].set(title="Grey levels", xlabel="grey level (0 to 255)", ylabel="share of pixels")
    axes[1, 0].legend()
    present = [split for split in SPLITS if split in set(manifest["split"])]
    sns.boxplot(areas, x="lung", y="split", order=present, color="white", fliersize=0, width=0.5, ax=axes[1, 1])
    sns.stripplot(areas, x="lung", y="split", order=present, hue="split", hue_order=present, size=3, ax=axes[1, 1])
    axes[1, 1].set(title="Lung, as a share of the picture", xlabel="share of pixels", ylabel="")
    return figure


@themed
def architecture(model: keras.Model) -> Figure:
    """Draw a network as papers do: a box a stage, with the skip connections."""
    depth = sum(layer.name.startswith("encoder_") and layer.name[8:].isdigit() for layer in model.layers)
    down, up = ([f"{way}_{level}" for level in range(1, depth + 1)] for way in ("encoder", "decoder"))
    stages = [model.get_layer(name) for name in (*down, "bridge", *reversed(up))]
    figure, axis = subplots(figsize=(10, 4.6), layout="constrained")
    palette, places, x = sns.color_palette("colorblind"), {}, 0.0
    for index, layer in enumerate(stages):
        _, height, _, channels = layer.output.shape
        level = depth - abs(index - depth)
        box_width, box_height = 0.25 + 0.12 * np.log2(channels), 1.1 * (height / model.input_shape[1]) ** 0.5
        y = -1.25 * level
        color = palette[0] if index < depth else palette[3] if index == depth else palette[2]
        axis.add_patch(Rectangle((x, y - box_height), box_width, box_height, color=color, alpha=0.85))
        axis.text(x + box_width / 2, y + 0.08, f"{channels}", ha="center", va="bottom", fontsize=9)
        axis.text(
            x + box_width / 2, y - box_height - 0.08, f"{height}²", ha="center", va="top", fontsize=8, color="0.4"
        )
        places[layer.name] = (x, x + box_width, y - box_height / 2)
        x += box_width + 0.55
    for (_, right, y), (left, _, next_y) in zip(list(places.values()), list(places.values())[1:], strict=False):
        axis.annotate("", (left, next_y), (right, y), arrowprops={"arrowstyle": "->", "color": "0.35"})
    for level in range(1, depth + 1):
        (_, right, y), (left, _, _) = places[f"encoder_{level}"], places[f"decoder_{level}"]
        axis.annotate("", (left, y), (right, y), arrowprops={"arrowstyle": "->", "linestyle": "--", "color": "0.6"})
    axis.text(places["bridge"][0], 0.35, "skip connections", ha="center", fontsize=9, color="0.4")
    axis.set(xlim=(-0.3, x), ylim=(-1.25 * depth - 1.2, 0.8))
    axis.set_title(f"{title_of(model.name)}: channels above, resolution below; {model.count_params():,} parameters")
    axis.axis("off")
    return figure


@themed
def learning_curves(histories: dict[str, pd.DataFrame]) -> Figure:
    """Draw loss, accuracy and Dice over the epochs, a colour and dash a model; the training is faint."""
    figure, axes = subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    for axis, score in zip(axes, ("loss", "accuracy", "dice"), strict=True):
        _draw_curves(axis, histories, f"val_{score}", suffix=", validation")
        _draw_curves(axis, histories, score, suffix=", training", alpha=0.4, linewidth=1)
        axis.set_title(_score_title(score))
    for index, history in enumerate(histories.values()):
        best = history.iloc[history["val_loss"].argmin()]
        axes[0].plot(best["epoch"] + 1, best["val_loss"], "o", color=COLORS[index], markeredgecolor="black")
    axes[0].set_title("Loss (dot: the epoch that is kept)")
    handles, labels = axes[1].get_legend_handles_labels()
    pairs = [index + half for index in range(len(histories)) for half in (0, len(histories))]  # a column a model
    entries = [handles[index] for index in pairs], [labels[index] for index in pairs]
    figure.legend(*entries, loc="outside lower center", ncols=max(len(histories), 2), frameon=False)
    return figure


@themed
def split_panels(histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> Figure:
    """Draw loss, IoU and Dice (rows) of training, validation and test (columns), a colour and dash a model.

    For training and validation, draw the means over images against the epochs. For the test, draw each image as a
    point, and a box with a diamond at the mean. If there is no test split, take the validation images instead.

    Args:
        histories: by model, from `read_history`.
        scores: rows of `evaluate`, with a column `model`.
    """
    figure, axes = subplots(3, 3, figsize=(12, 10), layout="constrained")
    for axis, (score, column) in zip(axes.flat, _panels(scores), strict=True):
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
    """Return each panel of `split_panels` as a figure, by names such as `loss_train` and `dice_test`."""
    figures = {}
    for score, column in _panels(scores):
        figures[f"{score}_{column}"], axis = subplots(figsize=(5.4, 4), layout="constrained")
        _draw_panel(axis, score, column, histories, scores)
        if len(histories) > 1 and column in ("train", "validation"):
            axis.legend(fontsize=9)
    return figures


def _panels(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Return score and column of each panel, row by row."""
    split = scores["split"].iloc[0]
    columns = ("train", "validation", "test" if split == "test" else f"{split}_images")
    return [(score, column) for score in ("loss", "iou", "dice") for column in columns]


def _draw_panel(axis: Axes, score: str, column: str, histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> None:
    """Draw one panel: curves over the epochs, or the scores of every image."""
    if column in ("train", "validation"):
        _draw_curves(axis, histories, score if column == "train" else f"val_{score}")
        axis.set_title(f"{_score_title(score)}, {'training' if column == 'train' else column}")
    else:
        _draw_boxes(axis, scores, score, [*histories])
        images, split = scores["id"].nunique(), scores["split"].iloc[0]
        axis.set(title=f"{_score_title(score)}, {split}", ylabel=f"{images} images (diamond: mean)")


def _draw_curves(
    axis: Axes,
    histories: dict[str, pd.DataFrame],
    column: str,
    suffix: str = "",
    **style: float,
) -> None:
    """Draw a column of histories over the epochs, in the models' colours and dashes."""
    for index, (name, history) in enumerate(histories.items()):
        line = {"color": COLORS[index], "linestyle": DASHES[index % len(DASHES)], "label": title_of(name) + suffix}
        axis.plot(history["epoch"] + 1, history[column], **line | style)
    axis.set(xlabel="epoch", ylabel="mean over images")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def _draw_boxes(axis: Axes, scores: pd.DataFrame, score: str, models: Sequence[str]) -> None:
    """Draw a score of every image as box and points, with a diamond at the mean, in the models' colours."""
    titles = [title_of(name) for name in models]
    columns = {"data": scores.assign(model=scores["model"].map(title_of)), "x": "model", "y": score, "order": titles}
    palette = sns.color_palette("colorblind", len(models))
    box = {"fill": False, "color": "0.3", "fliersize": 0, "width": 0.5 if len(models) > 1 else 0.25}
    mean = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 7, "zorder": 5}
    sns.stripplot(**columns, hue="model", hue_order=titles, palette=palette, size=3.5, alpha=0.6, ax=axis, zorder=1)
    sns.boxplot(**columns, **box, showmeans=True, meanprops=mean, ax=axis)
    axis.set(xlabel="", ylabel="")


@themed
def score_boxes(table: pd.DataFrame, names: Sequence[str] = ("dice", "iou", "precision", "recall")) -> Figure:
    """Draw the scores of every image as box and points, a panel a score, a colour a model; a diamond is the mean."""
    figure, axes = subplots(1, len(names), figsize=(3.2 * len(names), 4), layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), names, strict=True):
        _draw_boxes(axis, table, name, [*table["model"].unique()])
        axis.set_title(_score_title(name))
        axis.tick_params(axis="x", rotation=20 if table["model"].nunique() > 1 else 0)
    figure.suptitle(f"Scores of each of {table['id'].nunique()} {table['split'].iloc[0]} images", fontsize=12)
    return figure


@themed
def score_against_cost(comparison: pd.DataFrame, bars: str = "95 % interval") -> Figure:
    """Draw mean Dice against parameters, training time and time an image; `bars` names the range that bars show."""
    costs = {
        "parameters": "parameters",
        "training_minutes": "training time (minutes)",
        "milliseconds_per_image": "time an image (ms)",
    }
    figure, axes = subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharey=True)
    for axis, (column, label) in zip(axes, costs.items(), strict=True):
        for index, (name, row) in enumerate(comparison.iterrows()):
            error = [[row["dice"] - row["dice_low"]], [row["dice_high"] - row["dice"]]]
            marker = MARKERS[index % len(MARKERS)]
            axis.errorbar(row[column], row["dice"], error, fmt=marker, markersize=8, capsize=4, label=name)
        axis.set(xlabel=label, xlim=(0, comparison[column].max() * 1.25))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.xaxis.set_major_formatter(EngFormatter(sep=" ") if column == "parameters" else "{x:g}")
    axes[0].set_ylabel(f"mean Dice, {bars}")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(comparison), frameon=False
    )
    return figure


@themed
def seed_scores(table: pd.DataFrame, score: str = "dice") -> Figure:
    """Draw a table of `compare_seeds`, a row a model: the mean score of each seed, and a line at their mean."""
    figure, axis = subplots(figsize=(8, 0.7 * table["model"].nunique() + 1.4), layout="constrained")
    seeds = sorted(table["seed"].unique())
    for row, name in enumerate(table["model"].unique()):
        scores = table[table["model"] == name]
        axis.plot([scores[score].mean()] * 2, [row - 0.3, row + 0.3], color="0.3", linewidth=2)
        for index, seed in enumerate(seeds):
            place = row + 0.12 * (index - (len(seeds) - 1) / 2)
            values = scores.loc[scores["seed"] == seed, score]
            label = f"seed {seed}" if row == 0 else None
            axis.plot(values, [place] * len(values), MARKERS[index % len(MARKERS)], color=COLORS[index], label=label)
    names = [title_of(name) for name in table["model"].unique()]
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel=f"mean {_score_title(score)} (line: mean over seeds)")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


@themed
def bland_altman(scores: pd.DataFrame) -> Figure:
    """Draw the difference of predicted and true area, a panel a model, a point an image.

    The difference is in percent of the mean of both areas. It is drawn over the true area as a share of the picture.
    Lines are the mean and the limits of agreement, mean plus and minus 1.96 standard deviations (Bland and Altman 1986,
    https://doi.org/10.1016/S0140-6736(86)90837-8). Images without lung in both masks are left out.
    """
    models = scores["model"].unique()
    figure, axes = subplots(
        1, len(models), figsize=(4 * len(models), 3.8), sharey=True, layout="constrained", squeeze=False
    )
    for index, (axis, name) in enumerate(zip(axes.flat, models, strict=True)):
        counts = scores[scores["model"] == name][["tp", "fp", "fn", "tn"]]
        true_px, predicted_px = counts["tp"] + counts["fn"], counts["tp"] + counts["fp"]
        gap = (200 * (predicted_px - true_px) / (predicted_px + true_px)).dropna()
        true_share = (true_px / counts.sum(axis=1))[gap.index]
        axis.scatter(true_share, gap, s=22, color=COLORS[index], alpha=0.7)
        axis.axhline(0, color="0.8", linewidth=1, zorder=0)  # both areas are the same
        for shift, dash in ((0, "-"), (-1.96, "--"), (1.96, "--")):
            level = gap.mean() + shift * gap.std()
            axis.axhline(level, color="0.3", linestyle=dash, linewidth=1)
            axis.annotate(f"{level:+.1f}", (1, level), xycoords=("axes fraction", "data"), fontsize=9)
        axis.set(title=title_of(name), xlabel="true lung, as a share of the picture")
    axes[0, 0].set_ylabel("area found minus true (%)")
    return figure


@themed
def confusion_matrices(counts: dict[str, Counts]) -> Figure:
    """Draw each model's confusion matrix, pooled over all pixels of all images, as shares of the true class."""
    figure, axes = subplots(1, len(counts), figsize=(3.4 * len(counts), 3.3), layout="constrained", squeeze=False)
    for axis, (name, count) in zip(axes.flat, counts.items(), strict=True):
        matrix = np.array([[count.tn, count.fp], [count.fn, count.tp]], float)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        sns.heatmap(
            shares, annot=True, fmt=".2%", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axis,
            xticklabels=["not lung", "lung"], yticklabels=["not lung", "lung"],
        )  # fmt: skip
        axis.set(title=title_of(name), xlabel="found", ylabel="true")
    return figure


def _grey_levels_and_areas(prepared: Prepared) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Return the grey-level histograms of lung and of the rest (64 bins, shares), and each image's share of lung."""
    sums, areas = {"lung": np.zeros(64), "rest": np.zeros(64)}, []
    for row in prepared.rows(*SPLITS):
        image, mask = prepared.pair(row)
        for name, pixels in (("lung", image[mask]), ("rest", image[~mask])):
            sums[name] += np.bincount(pixels // 4, minlength=64)
        areas.append({"split": row["split"], "lung": mask.mean()})
    return {name: total / max(total.sum(), 1) for name, total in sums.items()}, pd.DataFrame(areas)


def _score_title(name: str) -> str:
    return {"dice": "Dice", "iou": "IoU", "f1": "F1"}.get(name, name.capitalize())
