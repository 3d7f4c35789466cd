"""The three steps of one file: read it, segment it, write its mask. A step that fails ends with a sentence.

Each step takes the result of the step before it: `ReadFile`, then `SegmentedImage` or `SegmentedVolume`, then the
file's row of the journal; or `Failed`, which the later steps pass on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from lungnb.engines.engines import THRESHOLD, Engine
from lungnb.files import DiskFull, NotWritten
from lungnb.formats.dicom_seg import write_dicom_seg
from lungnb.formats.images import Picture, read_picture, write_png
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.pixels import shrink
from lungnb.formats.volumes import Volume, is_nifti, read_volume, write_nifti_mask
from lungnb.masks import clean_mask, cut_out, overlay
from lungnb.segmentation.journal import Row, stamp_of
from lungnb.segmentation.listing import InputFile, Options
from lungnb.segmentation.plausibility import why_implausible
from lungnb.segmentation.predict import predict_slices, segment_grey
from lungnb.segmentation.sides import split_sides

_SLICES_SHOWN, _SLICE_SIDE_PX = 9, 320  # in the overlay of a volume
_NO_VOXELS = np.empty((0, 0, 0), np.float32)
Result = TypeVar("Result")


class Failed(NamedTuple):
    """A file that one of the steps could not use, and the sentence that says why."""

    case: InputFile
    stamp: str
    error: str


class ReadFile(NamedTuple):
    """A file after the first step."""

    case: InputFile
    stamp: str  # digest of the file's content
    picture: Picture | None  # None for a volume, which is read when it is segmented because it takes much memory


class SegmentedImage(NamedTuple):
    """An image after the second step."""

    case: InputFile
    stamp: str
    picture: Picture
    mask: np.ndarray  # (height, width), bool
    probability: np.ndarray  # (height, width), float32
    milliseconds: float


class SegmentedVolume(NamedTuple):
    """A volume after the second step, without probabilities, which would take four times the memory of its mask."""

    case: InputFile
    stamp: str
    volume: Volume  # without its voxels
    mask: np.ndarray  # (slices, height, width), bool
    shown: dict[int, np.ndarray]  # grey slices for the overlay, by their number
    milliseconds: float


def read_case(case: InputFile, window_hu: tuple[float, float] | None = None) -> ReadFile | Failed:
    """Read an image file. Of a volume, only compute its stamp."""

    def read() -> ReadFile:
        is_volume = os.path.isdir(case.path) or is_nifti(case.path)
        return ReadFile(case, stamp_of(case.path), None if is_volume else read_picture(case.path, window_hu))

    return _attempt("read", case, "", read)


def segment_case(
    file: ReadFile | Failed, engine: Engine, window_hu: tuple[float, float] | None
) -> SegmentedImage | SegmentedVolume | Failed:
    """Let the network predict the lungs of an image or a volume."""
    if isinstance(file, Failed):
        return file
    return _attempt("segmented", file.case, file.stamp, lambda: _segment(file, engine, window_hu))


def write_case(segmented: SegmentedImage | SegmentedVolume | Failed, out: Path, options: Options) -> Row:
    """Write what `options` ask for, and return the file's row of the journal."""
    if isinstance(segmented, Failed):
        return _failed_row(segmented)
    row = _attempt("written", segmented.case, segmented.stamp, lambda: _write(segmented, out, options))
    return _failed_row(row) if isinstance(row, Failed) else row


def _attempt(doing: str, case: InputFile, stamp: str, step: Callable[[], Result]) -> Result | Failed:
    """Return what a step returns, or a sentence on what went wrong. A full disk alone ends the whole run.

    `doing` is the participle of the step, for the sentence.
    """
    try:
        with guarded(case.path, step=doing):
            return step()
    except DiskFull:
        raise
    except (Refused, NotWritten) as error:
        return Failed(case, stamp, str(error))


def _segment(file: ReadFile, engine: Engine, window_hu: tuple[float, float] | None) -> SegmentedImage | SegmentedVolume:
    started = time.perf_counter()
    if file.picture is None:
        volume, mask, shown = _segment_volume(file.case.path, engine, window_hu)
        return SegmentedVolume(file.case, file.stamp, volume, mask, shown, _milliseconds_since(started))
    _, mask, probability = segment_grey(file.picture.grey, engine, turn=file.picture.turn)
    return SegmentedImage(file.case, file.stamp, file.picture, mask, probability, _milliseconds_since(started))


def _segment_volume(
    path: Path, engine: Engine, window_hu: tuple[float, float] | None
) -> tuple[Volume, np.ndarray, dict[int, np.ndarray]]:
    """Segment a volume slice by slice; return it without its voxels, its mask, and the slices of its overlay."""
    volume = read_volume(path)
    mask = np.empty(volume.hounsfield.shape, bool)
    to_show = np.linspace(0, len(mask) - 1, _SLICES_SHOWN + 2)[1:-1].round().astype(int)
    shown: dict[int, np.ndarray] = {}
    for number, (grey, probability) in enumerate(predict_slices(engine, volume.hounsfield, window_hu, path)):
        mask[number] = probability > THRESHOLD
        if number in to_show:
            shown[number] = grey
    volume = volume._replace(hounsfield=_NO_VOXELS)  # frees memory, because cleaning the mask takes more
    return volume, clean_mask(mask), shown


def _milliseconds_since(started: float) -> float:
    return round(1000 * (time.perf_counter() - started), 1)


def _write(segmented: SegmentedImage | SegmentedVolume, out: Path, options: Options) -> Row:
    if isinstance(segmented, SegmentedImage):
        return _write_image(segmented, out, options)
    return _write_volume(segmented, out, options)


def _write_image(image: SegmentedImage, out: Path, options: Options) -> Row:
    (path, stem), mask, (grey, pixel_mm, turn, has_more) = image.case, image.mask, image.picture
    right, left = map(turn.stored, split_sides(turn.upright(mask)))
    if options.dicom_segs:
        write_dicom_seg(out / f"{stem}_seg.dcm", (right, left), path)
    write_png(out / f"{stem}_mask.png", mask)
    if options.overlays:
        write_png(out / f"{stem}_overlay.png", overlay(grey, mask))
    if options.cutouts:
        write_png(out / f"{stem}_cutout.png", cut_out(grey, mask))
    if options.probabilities:
        write_png(out / f"{stem}_probability.png", np.rint(255 * image.probability).astype(np.uint8))
    row = _measured_row(image, right, left)
    right_px, left_px = row["right_px"], row["left_px"]
    if pixel_mm:
        pixel_mm2 = float(np.prod(pixel_mm))
        row |= {"right_mm2": round(right_px * pixel_mm2), "left_mm2": round(left_px * pixel_mm2)}
    pages = "the first of several pictures" if has_more else ""
    review = ", ".join(filter(None, [pages, why_implausible(mask, right_px, left_px)]))
    return row | {"status": _status(row), "mask": f"{stem}_mask.png", "review": review}


def _write_volume(segmented: SegmentedVolume, out: Path, options: Options) -> Row:
    (path, stem), mask, volume = segmented.case, segmented.mask, segmented.volume
    right, left = split_sides(mask)
    if options.dicom_segs:
        write_dicom_seg(out / f"{stem}_seg.dcm", (right, left), path, volume)
    write_nifti_mask(out / f"{stem}_mask.nii.gz", mask, volume)
    if options.overlays:
        write_png(out / f"{stem}_overlay.png", _overlay_sheet(segmented))
    row, voxel_ml = _measured_row(segmented, right, left), float(np.prod(volume.spacing_mm)) / 1000
    right_px, left_px = row["right_px"], row["left_px"]
    row |= {"slices": len(mask), "right_ml": round(right_px * voxel_ml, 1), "left_ml": round(left_px * voxel_ml, 1)}
    review = why_implausible(mask, right_px, left_px, (right_px + left_px) * voxel_ml)
    return row | {"status": _status(row), "mask": f"{stem}_mask.nii.gz", "review": review}


def _begin_row(file: SegmentedImage | SegmentedVolume | Failed) -> Row:
    return {"file": str(file.case.path), "stem": file.case.stem, "stamp": file.stamp}


def _failed_row(failed: Failed) -> Row:
    return _begin_row(failed) | {"status": "failed", "error": failed.error}


def _measured_row(segmented: SegmentedImage | SegmentedVolume, right: np.ndarray, left: np.ndarray) -> Row:
    """Return the beginning of a row: the sizes of the mask and of the patient's right and left lung."""
    mask = segmented.mask
    sizes = {"height": mask.shape[-2], "width": mask.shape[-1]}
    sizes |= {"right_px": int(np.count_nonzero(right)), "left_px": int(np.count_nonzero(left))}
    share = {"lung": round(float(mask.mean()), 4), "milliseconds": segmented.milliseconds}
    return _begin_row(segmented) | sizes | share


def _status(row: Row) -> str:
    return "ok" if row["right_px"] + row["left_px"] else "no lung found"


def _overlay_sheet(segmented: SegmentedVolume) -> np.ndarray:
    """Return a volume's overlays, three in a row, each at most `_SLICE_SIDE_PX` px wide and high."""
    pictures = [
        overlay(shrink(grey, _SLICE_SIDE_PX), shrink(segmented.mask[number], _SLICE_SIDE_PX))
        for number, grey in segmented.shown.items()
    ]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % 3)
    return np.vstack([np.hstack(pictures[start : start + 3]) for start in range(0, len(pictures), 3)])
