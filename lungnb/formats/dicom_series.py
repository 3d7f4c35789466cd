"""Read CT volumes: the series in a folder, or the frames of one file. Needs pydicom and nibabel (extra `medical`).

highdicom's `get_volume_from_series` is not used, because it refuses tilted gantries and rounded positions, needs
identifiers that anonymised files lack, and holds all files, their pixels and the volume in memory at once.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lungnb.formats.dicom import to_hounsfield
from lungnb.formats.dicom_frames import read_frame
from lungnb.formats.dicom_header import (
    PLACE_ELEMENTS,
    Place,
    count_frames,
    frame_header,
    is_in_hounsfield,
    other_object,
    other_units,
    place_of,
    view_note,
)
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.volumes import Volume, refuse_size, refuse_slices, turn_to_axial
from lungnb.masks import Floats

if TYPE_CHECKING:
    from pydicom import Dataset

STEP_TOLERANCE = 0.1  # take steps between slices that differ by this share for even, because files round positions
MAX_ACROSS = 3  # leave out so many pictures that lie across the slices; more are another series
_GAP = 1.75  # a step so many times as wide as the steps beside it means that a slice is missing
_MIN_STEP_MM = 1e-3  # slices nearer to each other lie in one place
_PLACE_TOLERANCE = 1e-3  # accept spacings (mm) and directions that differ by this much within a series
_NO_UNITS = "not CT in Hounsfield units (RescaleIntercept)"
_LACKING = ("does not say how it lies", _NO_UNITS)  # a header that an export or anonymisation thinned out
_MIN_COSINE = 0.9  # between the normals of slices; a scout lies at right angles


class Slice(NamedTuple):
    """A picture of a volume: its file, the number of its frame there, and its position."""

    path: Path
    frame: int
    series: str
    acquisition: str
    place: Place


class Stack(NamedTuple):
    """The slices of a volume in the order of their positions."""

    slices: list[Slice]
    heights_mm: Floats  # along the normal of the slices, rising
    note: str  # on files that were left out, and on uneven steps
    is_even: bool


def read_dicom_series(path: str | Path) -> Volume:
    """Return the CT series in a folder, or the frames of a DICOM file, as axial slices in Hounsfield units.

    Slices are sorted, and spaced, by their positions along the normal of the slices. File names and InstanceNumbers do
    not matter. Each slice's own RescaleSlope and RescaleIntercept are applied. Windows, VOI LUTs and MONOCHROME1 only
    say how values are shown, so they change nothing.

    Other objects in the folder, scouts and exact copies of slices are left out; the volume's `note` names them. Uneven
    steps between slices give a volume with `slice_mm`.

    Raises Refused, naming the folder or a file, if it holds no slice of CT or several series or acquisitions, and if
    slices differ in size or angle, or one is missing.
    """
    path = Path(path)
    with guarded(path, "a DICOM series"):
        stack = stack_slices(path)
        slices, heights_mm = stack.slices, stack.heights_mm
        first, last = slices[0].place, slices[-1].place
        refuse_size(path, (*first.shape, len(slices)))
        array, opened = np.empty((len(slices), *first.shape), np.float32), None
        for index, piece in enumerate(slices):
            if opened is None or piece.path != slices[index - 1].path:
                opened = open_dicom(piece.path)
            array[index] = _read_slice(piece, opened)
        affine = first.affine((last.position - first.position) / (len(slices) - 1))
        places = (heights_mm - heights_mm[0]) / np.diff(heights_mm).mean()
        note = "; ".join(filter(None, [stack.note, view_note(opened) if opened else ""]))
        volume = turn_to_axial(array.transpose(), affine, path)._replace(note=note, slice_places=places)
        if stack.is_even:
            return volume
        if np.abs(affine[:3, 2]).argmax() != 2:
            raise Refused(f"{path}: its slices are spaced unevenly and not axial. Resample it to even steps.")
        slice_mm = np.gradient(heights_mm)  # from halfway to the slice before to halfway to the next
        return volume._replace(slice_mm=slice_mm if affine[2, 2] > 0 else slice_mm[::-1])


def series_of(file: Path) -> tuple[Path, str] | None:
    """Return a file with the number of the series of which it is a slice of CT; None for all others."""
    with suppress(Refused), guarded(file):
        header = open_dicom(file, header_only=True)
        if not other_object(header) and count_frames(header) == 1:
            return file, str(header.get("SeriesInstanceUID") or "")
    return None


def dicom_files(folder: Path) -> list[Path]:
    """Return the DICOM files in a folder, except hidden ones and those that lungnb wrote, sorted by name."""
    files = (file for file in folder.iterdir() if not file.name.startswith(".") and is_dicom(file))
    return sorted(file for file in files if not file.name.endswith("_seg.dcm"))


def stack_slices(path: Path) -> Stack:
    """Return the slices of the CT series in a folder, or of the frames of a file; see `read_dicom_series`."""
    paths = dicom_files(path) if os.path.isdir(path) else [path] if is_dicom(path) else []
    if not paths:
        raise Refused(f"{path}: holds no DICOM files. Name the folder of a series.")
    refuse_slices(path, len(paths))
    slices: list[Slice] = []
    left_out: dict[Path, str] = {}  # and what they are
    for file in paths:
        pieces, what = _slices_of(file, is_alone=len(paths) == 1)
        slices += pieces
        left_out |= {file: what} if what else {}
    if not slices:
        what, _ = Counter(left_out.values()).most_common(1)[0]
        file = next(file for file in left_out if left_out[file] == what)
        # If the headers of all files are thinned out, it would not help to take one out.
        remedy = "Export it again with its whole header" if what.startswith(_LACKING) else "Take it out of the folder"
        raise Refused(f"{file}: {what}, so it is no slice of a CT series. {remedy}.")
    slices = _without_scouts(slices, left_out)
    _refuse_mixture(path, slices)
    slices, heights_mm = _sorted_by_height(path, slices, left_out)
    note = _said(left_out)
    uneven = _uneven(path, slices, np.diff(heights_mm), note)
    note = "; ".join(filter(None, [note, uneven]))
    return Stack(slices, heights_mm, note, not uneven)


def _slices_of(path: Path, is_alone: bool) -> tuple[list[Slice], str]:
    """Return the slices in a file, all frames of one that `is_alone`; or none, and what the file is."""
    with guarded(path, "a DICOM image"):
        file = open_dicom(path, header_only=True)
        if what := other_object(file):
            return [], what
        frames = count_frames(file)
        if frames > 1 and not is_alone:
            return [], "several frames"
        refuse_slices(path, frames)
        slices = []
        for index in range(frames):
            header = frame_header(file, index)
            if units := other_units(header):
                return [], f"not CT in Hounsfield units (RescaleType {units})"
            if not is_in_hounsfield(header):
                return [], _NO_UNITS
            place = place_of(header)
            if place is None:
                return [], f"does not say how it lies in the volume ({', '.join(PLACE_ELEMENTS)})"
            series, acquisition = (str(file.get(name)) for name in ("SeriesInstanceUID", "AcquisitionNumber"))
            slices.append(Slice(path, index, series, acquisition, place))
        return slices, ""


def _without_scouts(slices: list[Slice], left_out: dict[Path, str]) -> list[Slice]:
    """Return the slices except a few that lie across most others, which become `left_out`."""
    normals = np.array([np.cross(each.place.orientation[:3], each.place.orientation[3:]) for each in slices])
    across = np.abs(normals @ np.median(normals, axis=0)) < _MIN_COSINE
    if not 0 < across.sum() <= min(MAX_ACROSS, len(slices) - 2):
        return slices
    left_out |= {
        each.path: "scout across the slices" for each, is_scout in zip(slices, across, strict=True) if is_scout
    }
    return [each for each, is_scout in zip(slices, across, strict=True) if not is_scout]


def _refuse_mixture(path: Path, slices: list[Slice]) -> None:
    """Raise Refused if slices do not belong to one series."""
    series = {each.series for each in slices}
    if len(series) > 1:
        raise Refused(f"{path}: holds {len(series)} DICOM series; give each a folder of its own.")
    first = slices[0]
    for name in ("shape", "spacing", "orientation"):
        usual = getattr(first.place, name)
        unlike = [s for s in slices if not np.allclose(getattr(s.place, name), usual, atol=_PLACE_TOLERANCE)]
        if unlike:
            count = min(len(unlike), len(slices) - len(unlike))
            remedy = "Take one out" if count == 1 else f"Give the {len(unlike)} slices like it a folder of their own"
            raise Refused(f"{unlike[0].path}: its {name} differs from that of {first.path.name}. {remedy}.")


def _sorted_by_height(path: Path, slices: list[Slice], left_out: dict[Path, str]) -> tuple[list[Slice], Floats]:
    """Return slices sorted along their normal without exact copies, which become `left_out`, and their heights, mm.

    Raises Refused, naming `path`, if slices in one place differ, and if only one slice is left.
    """
    orientation = slices[0].place.orientation
    normal = np.cross(orientation[:3], orientation[3:])
    heights_mm = np.array([each.place.position @ normal for each in slices])
    kept: list[int] = []
    for index in np.argsort(heights_mm, kind="stable").tolist():
        if not kept or heights_mm[index] - heights_mm[kept[-1]] >= _MIN_STEP_MM:
            kept.append(index)
            continue
        first, second = slices[kept[-1]], slices[index]
        one, two = (_read_slice(each, open_dicom(each.path)) for each in (first, second))
        if not np.array_equal(one, two):
            cause = "as of two phases or reconstructions"
            if first.acquisition != second.acquisition:
                cause = "as of two acquisitions (AcquisitionNumber)"  # not the numbers: some writers put text there
            raise Refused(
                f"{path}: {_name(first)} and {_name(second)} are different slices at one position, {cause}. Give "
                "each a folder of its own."
            )
        other = "" if first.acquisition == second.acquisition else ", as of another acquisition"
        left_out[second.path.with_name(_name(second))] = f"copy of a slice{other}"
    if len(kept) < 2:
        alike = f"all its {len(slices)} slices are alike and at one position"
        what = alike if len(slices) > 1 else "holds one slice only"
        raise Refused(f"{path}: {what}, which is no volume. Add the other slices.")
    return [slices[index] for index in kept], heights_mm[kept]


def _read_slice(piece: Slice, file: Dataset) -> Floats:
    """Return a slice of an opened file, `(height, width)`, HU."""
    with guarded(piece.path, "a DICOM image"):
        pixels = read_frame(file, piece.path, piece.frame)
        if pixels.ndim != 2:
            raise Refused(f"{piece.path}: has colours, so it is not in Hounsfield units. Take it out of the folder.")
        return to_hounsfield(pixels, frame_header(file, piece.frame), piece.path)


def _uneven(path: Path, slices: list[Slice], steps_mm: Floats, left_out: str) -> str:
    """Return a note if the steps between slices are uneven, or "".

    Raises Refused if a slice seems to be missing, with the note on files that were `left_out`, which may be the cause.
    """
    usual_mm = float(np.median(steps_mm))
    if np.abs(steps_mm - usual_mm).max() <= STEP_TOLERANCE * usual_mm:
        return ""
    numbers = [each.acquisition for each in slices]
    turns = sum(number != following for number, following in pairwise(numbers))
    if turns >= len(set(numbers)):
        raise Refused(f"{path}: slices of {len(set(numbers))} acquisitions alternate. Give each a folder of its own.")
    beside_mm = np.maximum(np.r_[0, steps_mm[:-1]], np.r_[steps_mm[1:], 0])  # the wider of the two neighbours
    gaps = np.flatnonzero(steps_mm > _GAP * np.maximum(beside_mm, usual_mm))
    if len(gaps):
        at, more = gaps[0], f", and {len(gaps) - 1} more such gaps" if len(gaps) > 1 else ""
        more += f"; {left_out}" if left_out else ""
        raise Refused(
            f"{path}: a slice is missing: {steps_mm[at]:g} mm between {_name(slices[at])} and {_name(slices[at + 1])}, "
            f"and {usual_mm:g} mm between most slices{more}. Add it, or export the series again."
        )
    uneven = f"slices are spaced unevenly, {steps_mm.min():.3g} to {steps_mm.max():.3g} mm"
    return f"{uneven}: the mL allow for that, a NIfTI mask spaces them by {steps_mm.mean():.3g} mm"


def _name(piece: Slice) -> str:
    return f"frame {piece.frame + 1}" if piece.frame else piece.path.name


def _said(left_out: dict[Path, str]) -> str:
    """Return a note on the files that were left out, with a count for each kind of object, or ""."""
    names = defaultdict(list)
    for path, what in sorted(left_out.items()):
        names[what].append(path.name)
    kinds = [f"{files[0]}{f' and {len(files) - 1} more' * (len(files) > 1)} ({what})" for what, files in names.items()]
    return f"left out: {', '.join(kinds)}" if kinds else ""
