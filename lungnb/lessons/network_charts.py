"""Draw what notebooks 03 and 08 show of networks: channels of stages, equal budgets, gates of an attention U-Net."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lungnb.figures.theme import COLORS, DASHES, TRUTH, places_of, subplots, themed
from lungnb.lessons.architectures import Channel
from lungnb.settings import title_of


@themed
def budget_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the validation Dice over epochs and over computing.

    `curves` are histories with a column `computed`, the multiply-accumulates of all forward passes up to each epoch.
    The backward passes need about twice as many again, for each network alike. The dotted line marks the computing of
    the cheapest network for all its epochs.
    """
    figure, axes = subplots(1, 2, figsize=(10.5, 4.4), sharey=True)
    for name, place in places_of([*curves]).items():
        curve = curves[name]
        style = {"color": COLORS[place], "linestyle": DASHES[place % len(DASHES)], "label": title_of(name)}
        axes[0].plot(curve["epoch"] + 1, curve["val_dice"], **style)
        axes[1].plot(curve["computed"], curve["val_dice"], **style)
    axes[1].axvline(min(curve["computed"].max() for curve in curves.values()), color="0.4", linestyle=":")
    axes[0].set(title="Equal epochs", xlabel="epoch", ylabel="validation Dice")
    axes[1].set(title="Equal computing", xlabel="multiply-accumulates of forward passes (10⁹)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), frameon=False)
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
    axes[0].contour(truth, [0.5], colors=TRUTH, linewidths=1.6)
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

    `channels` are those of `lung_channels`. Bright places have high values.
    """
    columns = len(channels) // 2
    figure, grid = subplots(2, columns, figsize=(2.3 * columns, 5.2), squeeze=False)
    for axis, (name, channel) in zip(grid.flat, channels.items(), strict=True):
        axis.imshow(channel.values, cmap="gray")
        axis.set_title(f"{name}, {channel.values.shape[0]}²", fontsize=11)
        axis.axis("off")
    return figure
