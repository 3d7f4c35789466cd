"""The look of all figures. The theme is set only while a figure is drawn, so that lungnb changes no other plots.

Colours are those of seaborn's `colorblind` palette. Networks also differ in marker and dash, and contours in dash, so
that figures are legible in print and to colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

TRUTH, FOUND = "#56b4e9", "#ffb000"  # outlines of ground truth and prediction: sky blue and amber
COLORS = sns.color_palette("colorblind").as_hex()  # not "C0", because matplotlib looks that up when it draws
MARKERS = "osD^vP"  # one a network
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


def themed(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Let a function draw in lungnb's theme."""

    @wraps(draw)
    def drawing(*arguments: Arguments.args, **options: Arguments.kwargs) -> Drawn:
        with plt.rc_context():
            sns.set_theme("notebook", "whitegrid", COLORS, color_codes=False, rc={"figure.dpi": 90})
            return draw(*arguments, **options)

    return drawing


def subplots(*arguments: Any, **options: Any) -> tuple[Figure, Any]:  # noqa: ANN401
    """Return a new figure and its axes. The figure is closed in pyplot, so that a notebook shows it only once."""
    figure, axes = plt.subplots(*arguments, layout="constrained", **options)
    plt.close(figure)
    return figure, axes
