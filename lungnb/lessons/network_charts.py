"""Draw what notebooks 03 and 08 show of networks: channels of stages, equal budgets, gates of an attention U-Net."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lungnb.figures.theme import COLORS, TRUTH_COLOUR, places_of, subplots, themed
from lungnb.lessons.architectures import Channel
from lungnb.settings import counted, title_of

_BUDGETS: dict[str, dict[str, Any]] = {  # the marker of each
    "equal computing": {"markersize": 14, "fillstyle": "none", "markeredgewidth": 2},
    "equal epochs": {"markersize": 8},
}


@themed
def budget_chart(table: pd.DataFrame) -> Figure:
    """Draw the validation Dice of each network with two budgets: rings for equal computing, dots for equal epochs.

    `table` is that of `at_equal_computing`. A network that is too large for the equal computing has no ring.
    """
    figure, axis = subplots(figsize=(9.5, 0.65 * len(table) + 1.6))
    for row, (name, entry) in enumerate(table.iterrows()):
        reached, best, epochs = entry["dice"], entry["dice_of_all"], int(entry["epochs"])
        color = COLORS[places_of([*table.index])[str(name)] % len(COLORS)]
        axis.plot([reached, best], [row, row], color=color, linewidth=2)
        for dice, marker in zip((reached, best), _BUDGETS.values(), strict=True):
            axis.plot(dice, row, "o", color=color, **marker)
        axis.annotate(f"{best:.3f}", (best, row), (14, 0), textcoords="offset points", va="center")
        if epochs:
            label = f"{reached:.3f} after {counted(epochs, 'epoch')}"
            axis.annotate(label, (reached, row), (0, 10), textcoords="offset points", ha="center")
    axis.set(yticks=range(len(table)), yticklabels=map(title_of, table.index), xlabel="best validation Dice")
    axis.margins(x=0.15, y=0.25)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    handles = [Line2D([], [], color="0.3", marker="o", linestyle="", **style) for style in _BUDGETS.values()]
    figure.legend(handles, [*_BUDGETS], loc="outside lower center", ncols=2, frameon=False)
    return figure


@themed
def gate_maps(image: np.ndarray, truth: np.ndarray, openings: Mapping[int, np.ndarray], levels: int = 3) -> Figure:
    """Draw an image with the contour of its ground truth, and maps of the gates of the finest levels.

    The values of the image, and those of the gates, are from 0 to 1.
    """
    shown = sorted(openings)[:levels]
    figure, grid = subplots(1, len(shown) + 1, figsize=(2.9 * (len(shown) + 1), 3.3), squeeze=False)
    axes = grid[0]
    axes[0].imshow(image, cmap="gray", vmin=0, vmax=1)
    axes[0].contour(truth, [0.5], colors=TRUTH_COLOUR, linewidths=1.6)
    axes[0].set_title("image and true mask", fontsize=11)
    for axis, level in zip(axes[1:], shown, strict=True):
        drawn = axis.imshow(openings[level], cmap="cividis", vmin=0, vmax=1)
        axis.set_title(f"gate of level {level}, {openings[level].shape[0]}²", fontsize=11)
    for axis in axes:
        axis.axis("off")
    if shown:
        figure.colorbar(drawn, ax=axes[1:], shrink=0.7, label="α (1: open)")
    return figure


@themed
def stage_maps(channels: Mapping[str, Channel]) -> Figure:
    """Draw the channel of each stage that is most like the lungs: the way down above, the way up below.

    `channels` are those of `lung_channels`. Bright places have high values; r is the correlation with the mask.
    """
    columns = len(channels) // 2
    figure, grid = subplots(2, columns, figsize=(2.3 * columns, 5.6), squeeze=False)
    for axis, (name, channel) in zip(grid.flat, channels.items(), strict=True):
        axis.imshow(channel.values, cmap="gray")
        axis.set_title(f"{name}, {channel.values.shape[0]}²\nr = {channel.correlation:.2f}", fontsize=11)
        axis.axis("off")
    return figure
