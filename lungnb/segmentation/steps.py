"""The three steps of one file: read it, segment it, write its mask.

Each step takes the result of the step before it: `ReadFile`, then `SegmentedImage` or `SegmentedVolume`, then the
file's row of the journal. If a step fails, it returns that row at once, and the later steps pass it on.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from lungnb.engines.engines import Engine
from lungnb.files import DiskFull, NotWritten
from lungnb.formats.dicom_header import BY_HEADER
from lungnb.formats.dicom_seg import write_dicom_seg
from lungnb.formats.images import Picture, is_volume, read_picture, read_volume, write_png
from lungnb.formats.nifti import write_nifti_mask
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.pixels import CUT_OUT, LIKE_MASK, is_cut_out, picture_doubt, shrink
from lungnb.formats.ranges import LUNG_WINDOW, grey_range
from lungnb.formats.volumes import Volume
from lungnb.masks import LUNG_THRESHOLD, Window, clean_mask, cut_out, overlay
from lungnb.segmentation.inference import chest_of_volume
from lungnb.segmentation.journal import JournalRow, stamp_of
from lungnb.segmentation.listing import InputFile, Options
from lungnb.segmentation.lungs import split_sides, why_implausible
from lungnb.segmentation.predict import predict_slices, segment_grey

_SLICES_SHOWN, _SLICE_SIDE_PX = 9, 320  # in the overlay of a volume
_Result = TypeVar("_Result")
Extras: TypeAlias = dict[str, Callable[[Path], None]]  # what writes the outputs on request, by their endings


class ReadFile(NamedTuple):
    """A file after the first step, `read_input`."""

    input_file: InputFile
    picture: Picture | None  # None for a volume, which is read when it is segmented because it takes much memory


class SegmentedImage(NamedTuple):
    """An image after the second step, `segment_input`."""

    input_file: InputFile
    mask: np.ndarray  # (height, width), bool
    picture: Picture
    probability: np.ndarray  # (height, width), float32
    temperature: float = 1.0  # with which the probabilities were corrected
    chest: float | None = None
    milliseconds: float = 0.0


class SegmentedVolume(NamedTuple):
    """A volume after the second step, without probabilities, which would take four times the memory of its mask."""

    input_file: InputFile
    mask: np.ndarray  # (slices, height, width), bool
    volume: Volume  # without its voxels
    shown: dict[int, np.ndarray]  # grey slices for the overlay, by their number
    note: str = ""  # on values that were left out
    chest: float | None = None
    milliseconds: float = 0.0


Segmented: TypeAlias = SegmentedImage | SegmentedVolume


def read_input(input_file: InputFile, window_hu: Window | None = None) -> ReadFile | JournalRow:
    """Read an image file. For a volume, only compute the digest of its files; `segment_input` reads the volume."""

    def read() -> ReadFile:
        stamped = input_file._replace(stamp=stamp_of(input_file.path))
        return ReadFile(stamped, None if is_volume(input_file.path) else read_picture(input_file.path, window_hu))

    return _attempt("read", input_file, read)


def segment_input(
    file: ReadFile | JournalRow, engine: Engine, window_hu: Window | None, upright: bool = False
) -> Segmented | JournalRow:
    """Let the network predict the lungs of an image or a volume; with `upright`, turn films that are not upright."""
    if isinstance(file, dict):
        return file
    return _attempt("segmented", file.input_file, lambda: _segment(file, engine, window_hu, upright))


def write_results(segmented: Segmented | JournalRow, out: Path, options: Options) -> JournalRow:
    """Write the mask, and what `options` ask for; return the file's row of the journal.

    If one of the optional outputs cannot be written, the mask is still written, and the row's `error` says why.
    """
    if isinstance(segmented, dict):
        return segmented
    if isinstance(segmented, SegmentedImage):
        return _attempt("written", segmented.input_file, lambda: _write_image(segmented, out, options))
    return _attempt("written", segmented.input_file, lambda: _write_volume(segmented, out, options))


def _attempt(doing: str, input_file: InputFile, step: Callable[[], _Result]) -> _Result | JournalRow:
    """Return the result of a step, or the row of a file that failed. Only a full disk ends the whole run.

    `doing` is the participle of the step, for the sentence on what went wrong.
    """
    try:
        with guarded(input_file.path, step=doing):
            return step()
    except DiskFull:
        raise
    except (Refused, NotWritten) as error:
        return _begin_row(input_file) | {"status": "failed", "error": str(error)}


def _segment(file: ReadFile, engine: Engine, window_hu: Window | None, upright: bool) -> Segmented:
    started = time.perf_counter()
    if file.picture is None:
        segmented: Segmented = _segment_volume(file, engine, window_hu)
    else:
        segmented = _segment_image(file.input_file, file.picture, engine, upright)
    return segmented._replace(milliseconds=round(1000 * (time.perf_counter() - started), 1))


def _segment_image(input_file: InputFile, picture: Picture, engine: Engine, upright: bool) -> SegmentedImage:
    found = segment_grey(picture.grey, engine, turn=picture.turn, upright=upright)
    notes, degrees = [picture.note], found.turned_degrees
    if found.is_negative:
        notes.append("inverted to segment it, because its lungs are bright")
    if degrees:
        notes.append(
            f"segmented after a turn of {degrees} degrees counter-clockwise; the mask has the direction of the file"
        )
    picture = picture._replace(note=", ".join(filter(None, notes)), turn=found.turn)
    return SegmentedImage(input_file, found.mask, picture, found.probability, found.temperature, found.chest)


def _segment_volume(file: ReadFile, engine: Engine, window_hu: Window | None) -> SegmentedVolume:
    volume = read_volume(file.input_file.path)
    mask = np.empty(volume.hounsfield.shape, bool)
    to_show = np.linspace(0, len(mask) - 1, _SLICES_SHOWN + 2)[1:-1].round().astype(int)
    shown: dict[int, np.ndarray] = {}
    chest: list[float | None] = []
    shown_hu, note = grey_range(volume.hounsfield, window_hu, file.input_file.path)
    for number, (grey, predicted) in enumerate(predict_slices(engine, volume.hounsfield, shown_hu)):
        mask[number] = predicted.probability > LUNG_THRESHOLD
        chest.append(predicted.chest)
        if number in to_show:
            shown[number] = grey
    note = ", ".join(filter(None, [volume.note, note, _doubt_of_slices([*shown.values()], shown_hu == LUNG_WINDOW)]))
    volume = volume._replace(hounsfield=np.empty((0, 0, 0)))  # frees memory, because cleaning the mask takes more
    of_volume = chest_of_volume(chest, mask)
    return SegmentedVolume(file.input_file, clean_mask(mask), volume, shown, note, of_volume)


def _doubt_of_slices(greys: list[np.ndarray], is_ct: bool) -> str:
    """Return a note on slices that are all like masks, or of which most show lungs that are cut out; or ""."""
    drawn = [*filter(np.any, greys)]
    if not is_ct and {*map(picture_doubt, drawn)} == {LIKE_MASK}:
        return LIKE_MASK
    return CUT_OUT if drawn and sum(map(is_cut_out, drawn)) > len(drawn) / 2 else ""


def _write_image(image: SegmentedImage, out: Path, options: Options) -> JournalRow:
    (path, stem, _), mask, picture = image.input_file, image.mask, image.picture
    right, left = split_sides(mask, picture.turn)
    write_png(out / f"{stem}_mask.png", mask)
    extras: Extras = {
        "_overlay.png": lambda file: write_png(file, overlay(picture.grey, mask)),
        "_cutout.png": lambda file: write_png(file, cut_out(picture.grey, mask)),
        "_probability.png": lambda file: write_png(file, np.rint(255 * image.probability).astype(np.uint8)),
        "_seg.dcm": lambda file: write_dicom_seg(file, (right, left), path),
    }
    row = _measured_row(image, right, left) | _write_extras(image, out, options, extras)
    right_px, left_px = row["right_px"], row["left_px"]
    if picture.pixel_mm:
        pixel_mm2 = float(np.prod(picture.pixel_mm))
        row |= {"right_mm2": round(right_px * pixel_mm2), "left_mm2": round(left_px * pixel_mm2)}
    pages = "the first of several pictures" if picture.has_more else ""
    why = why_implausible(mask, right_px, left_px, None, image.probability, image.temperature, image.chest)
    view = "no frontal film or slice of a chest by its header (see note)" if BY_HEADER in picture.note else ""
    review = ", ".join(filter(None, [pages, view, why]))
    return row | {"mask": f"{stem}_mask.png", "review": review, "note": picture.note or None}


def _write_volume(segmented: SegmentedVolume, out: Path, options: Options) -> JournalRow:
    (path, stem, _), mask, volume = segmented.input_file, segmented.mask, segmented.volume
    right, left = split_sides(mask)
    write_nifti_mask(out / f"{stem}_mask.nii.gz", mask, volume)
    extras: Extras = {
        "_overlay.png": lambda file: write_png(file, _overlay_sheet(segmented)),
        "_seg.dcm": lambda file: write_dicom_seg(file, (right, left), path, volume),
    }
    row = _measured_row(segmented, right, left) | _write_extras(segmented, out, options, extras)
    slice_mm, *pixel_mm = volume.spacing_mm
    thick_mm = np.full(len(mask), slice_mm) if volume.slice_mm is None else volume.slice_mm
    right_ml, left_ml = (
        float(np.count_nonzero(lung, axis=(1, 2)) @ thick_mm * np.prod(pixel_mm) / 1000) for lung in (right, left)
    )
    row |= {"slices": len(mask), "right_ml": round(right_ml, 1), "left_ml": round(left_ml, 1)}
    review = why_implausible(mask, row["right_px"], row["left_px"], right_ml + left_ml, chest=segmented.chest)
    return row | {"mask": f"{stem}_mask.nii.gz", "review": review, "note": segmented.note or None}


def _write_extras(segmented: Segmented, out: Path, options: Options, extras: Extras) -> JournalRow:
    """Write the outputs that are asked for, and return the row's `error`, which says which of them failed."""
    input_file, endings = segmented.input_file, options.endings(isinstance(segmented, SegmentedVolume))
    files = {ending: out / f"{input_file.stem}{ending}" for ending in endings}
    rows = [_attempt("written", input_file, partial(extras[ending], file)) for ending, file in files.items()]
    return {"error": " ".join(row["error"] for row in rows if row) or None}


def _begin_row(input_file: InputFile) -> JournalRow:
    return {"file": str(input_file.path), "stem": input_file.stem, "stamp": input_file.stamp}


def _measured_row(segmented: Segmented, right: np.ndarray, left: np.ndarray) -> JournalRow:
    """Return the first part of a row, up to the sizes of the mask and of the patient's right and left lung."""
    mask, right_px, left_px = segmented.mask, int(np.count_nonzero(right)), int(np.count_nonzero(left))
    sizes = {"height": mask.shape[-2], "width": mask.shape[-1], "right_px": right_px, "left_px": left_px}
    sizes |= {"lung": round(float(mask.mean()), 4), "milliseconds": segmented.milliseconds}
    sizes |= {} if segmented.chest is None else {"chest": round(segmented.chest, 4)}
    status = "ok" if right_px + left_px else "no lung found"
    return _begin_row(segmented.input_file) | {"status": status} | sizes


def _overlay_sheet(segmented: SegmentedVolume) -> np.ndarray:
    """Return a volume's overlays, three in a row, each at most `_SLICE_SIDE_PX` px wide and high."""
    pictures = [
        overlay(shrink(grey, _SLICE_SIDE_PX), shrink(segmented.mask[number], _SLICE_SIDE_PX))
        for number, grey in segmented.shown.items()
    ]
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % 3)
    return np.vstack([np.hstack(pictures[start : start + 3]) for start in range(0, len(pictures), 3)])
