"""Draw data sets: raw pairs, splits, faults of masks, kinds of phantoms, the image size, augmentation, and a leak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from lungnb.datasets.pairing import Pair
from lungnb.datasets.prepared import Prepared
from lungnb.datasets.reading import ReadOptions, read_pair
from lungnb.datasets.sources import find_source
from lungnb.figures.pictures import Cell, outline_grid
from lungnb.figures.theme import COLORS, MARKERS, subplots, themed
from lungnb.formats.images import is_volume, read_image, read_volume
from lungnb.formats.pixels import fit_square, to_grey
from lungnb.formats.ranges import LUNG_WINDOW
from lungnb.lessons.data_sets import SQUARE_SIDES, Fault, best_mask
from lungnb.lessons.memory import WAYS, Memory, Study
from lungnb.masks import LUNG_THRESHOLD, overlay
from lungnb.metrics import dice
from lungnb.phantoms.make import make_phantom
from lungnb.settings import SPLITS, Settings

if TYPE_CHECKING:
    from lungnb.networks.data import Batch

_TRIES = 8  # random changes, of which the first clear one is shown
_CLEAR_CHANGE = 0.5  # share of the largest of these changes; smaller changes are hard to see


@themed
def show_files(raw: Path, files: Sequence[Path], count: int = 9) -> Figure:
    """Draw files of a raw data set: images, masks, and the middle slice of each volume.

    `count` files are drawn, evenly spaced in `files`.
    """
    shown = [*files][:: max(len(files) // count, 1)][:count]
    return outline_grid([_read_raw(raw / file) for file in shown])


@themed
def pair_grid(raw: Path, pairs: Sequence[Pair], settings: Settings, count: int = 3) -> Figure:
    """Draw raw pairs of different patients, a row each: the image, its mask, and the contour of the mask on the image.

    For a volume, draw the middle slice. For a pair that cannot be read, draw black images.
    """
    of_patient = {pair.patient: pair for pair in reversed(pairs)}
    patients = sorted(of_patient)
    chosen = np.linspace(0, len(patients) - 1, min(count, len(patients))).astype(int)
    mask_values = settings.mask_values or find_source(settings.dataset).mask_values
    options = ReadOptions(settings.window, settings.spacing, settings.pixel_mm, 1, mask_values)
    cells = [cell for place in chosen for cell in _pair_cells(raw, of_patient[patients[place]], options)]
    return outline_grid(cells)


def _pair_cells(raw: Path, pair: Pair, options: ReadOptions) -> list[Cell]:
    mask_name = " + ".join(mask.name for mask in pair.masks)
    try:
        ((_, image, mask, _), *_), _ = read_pair(pair, raw, options)
    except ValueError:
        return [Cell(f"{pair.image.name} cannot be read", np.zeros((64, 64), np.uint8))] * 3
    white = mask.astype(np.uint8) * np.uint8(255)
    return [Cell(f"image {pair.image.name}", image), Cell(f"mask {mask_name}", white), Cell("contour", image, mask)]


@themed
def data_overview(prepared: Prepared) -> Figure:
    """Draw how many images each split of a prepared data set has, their sizes, grey levels, and shares of lung."""
    manifest = prepared.manifest
    levels, areas = _grey_levels_and_areas(prepared)
    figure, ((splits, sizes), (greys, shares)) = subplots(2, 2, figsize=(10, 7))
    counts = manifest["split"].value_counts().reindex(SPLITS).dropna()
    splits.bar_label(splits.bar(counts.index, counts, color=COLORS))
    splits.set(title="Images in each split", xlabel="", ylabel="images")
    splits.grid(axis="x", visible=False)
    splits.margins(y=0.12)  # room for the number above the highest bar
    images = manifest.groupby(["width", "height"]).size().rename("images").reset_index()
    sns.scatterplot(images, x="width", y="height", size="images", sizes=(60, 400), legend=False, ax=sizes)
    for row in images.nlargest(5, "images").itertuples():
        sizes.annotate(f"  {row.images}", (row.width, row.height), va="center", fontsize=10)
    sizes.set(title="Sizes, with the number of images", xlabel="width (px)", ylabel="height (px)")
    sizes.margins(0.3)
    for name, dash in (("lung", "-"), ("rest", "--")):
        greys.stairs(levels[name], np.arange(0, 257, 4), label=name, linewidth=2, linestyle=dash)
    greys.set(title="Grey levels", xlabel="grey level (0 to 255)", ylabel="share of pixels")
    greys.legend()
    order = [*counts.index]
    sns.boxplot(areas, x="lung", y="split", order=order, color="white", fliersize=0, width=0.5, ax=shares)
    sns.stripplot(areas, x="lung", y="split", order=order, hue="split", hue_order=order, size=3, ax=shares)
    shares.set(title="Lung, as a share of the picture", xlabel="share of pixels", ylabel="")
    return figure


def _grey_levels_and_areas(prepared: Prepared) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Return the grey-level histograms of lung and of the rest (64 bins, shares), and each image's share of lung."""
    sums, areas = {"lung": np.zeros(64), "rest": np.zeros(64)}, []
    for row in prepared.rows(*SPLITS):
        image, mask = prepared.pair(row)
        for name, pixels in (("lung", image[mask]), ("rest", image[~mask])):
            sums[name] += np.bincount(pixels // 4, minlength=64)
        areas.append({"split": row["split"], "lung": mask.mean()})
    return {name: total / max(total.sum(), 1) for name, total in sums.items()}, pd.DataFrame(areas)


@themed
def fault_grid(image: np.ndarray, faults: Sequence[Fault]) -> Figure:
    """Draw masks with different faults, tinted on one image. `image` and `faults` are those of `faulty_masks`."""
    return outline_grid([Cell(fault.name, overlay(image, fault.mask)) for fault in faults], columns=4, inches=2.4)


@themed
def phantom_grid(kinds: Sequence[str] = ("xray", "film", "ct", "wild"), count: int = 2) -> Figure:
    """Draw phantoms with the contours of their masks, a column for each kind. CT slices are in a lung window."""
    cells = []
    for number in range(1, count + 1):
        for kind in kinds:
            phantom = make_phantom(number, kind=kind)
            cells.append(Cell(kind, to_grey(phantom.image, LUNG_WINDOW if kind == "ct" else None), phantom.mask))
    return outline_grid(cells, columns=len(kinds), inches=2.4)


@themed
def size_grid(image: np.ndarray, mask: np.ndarray, sides: Sequence[int] = SQUARE_SIDES[:3]) -> Figure:
    """Draw the lowest corner of the lungs as networks of different sizes see it, with true mask and best possible mask.

    The corner is a quarter of the image wide and high. The Dice in the titles is that of the whole masks.
    """
    cells = []
    row, column = (int(place) for place in np.argwhere(mask)[-1])
    height, width = (side // 4 for side in mask.shape)
    top = min(max(row - 3 * height // 4, 0), mask.shape[0] - height)
    left = min(max(column - width // 2, 0), mask.shape[1] - width)
    corner = np.s_[top : top + height, left : left + width]
    for side in sides:
        best, square = best_mask(mask, side), fit_square(image, side)
        part = square.array[square.top : square.top + square.height, square.left : square.left + square.width]
        seen = np.asarray(Image.fromarray(part).resize(image.shape[::-1], Image.Resampling.NEAREST))
        cells.append(Cell(f"{side} px, best Dice {dice(mask, best):.3f}", seen[corner], mask[corner], best[corner]))
    return outline_grid(cells, columns=len(sides), names=("true mask", "best mask at this size"))


@themed
def leak_grid(study: Study, memory: Memory, images: tuple[int, int, int]) -> Figure:
    """Draw a test image, and on it the masks remembered from two similar training images.

    `images` are those of `pick_example`. The second panel has the predicted mask if images are dealt, the third if
    patients are dealt. The solid contour is the ground truth.
    """
    tested, nearest, other = images
    image, truth = study.images[tested], study.masks[tested]
    cells = [Cell("test image", image, truth)]
    for way, place in zip(WAYS, (nearest, other), strict=True):
        cells.append(Cell(f"{way} dealt, Dice {memory.dice[tested, place]:.2f}", image, truth, study.masks[place]))
    return outline_grid(cells)


@themed
def leak_chart(table: pd.DataFrame) -> Figure:
    """Draw the Dice if images are dealt and if patients are dealt, a point for each deal.

    `table` is that of `deal_both_ways`.
    """
    figure, axis = subplots(figsize=(8, 2.4))
    for row, way in enumerate(WAYS):
        scores = table.loc[table["way"] == way, "dice"]
        place = row + 0.18 * np.linspace(-1, 1, len(scores))
        axis.plot(scores, place, MARKERS[row], color=COLORS[row], alpha=0.7, markersize=6)
        axis.plot([scores.mean()] * 2, [row - 0.32, row + 0.32], color="0.2", linewidth=2)
    axis.set(yticks=range(len(WAYS)), yticklabels=[f"{way} are dealt" for way in WAYS], ylim=(len(WAYS) - 0.5, -0.5))
    axis.set_xlabel("mean Dice of the test images (line: mean over deals)")
    axis.grid(axis="y", visible=False)
    return figure


@themed
def augmentation_grid(batch: Batch, settings: Settings) -> Figure:
    """Draw the first image of a batch: unchanged, after each augmentation alone, and after all of them."""
    titles = {
        "flip": "flip", "rotation": f"rotation, at most {settings.rotation:g} degrees",
        "zoom": f"zoom, at most {settings.zoom:.0%}", "contrast": f"contrast, at most {settings.contrast:.0%}",
    }  # fmt: skip
    plain = settings.replace(flip=False, rotation=0.0, zoom=0.0, contrast=0.0)
    cells = [_batch_cell("as it was read", batch)]
    for name, title in titles.items():
        if value := getattr(settings, name):
            cells.append(_batch_cell(title, _clear_change(batch, plain.replace(**{name: value}))))
    return outline_grid([*cells, _batch_cell("all together", _clear_change(batch, settings))])


def _clear_change(batch: Batch, settings: Settings) -> Batch:
    """Return the first image of a batch after the first random change that can be seen."""
    from lungnb.networks.data import augment  # loads TensorFlow, which other pictures do not need

    first = (batch[0][:1], batch[1][:1])
    changed = [augment(*first, settings, seed=(settings.seed, step)) for step in range(_TRIES)]
    changes = [float(np.abs(np.asarray(images - first[0])).mean()) for images, _ in changed]
    limit = _CLEAR_CHANGE * max(changes)
    return next(each for each, change in zip(changed, changes, strict=True) if change >= limit)


def _batch_cell(title: str, batch: Batch) -> Cell:
    image, mask = (np.asarray(part)[0, ..., 0] for part in batch)
    return Cell(title, image * 255, mask > LUNG_THRESHOLD)


def _read_raw(file: Path) -> Cell:
    """Return a raw file as a grey image with its name; a black image if the file cannot be read."""
    try:
        if not is_volume(file):
            return Cell(file.name, read_image(file))
        volume = read_volume(file).hounsfield
        return Cell(f"{file.name}, slice {len(volume) // 2}", to_grey(volume[len(volume) // 2]))
    except ValueError:
        return Cell(f"{file.name} cannot be read", np.zeros((64, 64), np.uint8))
