"""Grids of images with the contours of their masks; each function returns the figure.

Contours differ in dash as well as in colour, so that they are legible in print and to colour-blind readers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import Prepared, Row, open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.figures.theme import FOUND, TRUTH, subplots, themed
from lungnb.formats.images import read_image, read_volume
from lungnb.formats.nifti import is_nifti
from lungnb.formats.pixels import to_grey
from lungnb.formats.ranges import LUNG_WINDOW
from lungnb.masks import cut_out, overlay
from lungnb.messages import printable
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.predict import Segmentation, segment
from lungnb.settings import Settings, title_of

Cell: TypeAlias = tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None]  # title, image, ground truth, prediction


@themed
def show_images(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 3) -> Figure:
    """Draw greyscale images `(height, width)` in a grid, a title each."""
    figure, axes = _grid(-(-len(images) // columns), columns)
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        _draw(axis, image)
        axis.set_title(title, fontsize=9, parse_math=False)  # because names of files may hold dollar signs
    return figure


@themed
def show_segmentation(segmentation: Segmentation) -> Figure:
    """Draw a result of `segment`: the image, the mask on it, and the lungs cut out; of a volume its middle slice."""
    image, mask = segmentation.image, segmentation.mask
    if image.ndim == 3:
        image, mask = image[len(image) // 2], mask[len(mask) // 2]
    return show_images([image, overlay(image, mask), cut_out(image, mask)], ["image", "overlay", "lungs"])


@themed
def phantom_grid(kind: str, first: int = 1, seed: int = 1) -> Figure:
    """Draw nine phantoms of a kind with the contours of their masks; CT slices in a lung window."""
    figure, axes = _grid(3, 3)
    for number, axis in enumerate(axes.flat, first):
        phantom = make_phantom(number, seed, kind)
        _draw(axis, to_grey(phantom.image, LUNG_WINDOW if kind == "ct" else None), truth=phantom.mask)
        axis.set_title(f"{kind} {number}", fontsize=9)
    _legend(figure, truth=True)
    return figure


@themed
def show_files(raw: Path, files: Sequence[Path], count: int = 9) -> Figure:
    """Draw `count` of the `files` of a raw data set, evenly spaced: images, masks, and the middle slice of a volume."""
    shown = [*files][:: max(len(files) // count, 1)][:count]
    images, titles = zip(*(_read_raw(raw / file) for file in shown), strict=True)
    return show_images(images, [*map(printable, titles)])


@themed
def image_grid(prepared: Prepared, manifest: pd.DataFrame, count: int = 9) -> Figure:
    """Draw prepared images, evenly spaced rows of the manifest, with the contours of their masks."""
    rows = manifest.iloc[np.linspace(0, len(manifest) - 1, min(count, len(manifest))).astype(int)]
    figure, axes = _grid(-(-len(rows) // 3), 3)
    for axis, row in zip(axes.flat, _records(rows), strict=False):
        image, mask = prepared.pair(row)
        _draw(axis, image, truth=mask)
        axis.set_title(f"{row['id']} ({row['split']})", fontsize=9, parse_math=False)
    _legend(figure, truth=True)
    return figure


@themed
def batch_grid(images: np.ndarray, masks: np.ndarray) -> Figure:
    """Draw up to nine images of a batch, `(batch, height, width, 1)`, with the contours of their masks."""
    figure, axes = _grid(3, 3, inches=2.2)
    for axis, image, mask in zip(axes.flat, np.asarray(images), np.asarray(masks), strict=False):
        _draw(axis, image[..., 0] * 255, truth=mask[..., 0] > 0.5)
    _legend(figure, truth=True)
    return figure


@themed
def prediction_grid(settings: Settings, model_name: str, rows: pd.DataFrame) -> Figure:
    """Draw an image a row: the image, its ground truth, and the prediction of the model with its Dice."""
    prepared, predictions = open_prepared(settings), _predictions(settings, model_name, rows)
    figure, axes = _grid(len(rows), 3)
    for (left, middle, right), row, prediction in zip(axes, _records(rows), predictions, strict=True):
        image, truth = prepared.pair(row)
        _draw(left, image)
        _draw(middle, image, truth=truth)
        _draw(right, image, prediction=prediction)
        left.set_ylabel(row["id"], fontsize=9, parse_math=False)
        right.set_xlabel(f"Dice {row['dice']:.3f}", fontsize=9)
    for axis, title in zip(axes[0], ("image", "true mask", f"{title_of(model_name)} finds"), strict=True):
        axis.set_title(title)
    return figure


@themed
def model_grid(settings: Settings, model_names: Sequence[str], rows: pd.DataFrame) -> Figure:
    """Draw an image a row and a model a column: the contours of the ground truth and of the model's prediction.

    With one model, draw image, ground truth and prediction side by side, as `prediction_grid` does.
    """
    if len(model_names) == 1:
        return prediction_grid(settings, model_names[0], rows)
    prepared = open_prepared(settings)
    figure, axes = _grid(len(rows), len(model_names))
    for name, column in zip(model_names, axes.T, strict=True):
        column[0].set_title(title_of(name))
        for axis, row, prediction in zip(column, _records(rows), _predictions(settings, name, rows), strict=True):
            image, truth = prepared.pair(row)
            _draw(axis, image, truth, prediction)
    for axis, row in zip(axes[:, 0], _records(rows), strict=True):
        axis.set_ylabel(row["id"], fontsize=9, parse_math=False)
    _legend(figure, truth=True, prediction=True)
    return figure


@themed
def failure_gallery(settings: Settings, model_name: str | None, rows: pd.DataFrame) -> Figure:
    """Draw images three a row, such as the worst nine, with the contours of the ground truth and of the prediction.

    If `model_name` is None, take the network that lungnb ships, and clean its masks up as `segment` does.
    """
    figure, axes = _grid(-(-len(rows) // 3), 3)
    prepared, predictions = open_prepared(settings), _predictions(settings, model_name, rows)
    for axis, row, prediction in zip(axes.flat, _records(rows), predictions, strict=False):
        image, truth = prepared.pair(row)
        _draw(axis, image, truth, prediction)
        axis.set_title(f"{row['id']}, Dice {row['dice']:.3f}", fontsize=9, parse_math=False)
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    title = f"{title_of(model_name) if model_name else settings.name}, the worst {len(rows)}"
    figure.suptitle(title, fontsize=12, parse_math=False)
    _legend(figure, truth=True, prediction=True)
    return figure


@themed
def outline_grid(cells: Sequence[Cell]) -> Figure:
    """Draw images three a row with the contours of ground truth and prediction, if they have them."""
    figure, axes = _grid(-(-len(cells) // 3), 3)
    for axis in axes.flat[len(cells) :]:
        axis.axis("off")
    for axis, (title, image, truth, prediction) in zip(axes.flat, cells, strict=False):
        _draw(axis, image, truth, prediction)
        axis.set_title("\n".join(textwrap.wrap(printable(title), 36)), fontsize=9, parse_math=False)
    _legend(figure, truth=any(cell[2] is not None for cell in cells), prediction=True)
    return figure


@themed
def suspects(prepared: Prepared, findings: pd.DataFrame, count: int = 9) -> Figure:
    """Draw at most `count` pairs with errors or warnings of `check_dataset`, each with its mask and the finding."""
    manifest = prepared.manifest
    faults = findings[findings["severity"] != "note"].groupby("file", sort=False)["what"].agg("; ".join)
    fault = manifest["source_mask"].map(faults).fillna(manifest["source_image"].map(faults))
    rows = manifest.assign(what=fault).dropna(subset="what").head(count)
    figure, axes = _grid(max(-(-len(rows) // 3), 1), 3)
    figure.suptitle("" if len(rows) else "Nothing suspicious", fontsize=12)
    for axis in axes.flat[len(rows) :]:
        axis.axis("off")
    for axis, row in zip(axes.flat, _records(rows), strict=False):
        image, truth = prepared.pair(row)
        _draw(axis, image, truth=truth)
        axis.set_title("\n".join([row["id"], *textwrap.wrap(row["what"], 40)]), fontsize=9, parse_math=False)
    return figure


def pick_images(scores: pd.DataFrame, which: str = "spread", count: int = 3) -> pd.DataFrame:
    """Return `count` images of a score table: the `worst` by Dice (mean over models), or a `spread` to the best."""
    ranked = scores.groupby(["id", "split"])["dice"].mean().reset_index().sort_values("dice")
    if which == "worst":
        return ranked.head(count)
    if which == "spread":
        return ranked.iloc[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]
    raise ValueError(f"which must be worst or spread, not {which!r}.")


def _records(rows: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _read_raw(file: Path) -> tuple[np.ndarray, str]:
    """Return a raw file as a grey image with its name; a black image if the file cannot be read."""
    try:
        if not is_nifti(file):
            return read_image(file), file.name
        volume = read_volume(file).hounsfield
        return to_grey(volume[len(volume) // 2]), f"{file.name}, slice {len(volume) // 2}"
    except ValueError:
        return np.zeros((64, 64), np.uint8), f"{file.name} cannot be read"


def _predictions(settings: Settings, model_name: str | None, rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the masks that a model, or the shipped one, predicts for the prepared images of `rows`."""
    engine = engine_of(load_model(settings.results / model_name / MODEL if model_name else None))
    prepared = open_prepared(settings)
    images = (prepared.pair(row)[0] for row in _records(rows))
    return [segment(image, engine, clean=model_name is None).mask for image in images]


def _grid(rows: int, columns: int, inches: float = 3.0) -> tuple[Figure, np.ndarray]:
    """Return a figure and `(rows, columns)` axes without ticks, each of some inches."""
    with plt.rc_context({"text.parse_math": False}):  # because titles are names of files, which may hold $
        figure, axes = subplots(
            rows, columns, figsize=(inches * columns, inches * rows), layout="constrained", squeeze=False
        )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        sns.despine(ax=axis, left=True, bottom=True)
    return figure, axes


def _draw(axis: Axes, image: np.ndarray, truth: np.ndarray | None = None, prediction: np.ndarray | None = None) -> None:
    """Draw an image and the contours of its masks."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    dash_of_prediction = "dashed" if truth is not None else "solid"
    for mask, color, dash in ((truth, TRUTH, "solid"), (prediction, FOUND, dash_of_prediction)):
        if mask is not None and mask.any() and not mask.all():
            axis.contour(mask, [0.5], colors=color, linewidths=1.6, linestyles=dash)


def _legend(figure: Figure, truth: bool = False, prediction: bool = False) -> None:
    """Draw the legend of the contours below the figure."""
    entries = [(truth, TRUTH, "true mask"), (prediction, FOUND, "found")]
    patches = [Patch(color=color, label=label) for is_shown, color, label in entries if is_shown]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, frameon=False)
