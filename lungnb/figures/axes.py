"""Draw on given axes: curves over the epochs, and the scores of every image."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lungnb.figures.theme import COLORS, DASHES
from lungnb.settings import title_of


def panel_names(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Return score and column of each panel that `draw_panel` can draw, row by row."""
    split = scores["split"].iloc[0]
    columns = ("train", "validation", "test" if split == "test" else f"{split}_images")
    return [(score, column) for score in ("loss", "iou", "dice") for column in columns]


def draw_panel(axis: Axes, score: str, column: str, histories: dict[str, pd.DataFrame], scores: pd.DataFrame) -> None:
    """Draw one panel: curves over the epochs, or the scores of every image."""
    if column in ("train", "validation"):
        draw_curves(axis, histories, score if column == "train" else f"val_{score}")
        axis.set_title(f"{score_title(score)}, {'training' if column == 'train' else column}")
    else:
        draw_boxes(axis, scores, score, [*histories])
        images, split = scores["id"].nunique(), scores["split"].iloc[0]
        axis.set(title=f"{score_title(score)}, {split}", ylabel=f"{images} images (diamond: mean)")


def draw_curves(axis: Axes, histories: dict[str, pd.DataFrame], column: str, suffix: str = "", **style: float) -> None:
    """Draw a column of histories over the epochs, in the models' colours and dashes."""
    for index, (name, history) in enumerate(histories.items()):
        line = {"color": COLORS[index], "linestyle": DASHES[index % len(DASHES)], "label": title_of(name) + suffix}
        axis.plot(history["epoch"] + 1, history[column], **line | style)
    axis.set(xlabel="epoch", ylabel="mean over images")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def draw_boxes(axis: Axes, scores: pd.DataFrame, score: str, models: Sequence[str]) -> None:
    """Draw a score of every image as box and points, with a diamond at the mean, in the models' colours."""
    titles = [title_of(name) for name in models]
    columns = {"data": scores.assign(model=scores["model"].map(title_of)), "x": "model", "y": score, "order": titles}
    palette = sns.color_palette("colorblind", len(models))
    box = {"fill": False, "color": "0.3", "fliersize": 0, "width": 0.5 if len(models) > 1 else 0.25}
    mean = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 7, "zorder": 5}
    sns.stripplot(**columns, hue="model", hue_order=titles, palette=palette, size=3.5, alpha=0.6, ax=axis, zorder=1)
    sns.boxplot(**columns, **box, showmeans=True, meanprops=mean, ax=axis)
    axis.set(xlabel="", ylabel="")


def score_title(name: str) -> str:
    """Return the name of a score as charts write it."""
    return {"dice": "Dice", "iou": "IoU"}.get(name, name.capitalize())
