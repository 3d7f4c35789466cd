"""Grids of images with the contours of their masks; each function returns the figure."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import ManifestRow, Prepared, open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.figures.theme import FOUND_COLOUR, TRUTH_COLOUR, subplots, themed
from lungnb.formats.images import read_image, read_mask
from lungnb.masks import cut_out, overlay
from lungnb.messages import printable
from lungnb.metrics import dice
from lungnb.segmentation.predict import Segmentation, segment
from lungnb.settings import Settings, title_of

_PER_INCH = 11  # characters of a title of 10 pt


class Cell(NamedTuple):
    """One image of an `outline_grid`, and the masks whose contours are drawn on it."""

    title: str
    image: np.ndarray
    truth: np.ndarray | None = None
    prediction: np.ndarray | None = None


@themed
def outline_grid(
    cells: Sequence[Cell], columns: int = 3, inches: float = 3.0,
    names: tuple[str, str] = ("ground truth", "prediction"), title: str = "",
) -> Figure:  # fmt: skip
    """Draw images with the contours of their masks. They are drawn row by row, each `inches` wide and high.

    `names` are what the legend calls the masks `truth` and `prediction` of the cells. `title` is above all images.
    """
    rows = max(-(-len(cells) // columns), 1)
    with plt.rc_context({"text.parse_math": False}):  # because titles are names of files, which may hold $
        figure, axes = subplots(rows, columns, figsize=(inches * columns, inches * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, cell in zip(axes.flat, cells, strict=False):
        axis.imshow(cell.image, cmap="gray", vmin=0, vmax=255)
        axis.set_title("\n".join(textwrap.wrap(printable(cell.title), int(_PER_INCH * inches))), fontsize=10)
        dash_of_prediction = "dashed" if cell.truth is not None else "solid"
        outlines = ((cell.truth, TRUTH_COLOUR, "solid"), (cell.prediction, FOUND_COLOUR, dash_of_prediction))
        for mask, color, dash in outlines:
            if mask is not None and mask.any() and not mask.all():
                axis.contour(mask, [0.5], colors=color, linewidths=1.6, linestyles=dash)
    legend = []
    if any(cell.truth is not None for cell in cells):
        legend.append(Line2D([], [], color=TRUTH_COLOUR, label=names[0]))
    if any(cell.prediction is not None for cell in cells):
        is_dashed = any(cell.truth is not None for cell in cells if cell.prediction is not None)
        legend.append(Line2D([], [], color=FOUND_COLOUR, linestyle="dashed" if is_dashed else "solid", label=names[1]))
    if legend:
        figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False)
    if title:
        figure.suptitle(printable(title), fontsize=12, parse_math=False)
    return figure


@themed
def show_segmentation(*segmentations: Segmentation) -> Figure:
    """Draw the image, the mask on it, and the lungs cut out, a row for each result.

    The results are those of `segment`. For a volume, draw the middle slice.
    """
    cells = []
    for image, mask, *_ in segmentations:
        if image.ndim == 3:
            image, mask = image[len(image) // 2], mask[len(mask) // 2]
        cells += [Cell("image", image), Cell("overlay", overlay(image, mask)), Cell("lungs", cut_out(image, mask))]
    return outline_grid(cells)


@themed
def image_grid(prepared: Prepared, manifest: pd.DataFrame, count: int = 9) -> Figure:
    """Draw prepared images with the contours of their masks. Their rows are evenly spaced in the manifest."""
    rows = manifest.iloc[np.linspace(0, len(manifest) - 1, min(count, len(manifest))).astype(int)].to_dict("records")
    return outline_grid([Cell(f"{row['id']} ({row['split']})", *prepared.pair(row)) for row in rows])


@themed
def prediction_grid(settings: Settings, model_name: str, rows: pd.DataFrame) -> Figure:
    """Draw images, their ground truth, and the prediction of a model with its Dice, a row for each image.

    The prediction is drawn over the ground truth, so that differences can be seen.
    """
    cells, file = [], settings.results / model_name / MODEL
    for row, image, truth, prediction in _predict_rows(open_prepared(settings), file, rows):
        title = f"prediction of {title_of(model_name)}, Dice {dice(truth, prediction):.3f}"
        cells += [Cell(row["id"], image), Cell("ground truth", image, truth), Cell(title, image, truth, prediction)]
    return outline_grid(cells)


@themed
def model_grid(settings: Settings, model_names: Sequence[str], rows: pd.DataFrame) -> Figure:
    """Draw contours of the ground truth and of the predictions, a row for each image and a column for each model.

    Titles have the Dice of the model on this image. With one model, draw the `prediction_grid`.
    """
    if len(model_names) == 1:
        return prediction_grid(settings, model_names[0], rows)
    prepared, columns = open_prepared(settings), []
    for name in model_names:
        predicted = _predict_rows(prepared, settings.results / name / MODEL, rows)
        columns.append([
            Cell(f"{title_of(name)}, Dice {dice(truth, prediction):.3f} ({row['id']})", image, truth, prediction)
            for row, image, truth, prediction in predicted
        ])  # fmt: skip
    return outline_grid([cell for row in zip(*columns, strict=True) for cell in row], columns=len(columns))


@themed
def failure_gallery(settings: Settings, model_name: str | None, rows: pd.DataFrame) -> Figure:
    """Draw the images with the lowest Dice, with the contours of the ground truth and of the prediction.

    Masks are cleaned, as they are scored. If `model_name` is None, take the network that lungnb ships.
    """
    file = settings.results / model_name / MODEL if model_name else None
    title = f"{title_of(model_name) if model_name else settings.name}: the {len(rows)} lowest Dice"
    return elsewhere_grid(open_prepared(settings), file, rows, title)


@themed
def elsewhere_grid(prepared: Prepared, file: Path | None, rows: pd.DataFrame, title: str = "") -> Figure:
    """Draw images of a data set with the contours of the ground truth and of a network's masks.

    `file` is the file of the network. None means the network that lungnb ships. `rows` has the columns `id` and `dice`.
    """
    predicted = _predict_rows(prepared, file, rows)
    cells = [Cell(f"{row['id']}, Dice {row['dice']:.3f}", *drawn) for row, *drawn in predicted]
    return outline_grid(cells, title=title)


@themed
def suspects(prepared: Prepared, findings: pd.DataFrame, count: int = 9) -> Figure | None:
    """Draw images in which the data check found an error or a warning, each with its mask and the finding.

    Draw at most `count` pairs. `findings` is a table of `check_dataset`. If there is none, return None.
    """
    manifest = prepared.manifest
    faults = findings[findings["severity"] != "note"].groupby("file", sort=False)["what"].agg("; ".join)
    fault = manifest["source_mask"].map(faults).fillna(manifest["source_image"].map(faults))
    rows = manifest.assign(what=fault).dropna(subset="what").head(count).to_dict("records")
    return outline_grid([Cell(f"{row['id']}: {row['what']}", *prepared.pair(row)) for row in rows]) if rows else None


@themed
def mismatch_gallery(prepared: Prepared, mismatches: pd.DataFrame, count: int = 9) -> Figure | None:
    """Draw images whose mask may belong to another image, the lowest Dice first, with two masks each.

    Draw at most `count` pairs of `find_mismatches`. The dashed contour is the mask of the network that lungnb ships.
    For a volume, draw the middle slice. If there is no pair to draw, return None.
    """
    groups = prepared.manifest.groupby("source_mask")
    slices = {file: rows.iloc[len(rows) // 2] for file, rows in groups}
    shown, cells = mismatches[mismatches["file"].isin(slices)].head(count), []
    for file, overlap in shown[["file", "dice"]].to_numpy():
        image, truth = prepared.pair(slices[file].to_dict())
        cells.append(Cell(f"{slices[file]['id']}, Dice {overlap:.2f}", image, truth, segment(image).mask))
    return outline_grid(cells, names=("mask of the data set", "mask of the network")) if cells else None


@themed
def mask_grid(folder: Path, tables: dict[str, pd.DataFrame], truth: Path | None = None, count: int = 3) -> Figure:
    """Draw the first images of each table with the contours of their masks, a row for each table.

    `tables` are those of `segment_files`; the masks of each are in the subfolder of `folder` with its name. `truth` is
    a folder of ground truth with the names of the images; its contours are drawn too. Volumes are left out.
    """
    cells = []
    for name, table in tables.items():
        drawn = table[table["mask"].fillna("").str.endswith(".png")].head(count)
        for file, mask in zip(map(Path, drawn["file"]), drawn["mask"], strict=True):
            true_mask = read_mask(truth / file.name) if truth else None
            cells.append(Cell(f"{name}: {file.stem}", read_image(file), true_mask, read_mask(folder / name / mask)))
    return outline_grid(cells, columns=count)


def pick_images(scores: pd.DataFrame, which: str = "spread", count: int = 3) -> pd.DataFrame:
    """Return `count` images of a score table by Dice (mean over models): the `worst`, or a `spread` over all."""
    names = [name for name in ("id", "split") if name in scores]
    ranked = scores.groupby(names)["dice"].mean().reset_index().sort_values("dice")
    if which == "worst":
        return ranked.head(count)
    if which == "spread":
        return ranked.iloc[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]
    raise ValueError(f"which must be worst or spread, not {which!r}.")


def _predict_rows(
    prepared: Prepared, file: Path | None, rows: pd.DataFrame
) -> Iterator[tuple[ManifestRow, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each of `rows` with its image, its ground truth, and the mask by a model file, or by the shipped one."""
    engine = engine_of(load_model(file))
    for row in rows.to_dict("records"):
        image, truth = prepared.pair(row)
        yield row, image, truth, segment(image, engine).mask
