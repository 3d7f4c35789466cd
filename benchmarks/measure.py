"""Measure in fresh processes; write the results as a table, a JSON with the machine, and a chart."""

import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import describe
from matplotlib.figure import Figure

from lungnb.evaluation.speed import median_seconds
from lungnb.figures.theme import COLORS, subplots, themed
from lungnb.files import write_json, written


def apart(measure: Callable[..., dict[str, Any]], **arguments: object) -> dict[str, Any]:
    """Return the arguments, the measurements of a function in a fresh process, and that process's peak memory (MB)."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return arguments | pool.submit(_measured, measure, arguments).result()


def _measured(measure: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    measured = measure(**arguments)
    return measured | {"memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def matrix_rate(side: int = 3000) -> float:
    """Return the multiply-accumulates a second of a float32 matrix product, the most that the processor can do."""
    one, other = np.random.default_rng(0).random((2, side, side), np.float32)
    return side**3 / median_seconds(lambda: one @ other, 5)


def write(table: pd.DataFrame, name: str, out: Path, figure: Figure | None, *packages: str) -> None:
    """Print a table; write it as CSV, as JSON with the machine, and its chart if there is one."""
    print(f"\n{name}\n{table.to_string(index=False, float_format='{:.3g}'.format)}")
    record(table, name, out, figure, *packages)


def record(table: pd.DataFrame, name: str, out: Path, figure: Figure | None, *packages: str) -> None:
    """Do as `write` does, but print nothing. The table is whole even if the process is killed."""
    with written(out / f"{name}.csv") as file:
        table.to_csv(file, index=False)
    measured = {"machine": describe(*packages), "rows": table.to_dict("records")}
    write_json(out / f"{name}.json", measured)
    if figure:
        figure.savefig(out / f"{name}.png", dpi=150)


@themed
def bars(table: pd.DataFrame, label: list[str], values: dict[str, str]) -> Figure:
    """Draw a panel for each column of `values`, by title, with one bar per row. The columns `label` name the rows."""
    names = [", ".join(str(row[column]) for column in label) for _, row in table.iterrows()]
    size = 3.2 + 3.2 * len(values), 0.36 * len(table) + 1.2
    figure, axes = subplots(1, len(values), figsize=size, sharey=True, squeeze=False)
    for index, (axis, (column, title)) in enumerate(zip(axes[0], values.items(), strict=True)):
        drawn = axis.barh(range(len(names)), table[column], color=COLORS[index])
        axis.bar_label(
            drawn, fmt=lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}", padding=3, fontsize=8
        )
        axis.set_xlabel(title)
        axis.margins(x=0.2)
        axis.set_ylim(-0.6, len(names) - 0.4)  # or long tables have empty ends
    axes[0, 0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0, 0].invert_yaxis()
    return figure
