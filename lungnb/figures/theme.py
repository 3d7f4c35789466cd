"""The look of all figures, and the curves and boxes that several of them share.

The theme is set only while a figure is drawn, so that lungnb changes no other plots. Colours are those of seaborn's
`colorblind` palette. Networks also differ in marker and dash, and contours in dash, so that figures are legible in
print and to colour-blind readers.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lungnb.evaluation.statistics import patient_means
from lungnb.figures.described import DescribedFigure, first_sentence
from lungnb.settings import TITLES, title_of

TRUTH_COLOUR, FOUND_COLOUR = "#56b4e9", "#ffb000"  # outlines of ground truth and prediction: sky blue and amber
COLORS = sns.color_palette("colorblind").as_hex()  # not "C0", because matplotlib looks that up when it draws
MARKERS = "osD^vP"  # one for each network
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


def themed(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Let a function draw in lungnb's theme, and begin the alternative texts of its figures.

    They begin with the first sentence of its docstring. It may return a figure, a dictionary of figures, or None.
    """
    about = first_sentence(draw)

    @wraps(draw)
    def drawing(*arguments: Arguments.args, **options: Arguments.kwargs) -> Drawn:
        with plt.rc_context():
            sns.set_theme("notebook", "whitegrid", COLORS, color_codes=False, rc={"figure.dpi": 90})
            result = draw(*arguments, **options)
        for figure in result.values() if isinstance(result, dict) else [result]:
            if isinstance(figure, DescribedFigure):
                figure.about = about  # of the outermost function, which knows best what is drawn
        return result

    return drawing


def subplots(*arguments: Any, **options: Any) -> tuple[Figure, Any]:  # noqa: ANN401
    """Return a new figure and its axes. The figure is closed in pyplot, so that a notebook shows it only once."""
    figure, axes = plt.subplots(*arguments, layout="constrained", FigureClass=DescribedFigure, **options)
    plt.close(figure)
    return figure, axes


def places_of(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each model's colour, dash and marker. Networks of lungnb have the same in all figures.

    Example:
        >>> places_of(["resunet", "unet"]), places_of(["program B", "program A"])
        ({'resunet': 1, 'unet': 0}, {'program B': 0, 'program A': 1})
    """
    known = {title: place for place, pair in enumerate(TITLES.items()) for title in pair}
    if all(name in known for name in names):
        return {name: known[name] for name in names}
    return {name: place for place, name in enumerate(names)}


def draw_curves(axis: Axes, histories: dict[str, pd.DataFrame], column: str, suffix: str = "", **style: float) -> None:
    """Draw a column of histories over the epochs, in the models' colours and dashes."""
    places = places_of([*histories])
    for name, history in histories.items():
        index = places[name]
        line = {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index % len(DASHES)]}
        axis.plot(history["epoch"] + 1, history[column], label=title_of(name) + suffix, **line | style)
    axis.set(xlabel="epoch", ylabel="mean over images")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def draw_boxes(axis: Axes, scores: pd.DataFrame, score: str, models: Sequence[str], has_mean: bool = True) -> None:
    """Draw a score of every image as box and points, in the models' colours, and a diamond at the patients' mean."""
    titles, places = [title_of(name) for name in models], places_of(models)
    columns = {"data": scores.assign(model=scores["model"].map(title_of)), "x": "model", "y": score, "order": titles}
    palette = [COLORS[places[name] % len(COLORS)] for name in models]
    width, median = 0.5 if len(models) > 1 else 0.25, {"linewidth": 2.5}
    box = {"fill": False, "color": "0.3", "fliersize": 0, "medianprops": median, "width": width}
    means = [patient_means(scores[scores["model"] == name], score).mean() for name in models]
    sns.stripplot(**columns, hue="model", hue_order=titles, palette=palette, size=3.5, alpha=0.6, ax=axis, zorder=1)
    sns.boxplot(**columns, **box, ax=axis)
    if has_mean:
        axis.plot(titles, means, "D", color="black", markerfacecolor="white", markersize=7, zorder=5)
    axis.set(xlabel="", ylabel="")


def score_title(name: str) -> str:
    """Return the name of a score as charts write it."""
    return {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "assd": "ASSD", "nsd": "NSD"}.get(name, name.capitalize())
