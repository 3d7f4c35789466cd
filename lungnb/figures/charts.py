"""Charts of conclusions: calibration, transfer between data sets, hyper-parameter search, engines."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from seaborn.utils import relative_luminance

from lungnb.evaluation.calibration import Examination
from lungnb.evaluation.probabilities import BORDER_SHARE, calibration_error, reliability_table
from lungnb.evaluation.published import ADAPTED, RANDOM, say_curve
from lungnb.evaluation.review import review_gain
from lungnb.evaluation.search import PARAMETERS
from lungnb.evaluation.transfer import STARTS
from lungnb.figures.theme import COLORS, DASHES, MARKERS, subplots, themed
from lungnb.networks.losses import LOSSES
from lungnb.settings import title_of

_PANELS = 2  # in a row
_NEAR_EDGE = 0.03  # probabilities nearer to 0 or 1 have their number beside the point
_LEGEND_INCHES = 7  # width of the three entries of `uncertainty_chart`
CURVES = {ADAPTED: "shipped network, adapted", RANDOM: "same network, from random weights"}
_BLACK_FROM_LUMINANCE = 0.18  # black and white have the same contrast to a background of this luminance (WCAG 2)
_LOWEST_SHADE = 0.8  # the colours of a heat map of Dice reach from here to 1


@themed
def reliability_diagram(examinations: dict[str, Examination]) -> Figure:
    """Draw how often pixels of a given probability are lung, and how many pixels each bin holds, one line per model.

    Only pixels near the true border count, and each image counts the same (`lungnb.evaluation.probabilities`). The
    numbers over the points of the lower panel count the pixels, in thousands, of the first model.
    """
    figure, (axis, below) = subplots(2, 1, figsize=(6, 6), height_ratios=(3, 1.2), sharex=True)
    axis.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfectly calibrated")
    for (name, examination), marker in zip(examinations.items(), MARKERS, strict=False):
        table = reliability_table(examination.border)
        label = f"{title_of(name)}, error {calibration_error(table):.3f}"
        axis.plot(table["probability"], table["observed"], marker=marker, label=label)
        below.plot(table["probability"], table["pixels"], marker=marker)
    axis.set(ylabel="share that is lung", xlim=(0, 1), ylim=(0, 1))
    for _, bin_ in reliability_table(next(iter(examinations.values())).border).dropna().iterrows():
        below.annotate(
            _thousands(bin_["pixels"]), (bin_["probability"], bin_["pixels"]), (0, 6), textcoords="offset points",
            ha=_towards_middle(bin_["probability"]), fontsize=10,
        )  # fmt: skip
    first = title_of(next(iter(examinations)))
    below.set(xlabel=f"probability of lung (numbers: thousands of pixels, {first})", ylabel="pixels", yscale="log")
    below.margins(y=0.3)
    axis.set_title(f"Pixels within {BORDER_SHARE:.1%} of the longer side from the true border", fontsize=11)
    axis.legend(frameon=False)
    return figure


def _thousands(pixels: float) -> str:
    """Return a number in thousands, with a decimal below ten."""
    thousands = pixels / 1000
    return f"{thousands:,.1f}" if thousands < 10 else f"{thousands:,.0f}"


def _towards_middle(probability: float) -> str:
    """Return the alignment of a number that keeps it inside the axis."""
    return "left" if probability < _NEAR_EDGE else "right" if probability > 1 - _NEAR_EDGE else "center"


@themed
def uncertainty_chart(reviewed: dict[str, pd.DataFrame], share: float = 0.1) -> Figure:
    """Draw each image's Dice against the disagreement, a panel for each model. A person looks at the crosses."""
    inches = max(4 * len(reviewed), _LEGEND_INCHES)
    figure, axes = subplots(1, len(reviewed), figsize=(inches, 3.8), sharey=True, squeeze=False)
    for axis, (name, table) in zip(axes.flat, reviewed.items(), strict=True):
        gain = review_gain(table, share)
        looked_at = int(gain["looked_at"])
        picked, others = table.iloc[:looked_at], table.iloc[looked_at:]
        axis.scatter(others["disagreement"], others["dice"], s=22, color="0.4", label="not looked at")
        axis.scatter(picked["disagreement"], picked["dice"], s=48, color=COLORS[3], marker="X", label="looked at")
        lowest = "lowest Dice of those not looked at"
        axis.axhline(gain["worst_left"], color="0.5", linestyle="--", linewidth=1, label=lowest)
        axis.set(title=title_of(name), xlabel="disagreement")
        axis.xaxis.set_major_locator(MaxNLocator(4))
    axes[0, 0].set_ylabel("Dice")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


@themed
def few_shot_chart(tables: dict[str, pd.DataFrame]) -> Figure:
    """Draw the Dice over the number of real images, one line per start, one point per seed.

    Each table of `few_shot` has a panel, with the given title.
    """
    figure, axes = subplots(1, len(tables), figsize=(max(5.5 * len(tables), 7), 4.2), squeeze=False)
    for axis, (name, table) in zip(axes.flat, tables.items(), strict=True):
        counts = sorted(set(table["images"]) - {0})
        for index, (start, title) in enumerate(STARTS.items()):
            trainings, color = table[(table["start"] == start) & (table["images"] > 0)], COLORS[index]
            mean = trainings.groupby("images")["dice"].mean()
            axis.plot(mean.index, mean, MARKERS[index], linestyle="-", color=color, markersize=8, label=title)
            axis.scatter(trainings["images"], trainings["dice"], s=14, color=color, alpha=0.6)
        shipped = table.loc[table["images"] == 0, "dice"].mean()
        axis.axhline(shipped, color="0.3", linestyle="--", label="as shipped, no real image")
        axis.set_xscale("log")
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.minorticks_off()
        axis.set(title=name, xlabel="real images trained on", ylabel="mean Dice of the test images")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


@themed
def adaptation_chart(table: pd.DataFrame) -> Figure:
    """Draw the Dice of each image before and after a network was adapted. `table` is that of `adapt`."""
    figure, axis = subplots(figsize=(4.2, 4.2))
    for row in table.itertuples():
        axis.plot([0, 1], [row.before, row.after], color="0.6", linewidth=1, zorder=1)
    for place, name in enumerate(("before", "after")):
        axis.scatter([place] * len(table), table[name], color=COLORS[place], s=30, zorder=2)
        axis.plot(place, table[name].mean(), "D", color="black", markerfacecolor="white", markersize=8, zorder=3)
        axis.annotate(f"{table[name].mean():.3f}", (place, table[name].mean()), (10, 0), textcoords="offset points")
    axis.set_xticks([0, 1], ["before", "after"])
    axis.set(xlim=(-0.3, 1.4), ylabel="Dice", title="A line is an image, a diamond the mean")
    return figure


@themed
def learning_curve(table: pd.DataFrame) -> Figure:
    """Draw the Dice of other images over the number of corrected ones, one panel per data set.

    `table` is that of `published_draws`. A line is the mean over draws of images. Each draw is a point, and an area
    reaches from the lowest draw to the highest.
    """
    names = table["dataset"].unique()
    columns = min(len(names), _PANELS)
    rows = -(-len(names) // columns)
    figure, axes = subplots(rows, columns, figsize=(5 * columns, 3.6 * rows + 0.9), squeeze=False)
    trained = table[table["images"] > 0]
    counts = sorted(trained["images"].unique())
    for axis, name in zip(axes.flat, names, strict=False):
        before = table.loc[table["dataset"] == name, "before"].mean()
        axis.axhline(before, color="0.3", linestyle="--", label="shipped network, not adapted")
        for place, title in enumerate(CURVES):
            draws = trained[(trained["dataset"] == name) & (trained["start"] == title)]
            dice = draws.groupby("images")["after"].agg(["mean", "min", "max"])
            style = {"color": COLORS[place], "marker": MARKERS[place], "linestyle": DASHES[place]}
            if title == ADAPTED:
                dice.loc[0] = before  # the network as shipped
            elif draws.empty:
                continue
            dice = dice.sort_index().astype(float)
            axis.fill_between(dice.index, dice["min"], dice["max"], color=COLORS[place], alpha=0.2, linewidth=0)
            axis.plot(dice.index, dice["mean"], **style, markersize=7, label=CURVES[title])
            axis.scatter(draws["images"], draws["after"], s=14, color=COLORS[place], alpha=0.6)
        axis.set_xscale("symlog", linthresh=1)  # logarithmic from 1 on, with room for 0
        axis.set_xticks([0, *counts], ["0", *map(str, counts)])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(title=name, xlabel="corrected images", ylabel="Dice of other images")
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    figure.suptitle(say_curve(table), fontsize=12)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


@themed
def generalisation_chart(table: pd.DataFrame) -> Figure:
    """Draw the mean Dice by the data sets of training and of testing. `table` is that of `train_across`."""
    wide = table.pivot(index="trained_on", columns="tested_on", values="dice")
    names = [*table["trained_on"].unique()]
    dice, low, high = (table[name].map("{:.3f}".format) for name in ("dice", "dice_low", "dice_high"))
    bounds = ("\n" + low + " to " + high).where(table["dice_low"].notna(), "")
    cells = table.assign(text=dice + bounds).pivot(index="trained_on", columns="tested_on", values="text")
    figure, axis = subplots(figsize=(2.4 + 1.9 * len(names), 1.2 + 1.1 * len(names)))
    sns.heatmap(
        wide.loc[names, names], annot=cells.loc[names, names], fmt="", cmap="cividis", ax=axis,
        vmin=min(_LOWEST_SHADE, table["dice"].min()), vmax=1, linewidths=2, cbar_kws={"label": "mean Dice"},
    )  # fmt: skip
    mesh = axis.collections[0]
    for text in axis.texts:
        column, row = (int(place) for place in text.get_position())
        text.set_color(_readable_on(mesh.cmap(mesh.norm(wide.loc[names[row], names[column]]))))
    axis.set(xlabel="tested on", ylabel="trained on", title="Mean Dice of the test images, and its 95 % interval")
    axis.set_xticklabels(names, parse_math=False)
    axis.set_yticklabels(names, parse_math=False, rotation=0)
    return figure


def _readable_on(background: tuple[float, ...]) -> str:
    """Return black or white, whichever has the higher contrast to a colour: black from a luminance of 0.18 on."""
    return "black" if relative_luminance(background) > _BLACK_FROM_LUMINANCE else "white"


@themed
def search_chart(table: pd.DataFrame, again: Sequence[float] = ()) -> Figure:
    """Draw the validation Dice of each trial, in order and against each hyper-parameter; the best trial has a ring.

    `again` are the Dice of the best trial with other seeds. They are diamonds in the first panel.
    """
    complete, pruned = (table[table["state"] == state] for state in ("complete", "pruned"))
    layers: dict[str, tuple[pd.DataFrame, dict[str, Any]]] = {
        "complete": (complete, {"marker": "o", "color": COLORS[0]}),
        "pruned": (pruned, {"marker": "X", "color": COLORS[1]}),
        "best": (complete.nlargest(1, "validation_dice"), {"s": 220, "facecolors": "none", "edgecolors": "black"}),
    }
    figure, axes = subplots(2, 3, figsize=(11, 6.5), sharey=True)
    losses = sorted(LOSSES)
    for axis, column in zip(axes.flat, ("number", *PARAMETERS), strict=False):
        for name, (rows, style) in layers.items():
            x = rows[column].map(losses.index) if column == "loss" else rows[column]
            axis.scatter(x, rows["validation_dice"], label=name, zorder=3, **{"s": 60} | style)
        axis.set_xlabel({"number": "trial"}.get(column, column.replace("_", " ")))
    history, rates, kinds, filters, _, legend = axes.flat
    if len(again):
        number = [layers["best"][0]["number"].iloc[0]] * len(again)
        history.plot(number, again, "D", color=COLORS[3], zorder=4, label="best, other seeds")
    best = complete["validation_dice"].cummax()
    history.step(complete["number"], best, "--", where="post", color="0.4", label="best yet")
    history.xaxis.get_major_locator().set_params(integer=True)
    rates.set_xscale("log")
    rates.xaxis.set(major_locator=LogLocator(subs=(1, 3)), minor_locator=NullLocator(), major_formatter="{x:g}")
    kinds.set_xticks(range(len(losses)), [name.replace("_", "_\n") for name in losses])
    kinds.set_xlim(-0.5, len(losses) - 0.5)
    filters.set_xscale("log", base=2)
    filters.set_xticks(sizes := sorted(table["filters"].unique()), sizes)
    legend.axis("off")
    legend.legend(*history.get_legend_handles_labels(), loc="center", frameon=False)
    figure.supylabel("best validation Dice of the trial", fontsize=12)
    return figure


@themed
def export_chart(table: pd.DataFrame) -> Figure:
    """Draw the time for an image, on a logarithmic axis, and the size of the file of exported networks, by engine.

    `table` is that of `compare_exports`.
    """
    shown = table[table["said"] == ""]
    labels = [f"{row.engine}\n{row.form} file" if row.form != "keras" else row.engine for row in shown.itertuples()]
    figure, axes = subplots(1, 2, figsize=(10, 0.5 * len(shown) + 1.4), sharey=True)
    times, sizes = axes
    times.plot(shown["milliseconds"], labels, "o", color=COLORS[0], markersize=9)
    for label, value in zip(labels, shown["milliseconds"], strict=True):
        times.annotate(f"{value:.1f}", (value, label), (9, 0), textcoords="offset points", va="center", fontsize=10)
    times.set(xscale="log", xlabel="time per image (ms), logarithmic")
    times.xaxis.set(major_locator=LogLocator(subs=(1, 3)), minor_locator=NullLocator(), major_formatter="{x:g}")
    times.margins(x=0.25)
    sizes.bar_label(sizes.barh(labels, shown["megabytes"], color=COLORS[1]), fmt="{:.1f}", padding=3, fontsize=10)
    sizes.set_xlabel("size of the file (MB)")
    sizes.grid(visible=False)  # because each bar has its number
    sizes.margins(x=0.2)
    times.invert_yaxis()
    return figure
