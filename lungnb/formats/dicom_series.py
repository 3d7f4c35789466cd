"""Read the CT series whose DICOM files lie in one folder. Needs pydicom and nibabel (the extra `medical`)."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.formats.dicom import first_frame
from lungnb.formats.dicom_header import is_in_hounsfield, refuse_frames
from lungnb.formats.dicom_opening import is_dicom, open_dicom
from lungnb.formats.opening import Refused, guarded
from lungnb.formats.volumes import Volume, refuse_size, refuse_slices, turn_to_axial
from lungnb.masks import Floats

STEP_TOLERANCE = 0.1  # accept steps between slices that differ by this share, because files round positions
_MIN_STEP_MM = 1e-3  # slices nearer to each other lie in one place
_PLACE_TOLERANCE = 1e-3  # accept spacings (mm) and directions that differ by this much within a series
# The elements that say where a slice lies, and how many numbers each has.
_PLACE_ELEMENTS = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}


class Place(NamedTuple):
    """Where a DICOM slice lies, from its header."""

    series: str
    shape: tuple[int, int]
    spacing: Floats  # between rows, and between columns; mm
    orientation: Floats  # directions in which columns and rows follow one another, LPS
    position: Floats  # of the first pixel, mm, LPS (to the left, posterior, superior)


def read_dicom_series(folder: str | Path) -> Volume:
    """Return the CT series in a folder, one DICOM file a slice, as axial slices in Hounsfield units.

    Slices are sorted, and spaced, by their positions along the normal of the slices. File names and InstanceNumbers do
    not matter. Each file's own RescaleSlope and RescaleIntercept are applied. Windows, VOI LUTs and MONOCHROME1 only
    say how values are shown, so they change nothing.

    Raises Refused, naming the folder or a file, if it holds no series or several; for a localizer, several frames in a
    file, or values that are not CT in Hounsfield units; if slices differ in size or angle; and if positions are absent,
    repeated, or uneven, for example because a slice is missing.
    """
    folder = Path(folder)
    with guarded(folder, "a DICOM series"):
        paths, first, last = sorted_slices(folder)
        refuse_size(folder, (*first.shape, len(paths)))
        array = np.empty((len(paths), *first.shape), np.float32)
        for index, path in enumerate(paths):
            array[index] = _read_hounsfield(path)
        step = (last.position - first.position) / (len(paths) - 1)
        return turn_to_axial(array.transpose(), _affine(first, step), folder)


def dicom_files(folder: Path) -> list[Path]:
    """Return the DICOM images in a folder, except hidden ones and those that lungnb wrote, sorted by name."""
    files = (file for file in folder.iterdir() if not file.name.startswith(".") and is_dicom(file))
    return sorted(file for file in files if not file.name.endswith("_seg.dcm"))


def sorted_slices(folder: Path) -> tuple[list[Path], Place, Place]:
    """Return a series' files in the order of their positions, and the places of the first and the last."""
    paths = dicom_files(folder) if os.path.isdir(folder) else []
    if not paths:
        raise Refused(f"{folder}: holds no DICOM files. Name the folder of a series.")
    refuse_slices(folder, len(paths))
    places = {path: _read_place(path) for path in paths}
    _refuse_mixture(folder, places)
    paths = _sorted_by_position(folder, places)
    return paths, places[paths[0]], places[paths[-1]]


def _read_place(path: Path) -> Place:
    """Return where a CT slice lies; raise Refused if it is not one."""
    with guarded(path, "a DICOM image"):
        file = open_dicom(path, header_only=True)
        if "LOCALIZER" in (file.get("ImageType") or ()):
            raise Refused(f"{path}: a localizer (scout view), not a slice; take it out of the folder.")
        refuse_frames(file, path)
        if not is_in_hounsfield(file):
            raise Refused(f"{path}: not CT in Hounsfield units (Modality, RescaleIntercept). Take it out.")
        try:
            numbers = [np.array(file[name].value, float).reshape(length) for name, length in _PLACE_ELEMENTS.items()]
            if np.isfinite(np.concatenate(numbers)).all():
                return Place(file.SeriesInstanceUID, (int(file.Rows), int(file.Columns)), *numbers)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        elements = ", ".join(("Rows", "Columns", *_PLACE_ELEMENTS))
        raise Refused(f"{path}: does not say how it lies in the volume ({elements}). Export it again.")


def _refuse_mixture(folder: Path, places: dict[Path, Place]) -> None:
    """Raise Refused if files do not belong to one series of two slices or more."""
    series = {place.series for place in places.values()}
    if len(series) > 1:
        raise Refused(f"{folder}: holds {len(series)} DICOM series; give each a folder of its own.")
    if len(places) < 2:
        raise Refused(f"{folder}: holds one slice only, which is no volume. Add the other slices.")
    (first_path, first), *_ = places.items()
    for path, place in places.items():
        for name in ("shape", "spacing", "orientation"):
            if not np.allclose(getattr(place, name), getattr(first, name), atol=_PLACE_TOLERANCE):
                raise Refused(f"{path}: its {name} differs from that of {first_path.name}. Take one out.")


def _sorted_by_position(folder: Path, places: dict[Path, Place]) -> list[Path]:
    """Return a series' files sorted along the normal of the slices; raise Refused if they are not evenly spaced."""
    first = next(iter(places.values()))
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    heights_mm = {path: float(place.position @ normal) for path, place in places.items()}
    paths = sorted(heights_mm, key=heights_mm.__getitem__)
    steps_mm = np.diff([heights_mm[path] for path in paths])
    usual_mm = float(np.median(steps_mm))
    uneven_mm = np.abs(steps_mm - usual_mm)
    if usual_mm < _MIN_STEP_MM or uneven_mm.max() > STEP_TOLERANCE * usual_mm:
        worst = int(uneven_mm.argmax())
        raise Refused(
            f"{folder}: {steps_mm[worst]:g} mm between {paths[worst].name} and {paths[worst + 1].name}, and "
            f"{usual_mm:g} mm between most slices: some are missing, or there twice. Export the series again."
        )
    return paths


def _read_hounsfield(path: Path) -> np.ndarray:
    """Return a CT slice, `(height, width)`, HU."""
    from pydicom.pixels import apply_modality_lut

    with guarded(path, "a DICOM image"):
        file = open_dicom(path)
        pixels = first_frame(file, path)
        if pixels.ndim != 2:
            raise Refused(f"{path}: has colours, so it cannot be in Hounsfield units. Take it out of the folder.")
        return apply_modality_lut(pixels, file)


def _affine(first: Place, step_mm: Floats) -> Floats:
    """Return the affine from column, row and slice to mm, RAS. The step leads to the next slice, oblique if tilted."""
    along_row, along_column = first.orientation[:3], first.orientation[3:]
    affine, (row_mm, column_mm) = np.eye(4), first.spacing
    affine[:3] = np.column_stack([along_row * column_mm, along_column * row_mm, step_mm, first.position])
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts mm to the left and posterior, NIfTI the reverse
