"""Draw diagrams of networks and of their parts, and charts of what losses penalise."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lungnb.figures.theme import COLORS, DASHES, FOUND_COLOUR, MARKERS, TRUTH_COLOUR, subplots, themed
from lungnb.lessons.trainings import LESSON_LOSSES, confidence_losses, disk, shift_losses
from lungnb.networks.backend import keras
from lungnb.networks.costs import stage_names
from lungnb.settings import title_of

_SHIFT_SHOWN = 16  # px, of the disk in the picture
_LOSS_TITLES = {"bce": "BCE", "dice": "1 - Dice", "iou": "1 - IoU", "bce_iou": "BCE + 1 - IoU"}
# The colour of a box, by the start of its label.
_FILLS = {"conv": COLORS[0], "ReLU": COLORS[1], "sigmoid": COLORS[1], "norm": "0.75", "up": "0.75", "1×1": COLORS[2]}
_GAP = 1.5  # between the middles of neighbouring boxes, in the diagrams' own unit of about 0.8 inches
_WIDTH, _HEIGHT = 1.25, 0.6  # of a box


@themed
def loss_chart() -> Figure:
    """Draw a shifted disk, the losses over its shift, and the losses of a perfect mask over the confidence."""
    figure, (picture, shifts, confidences) = subplots(1, 3, figsize=(12, 4), width_ratios=[0.8, 1.1, 1.1])
    picture.imshow(disk() * 0, cmap="gray", vmin=0, vmax=1)
    for shift, color, dash in ((0, TRUTH_COLOUR, "solid"), (_SHIFT_SHOWN, FOUND_COLOUR, "dashed")):
        picture.contour(disk(shift), [0.5], colors=color, linestyles=dash, linewidths=2)
    picture.text(64, 12, "ground truth", color=TRUTH_COLOUR, ha="center", fontsize=12)
    picture.text(64, 118, f"prediction, shifted by {_SHIFT_SHOWN} px", color=FOUND_COLOUR, ha="center", fontsize=12)
    picture.set_title("A disk of radius 24 px")
    picture.axis("off")
    for axis, table in ((shifts, shift_losses()), (confidences, confidence_losses())):
        for index, name in enumerate(LESSON_LOSSES):
            style = {"color": COLORS[index], "linestyle": DASHES[index], "marker": MARKERS[index], "markersize": 4}
            axis.plot(table.index, table[name], label=_LOSS_TITLES[name], **style)
        axis.set_ylim(bottom=0)
    shifts.set(title="Prediction at the wrong place", xlabel="shift (px)", ylabel="loss")
    confidences.set(title="Perfect mask (Dice 1), low confidence", xlabel="probability of the right class")
    figure.legend(*shifts.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


@themed
def residual_diagram() -> Figure:
    """Draw the two convolutions of a U-Net's stage above, and a residual unit with its shortcut below."""
    figure, (plain, residual) = subplots(2, 1, figsize=(10, 3.9), height_ratios=[0.9, 2.25])
    _draw_chain(plain, ["x", *["conv 3×3", "norm", "ReLU"] * 2, "y"])
    plain.set_title("Stage of the U-Net: y = F(x)", loc="left")
    _draw_chain(residual, ["x", "norm", "ReLU", "conv 3×3", "norm", "ReLU", "conv 3×3", "+", "y"])
    _draw_box(residual, 3 * _GAP, 1.3, "1×1 conv")
    _draw_box(residual, 4 * _GAP, 1.3, "norm")
    _draw_arrow(residual, (0, 0.25), (3 * _GAP - _WIDTH / 2, 1.3), "angle,angleA=90,angleB=180")
    _draw_arrow(residual, (3 * _GAP + _WIDTH / 2, 1.3), (4 * _GAP - _WIDTH / 2, 1.3))
    _draw_arrow(residual, (4 * _GAP + _WIDTH / 2, 1.3), (7 * _GAP, 0.3), "angle,angleA=0,angleB=90")
    residual.text(5.2 * _GAP, 1.45, "shortcut S(x)", fontsize=12)
    residual.set_title("Residual unit of the ResUNet: y = F(x) + S(x)", loc="left")
    for axis, top in ((plain, 0.45), (residual, 1.8)):
        axis.set(xlim=(-0.8, 8 * _GAP + 0.8), ylim=(-0.45, top))
        axis.axis("off")
    return figure


@themed
def recurrent_diagram(steps: int = 2) -> Figure:
    """Draw a recurrent convolution unrolled in time: a first pass and further steps, all with the same kernel."""
    figure, axis = subplots(figsize=(2.9 * (steps + 1) + 2.4, 2.7))
    labels = ["conv 3×3", "ReLU"] + ["+", "conv 3×3", "ReLU"] * steps + ["norm", "y"]
    _draw_chain(axis, labels)
    _draw_box(axis, 0, -1.2, "x")
    _draw_arrow(axis, (0, -0.95), (0, -_HEIGHT / 2))
    for step in range(1, steps + 1):
        place = (3 * step - 1) * _GAP
        _draw_arrow(axis, (0.3, -1.2), (place, -0.3), "angle,angleA=0,angleB=90")
        axis.text(place + _GAP, 0.6, f"step {step}", ha="center", fontsize=12)
    axis.text(0.5 * _GAP, 0.6, "first pass", ha="center", fontsize=12)
    axis.text(0.4 * _GAP, -1.6, "the input joins every step", fontsize=12)
    axis.set_title("Recurrent convolution, unrolled: every conv 3×3 has the same kernel", loc="left")
    axis.set(xlim=(-0.8, (len(labels) - 1) * _GAP + 0.8), ylim=(-1.8, 1))
    axis.axis("off")
    return figure


@themed
def gate_diagram() -> Figure:
    """Draw an attention gate: the coarse level decides how much of a skip connection passes."""
    figure, axis = subplots(figsize=(11, 3.2))
    _draw_chain(axis, ["skip", "conv 2×2", "+", "ReLU", "1×1 conv", "sigmoid", "up ×2", "×", "out"])
    _draw_box(axis, 0, -1.2, "coarse")
    _draw_box(axis, _GAP, -1.2, "1×1 conv")
    _draw_arrow(axis, (0.45, -1.2), (_GAP - _WIDTH / 2, -1.2))
    _draw_arrow(axis, (_GAP + _WIDTH / 2, -1.2), (2 * _GAP, -0.3), "angle,angleA=0,angleB=90")
    axis.plot([0, 0, 7 * _GAP, 7 * _GAP], [0.25, 0.9, 0.9, 0.6], color="0.3", linewidth=1)
    _draw_arrow(axis, (7 * _GAP, 0.7), (7 * _GAP, 0.3))
    axis.text(3.5 * _GAP, 1.05, "the skip connection, at full resolution", ha="center", fontsize=12)
    axis.text(5.5 * _GAP, -0.8, "α, from 0 to 1 at each place", ha="center", fontsize=12)
    axis.set_title("Attention gate: out = α · skip", loc="left")
    axis.set(xlim=(-0.8, 8 * _GAP + 0.8), ylim=(-1.55, 1.4))
    axis.axis("off")
    return figure


def _draw_chain(axis: Axes, labels: Sequence[str]) -> None:
    """Draw boxes from left to right, with an arrow from each to the next."""
    for index, label in enumerate(labels):
        _draw_box(axis, index * _GAP, 0, label)
        if index:
            left, right = (0.28 if len(each) == 1 else _WIDTH / 2 for each in (labels[index - 1], label))
            _draw_arrow(axis, ((index - 1) * _GAP + left, 0), (index * _GAP - right, 0))


def _draw_box(axis: Axes, x: float, y: float, label: str) -> None:
    """Draw a layer as a coloured box, and a sum as a circle; x and y have no frame."""
    fill = next((color for start, color in _FILLS.items() if label.startswith(start)), None)
    if fill:
        corner = (x - _WIDTH / 2, y - _HEIGHT / 2)
        axis.add_patch(Rectangle(corner, _WIDTH, _HEIGHT, facecolor=fill, edgecolor="0.3", zorder=3))
    color = "white" if fill in (COLORS[0], COLORS[2]) else "black"
    circle = {"boxstyle": "circle,pad=0.3", "facecolor": "white", "edgecolor": "0.3"} if label in ("+", "×") else None
    axis.text(x, y, label, ha="center", va="center", fontsize=12, color=color, bbox=circle, zorder=4)


def _draw_arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], path: str = "arc3") -> None:
    arrow = {"arrowstyle": "-|>", "color": "0.3", "connectionstyle": path, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=arrow)


@themed
def architecture(model: keras.Model) -> Figure:
    """Draw the stages of a network as boxes, with the skip connections if there are any."""
    stages = stage_names(model)
    depth = len(stages) // 2
    down, up = stages[:depth], stages[:depth:-1]  # both from top to bottom
    figure, axis = subplots(figsize=(10, 4.6))
    places, x = {}, 0.0  # of each box: left, right, and the middle between top and bottom
    for index, name in enumerate(stages):
        _, height, _, channels = model.get_layer(name).output.shape
        top = -1.25 * (depth - abs(index - depth))
        box_width, box_height = 0.25 + 0.12 * np.log2(channels), 1.1 * (height / model.input_shape[1]) ** 0.5
        bottom, centre = top - box_height, x + box_width / 2
        color = COLORS[0] if index < depth else COLORS[3] if index == depth else COLORS[2]
        axis.add_patch(Rectangle((x, bottom), box_width, box_height, color=color, alpha=0.85))
        axis.text(centre, top + 0.08, f"{channels}", ha="center", va="bottom", fontsize=12)
        axis.text(centre, bottom - 0.08, f"{height}²", ha="center", va="top", fontsize=12, color="0.3")
        places[name] = (x, x + box_width, top - box_height / 2)
        x += box_width + 0.55
    for (_, right, y), (left, _, next_y) in pairwise(places.values()):
        axis.annotate("", (left, next_y), (right, y), arrowprops={"arrowstyle": "->", "color": "0.35"})
    if any(layer.name == "decoder_1_skip" for layer in model.layers):
        for encoder, decoder in zip(down, up, strict=True):
            (_, right, y), (left, _, _) = places[encoder], places[decoder]
            axis.annotate("", (left, y), (right, y), arrowprops={"arrowstyle": "->", "linestyle": "--", "color": "0.6"})
        middle, (_, _, y) = places["bridge"][:2], places["encoder_1"]
        axis.text(sum(middle) / 2, y + 0.08, "skip connections", ha="center", va="bottom", fontsize=12, color="0.3")
    axis.set(xlim=(-0.3, x), ylim=(-1.25 * depth - 0.8, 0.5))
    axis.set_title(f"{title_of(model.name)}: channels above, resolution below; {model.count_params():,} parameters")
    axis.axis("off")
    return figure
