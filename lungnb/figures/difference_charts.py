"""Draw the differences between networks with their intervals."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lungnb.evaluation.differences import BETTER, EQUIVALENT, UNDECIDED, WORSE
from lungnb.evaluation.readable_tables import readable_conclusion
from lungnb.figures.theme import COLORS, subplots, themed
from lungnb.settings import title_of

_CONCLUSIONS = {  # colour and marker of a pair in `difference_chart`
    BETTER: (COLORS[0], "o"), WORSE: (COLORS[0], "o"), EQUIVALENT: (COLORS[2], "s"), UNDECIDED: ("0.4", "D"),
}  # fmt: skip


@themed
def difference_chart(tests: pd.DataFrame, margin: float) -> Figure:
    """Draw the difference of Dice of each pair of networks, with its 95 % and 90 % intervals.

    `tests` is a table of `paired_tests`. The grey band reaches from minus `margin` to plus `margin`. The conclusion is
    written beside each pair, and its `source` below its name, if the table has one. If there is no pair, the chart says
    so.
    """
    figure, axis = subplots(figsize=(11, 0.75 * max(len(tests), 1) + 1.9))
    axis.axvspan(-margin, margin, color="0.9", label=f"equivalence margin, ±{margin:g}", zorder=0)
    axis.axvline(0, color="0.3", linewidth=1, zorder=1)
    if tests.empty:
        axis.text(0.5, 0.5, "one network: no pair to compare", ha="center", transform=axis.transAxes)
    for place, (_, pair) in enumerate(tests.iterrows()):
        color, marker = _CONCLUSIONS[pair["conclusion"]]
        labels = ("95 % interval", "90 % interval", "mean over patients") if place == 0 else (None,) * 3
        axis.plot([pair["low"], pair["high"]], [place] * 2, "|-", color=color, markersize=12, label=labels[0])
        axis.plot([pair["low_90"], pair["high_90"]], [place] * 2, color=color, linewidth=7, alpha=0.45, label=labels[1])
        axis.plot(pair["difference"], place, marker, color=color, markersize=9, label=labels[2])
        axis.text(1.02, place, readable_conclusion(pair), transform=axis.get_yaxis_transform(), va="center")
    sources = tests["source"] if "source" in tests else [""] * len(tests)
    pairs = zip(tests["first"], tests["second"], sources, strict=True)
    names = [f"{title_of(first)} minus {title_of(second)}\n{source}".rstrip() for first, second, source in pairs]
    ends = tests[["low", "high", "difference"]].to_numpy(float)
    reach = 1.1 * float(np.nanmax(np.abs(ends), initial=2 * margin))
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6), xlim=(-reach, reach))
    axis.set_xlabel("difference of Dice (right of 0: the network that is named first has the higher Dice)")
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure
