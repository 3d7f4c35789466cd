"""DICOM series and NIfTI volumes to arrays in Hounsfield units, as a radiologist looks at axial slices.

Whatever way a file stores them, slices come from the feet to the head, rows from anterior to posterior, and columns
from the patient's right to the left: the standard axial DICOM. Needs the `medical` extra (pydicom, nibabel).
"""

from __future__ import annotations

import gzip
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from lungnb.dicom import first_frame, in_hounsfield, is_dicom, open_dicom, refuse_frames
from lungnb.files import written
from lungnb.opening import MAX_ASPECT, Refused, guarded, open_file, refuse_memory

if TYPE_CHECKING:
    from pydicom import Dataset

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_SIDE, MAX_SLICES = 2048, 1536  # voxels along an axis, and slices; more slices would take more than ten seconds
MAX_EXTENSIONS = 16 * 2**20  # bytes of a NIfTI file before its voxels: header and extensions
VOXEL_MM = (0.001, 1000.0)  # sides of a voxel that are believed, mm
VOXEL_BYTES = 7  # that a voxel takes while its volume is segmented: float32 values, masks, labels
_NIFTI_HEADERS = {348: "Nifti1Header", 540: "Nifti2Header"}  # length in bytes, nibabel's class
_AT_ONCE = 2**24  # bytes of a compressed file that are read at once
_PLACE = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}  # elements, numbers in each
STEP_TOLERANCE = 0.1  # of the usual distance between slices; positions are rounded when they are written


class Volume(NamedTuple):
    """A volume, and the size and the place of its voxels."""

    hounsfield: np.ndarray  # (slices, height, width), float32; HU
    spacing_mm: tuple[float, float, float]  # between slices, rows and columns
    origin_mm: tuple[float, float, float]  # centre of the first voxel, RAS
    affine: np.ndarray  # (4, 4), from the indices of the array as the file stores it to mm, RAS


def is_nifti(path: Path) -> bool:
    """Whether a file's name is that of a NIfTI volume."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def read_volume(path: str | Path) -> Volume:
    """Return a NIfTI file, or the DICOM series in a folder; see `read_nifti` and `read_dicom_series`."""
    return read_dicom_series(path) if os.path.isdir(path) else read_nifti(path)


def read_nifti(path: str | Path) -> Volume:
    """Return a NIfTI volume, turned by its affine to axial slices; scl_slope and scl_inter are applied.

    The values are those of the file: Hounsfield units for CT as the scanner gave it, labels for a mask.

    Raises Refused, naming the file, for what is no 3-D NIfTI file or does not say how it lies, where nibabel is
    missing, and, by the header and before anything is unpacked, for a volume that would take more memory than the
    limit, is longer than MAX_SIDE along an axis, or is too thin to show a chest.
    """
    path = Path(path)
    nibabel = _nibabel(path)
    with guarded(path, "a NIfTI volume"), open_file(path) as stored, _unpacked(stored, path) as file:
        header = _read_nifti_header(file, path, nibabel)
        array = _read_voxels(file, header)
        return _axial(array, header.get_best_affine(), path)


def _unpacked(stored: BinaryIO, path: Path) -> BinaryIO:
    """Return a file to be read that unpacks another while it is read, if its name says that it is packed."""
    return gzip.GzipFile(fileobj=stored) if path.name.lower().endswith(".gz") else stored


def _read_nifti_header(file: BinaryIO, path: Path, nibabel: Any) -> Any:  # noqa: ANN401
    """Return the header of an opened NIfTI file, checked, and leave the file at its first voxel."""
    start = file.read(max(_NIFTI_HEADERS))
    length = next((size for size in _NIFTI_HEADERS if size in _as_both_endians(start[:4])), None)
    if length is None or len(start) < length:
        raise Refused(f"{path}: cannot be read as a NIfTI volume; it does not begin with a NIfTI header.")
    header = getattr(nibabel, _NIFTI_HEADERS[length])(start[:length])
    if header["magic"].item() in (b"ni1", b"ni2"):
        raise Refused(f"{path}: keeps its voxels in another file (.img). Convert it to a single .nii file.")
    shape = header.get_data_shape()
    if len(shape) > 3 and set(shape[3:]) == {1}:
        header.set_data_shape(shape := shape[:3])
    if len(shape) != 3:
        raise Refused(f"{path}: has {len(shape)} dimensions, not the 3 of one volume.")
    if header.get_data_dtype().kind not in "buif":
        raise Refused(f"{path}: its voxels are colours or complex numbers. Save it with one number a voxel.")
    refuse_size(path, shape)
    if not (header["sform_code"] or header["qform_code"]):
        raise Refused(f"{path}: its header does not say how the volume lies (sform_code and qform_code are 0).")
    _refuse_slices(path, shape[int(np.abs(header.get_best_affine()[2, :3]).argmax())])
    offset = float(header["vox_offset"])
    if not (length <= offset <= MAX_EXTENSIONS):
        raise Refused(f"{path}: its voxels begin at byte {offset:g}, which makes no sense; is it whole?")
    file.seek(int(offset))
    return header


def _as_both_endians(number: bytes) -> tuple[int, int]:
    return int.from_bytes(number, "little"), int.from_bytes(number, "big")


def _read_voxels(file: BinaryIO, header: Any) -> np.ndarray:  # noqa: ANN401
    """Return the voxels of an opened NIfTI file as float32, on the axes of the file, scaled by its header."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    slope, inter = header.get_slope_inter()
    array = np.empty(shape, np.float32, order="F")
    flat, step, start = array.ravel(order="K"), max(_AT_ONCE // dtype.itemsize, 1), 0
    while start < flat.size:
        content = file.read(min(step, flat.size - start) * dtype.itemsize)
        part = np.frombuffer(content, dtype)
        if not part.size:
            raise EOFError
        flat[start : start + part.size] = part if slope in (None, 1) and not inter else part * slope + inter
        start += part.size
    return array


def write_nifti_mask(path: Path, mask: np.ndarray, volume: Volume) -> None:
    """Write a bool mask of a volume, `(slices, height, width)`, as .nii.gz (0 and 1) on its file's grid."""
    nibabel = _nibabel(path)
    array = to_stored_axes(mask.astype(np.uint8), volume.affine)
    with written(path) as temporary:
        temporary.write_bytes(gzip.compress(nibabel.Nifti1Image(array, volume.affine).to_bytes(), compresslevel=4))


def to_stored_axes(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return axial slices, `(slices, height, width)`, along the axes of the file whose affine this is.

    Of a DICOM series these are column, row and slice.
    """
    from nibabel import orientations

    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.io_orientation(affine))
    return orientations.apply_orientation(array.transpose(), turn)


def read_dicom_series(folder: str | Path) -> Volume:
    """Return the CT series whose DICOM files lie in a folder, one file a slice.

    Slices are sorted by their position along the normal of the slices, whatever the files' names and InstanceNumbers,
    and the spacing between them is that of the positions. RescaleSlope and RescaleIntercept are those of each file.
    Windows, VOI LUTs and MONOCHROME1 say how values are shown, and leave Hounsfield units as they are.

    Raises ValueError, naming the folder or a file, where there is no DICOM file, or more than one series; for a
    localizer, a file of several frames, and what is not CT in Hounsfield units; for slices of differing sizes or
    angles; and for positions that are absent, repeated, or uneven, as where a slice is missing.
    """
    folder = Path(folder)
    with guarded(folder, "a DICOM series"):
        paths, first, last = _sorted(folder)
        refuse_size(folder, (*first.shape, len(paths)))
        array = np.empty((len(paths), *first.shape), np.float32)
        for index, path in enumerate(paths):
            array[index] = _read_hounsfield(path)
        step = (last.position - first.position) / (len(paths) - 1)
        return _axial(array.transpose(), _affine(first, step), folder)


def sorted_slices(folder: Path) -> list[Path]:
    """Return the files of the DICOM series in a folder, in the order of the slices of the file's own volume."""
    return _sorted(folder)[0]


def dicom_files(folder: Path) -> list[Path]:
    """Return the DICOM images that lie in a folder, hidden ones and lungnb's own left out, sorted by name."""
    files = (file for file in folder.iterdir() if not file.name.startswith(".") and is_dicom(file))
    return sorted(file for file in files if not file.name.endswith("_seg.dcm"))


def central_slices(count: int, wanted: int) -> list[int]:
    """Return the indices of `wanted` slices, evenly spaced over the central half of `count`; all of it, if fewer.

    Example: `central_slices(80, 4)` is `[25, 35, 45, 55]`.
    """
    if wanted < 1:
        raise Refused(f"volume_slices must be at least 1, not {wanted}.")
    return sorted({int(count / 4 + (number + 0.5) * count / 2 / wanted) for number in range(wanted)})


def _nibabel(path: str | Path) -> Any:  # noqa: ANN401
    """Return the module nibabel."""
    try:
        import nibabel
    except ImportError as error:
        raise Refused(f"{path}: reading volumes needs nibabel; pip install 'lungnb[medical]'.") from error
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # it tells what it mends in a header
    return nibabel


def _axial(array: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    """Return an array as axial slices; its `affine` leads from its indices to mm, RAS (right to left, and so on)."""
    nibabel = _nibabel(path)
    orientations = nibabel.orientations
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 1e-9:
        raise Refused(f"{path}: its header does not say how the volume lies: the affine has no inverse.")
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    turned = affine @ orientations.inv_ornt_aff(turn, array.shape)
    array = orientations.apply_orientation(array, turn).transpose()
    column, row, _ = map(float, nibabel.affines.voxel_sizes(turned))
    # Across the slices: where the gantry was tilted, they are shifted along themselves too.
    between = abs(float(np.linalg.det(affine[:3, :3]))) / (row * column)
    if not VOXEL_MM[0] <= min(between, row, column) <= max(between, row, column) <= VOXEL_MM[1]:
        sides = " x ".join(f"{side:g}" for side in (between, row, column))
        raise Refused(f"{path}: its header says that a voxel measures {sides} mm, which cannot be. Correct the header.")
    return Volume(array, (between, row, column), tuple(turned[:3, 3].tolist()), affine)


def refuse_size(path: Path, shape: tuple[int, ...]) -> None:
    """Raise Refused for a volume of this shape that is too large for the memory limit, too long, too thin, or empty."""
    size = " x ".join(f"{side:,}" for side in shape)
    if min(shape) < 1:
        raise Refused(f"{path}: {size} voxels: it is empty.")
    if max(shape) > MAX_SIDE:
        raise Refused(f"{path}: {size} voxels, and {MAX_SIDE:,} along an axis are the most. Cut the volume.")
    if max(shape) > MAX_ASPECT * sorted(shape)[1]:
        raise Refused(f"{path}: {size} voxels: it is too thin to show a chest. Crop it.")
    refuse_memory(path, VOXEL_BYTES * math.prod(shape), f"{size} voxels", "Cut the volume")


def _refuse_slices(path: Path, count: int) -> None:
    if count > MAX_SLICES:
        raise Refused(f"{path}: {count:,} slices, and {MAX_SLICES:,} are the most. Cut the volume.")


class _Header(NamedTuple):
    """What a DICOM slice says of where it lies."""

    series: str
    shape: tuple[int, int]
    spacing: np.ndarray  # between rows, and between columns; mm
    orientation: np.ndarray  # directions in which columns and rows follow one another, LPS
    position: np.ndarray  # of the first pixel, mm, LPS


def _read_header(path: Path) -> _Header:
    """Return where a CT slice lies; raise a ValueError for what is none."""
    with guarded(path, "a DICOM image"):
        file = open_dicom(path, header_only=True)
        if "LOCALIZER" in (file.get("ImageType") or ()):
            raise Refused(f"{path}: a localizer (scout view), not a slice; take it out of the folder.")
        refuse_frames(file, path)
        if not in_hounsfield(file):
            raise Refused(f"{path}: not CT in Hounsfield units (Modality CT with a RescaleIntercept).")
        try:
            return _placed(file)
        except (AttributeError, KeyError, TypeError, ValueError):
            elements = ", ".join(("Rows", "Columns", *_PLACE))
            raise Refused(f"{path}: does not say how it lies in the volume ({elements}).") from None


def _placed(file: Dataset) -> _Header:
    """Return where an opened CT slice lies; raise a ValueError, among others, if it does not say."""
    numbers = [np.array(file[name].value, float).reshape(length) for name, length in _PLACE.items()]
    if not np.isfinite(np.concatenate(numbers)).all():
        raise ValueError
    return _Header(file.SeriesInstanceUID, (int(file.Rows), int(file.Columns)), *numbers)


def _sorted(folder: Path) -> tuple[list[Path], _Header, _Header]:
    """Return a series' files in order, and where the first and the last of them lie."""
    paths = dicom_files(folder) if os.path.isdir(folder) else []
    if not paths:
        raise Refused(f"{folder}: holds no DICOM files.")
    _refuse_slices(folder, len(paths))
    headers = {path: _read_header(path) for path in paths}
    paths = _by_position(folder, headers)
    return paths, headers[paths[0]], headers[paths[-1]]


def _by_position(folder: Path, headers: dict[Path, _Header]) -> list[Path]:
    """Return a series' files sorted along the normal of the slices."""
    series = {header.series for header in headers.values()}
    if len(series) > 1:
        raise Refused(f"{folder}: holds {len(series)} DICOM series; give each a folder of its own.")
    if len(headers) < 2:
        raise Refused(f"{folder}: holds one slice only, which is no volume.")
    (first_path, first), *_ = headers.items()
    for path, header in headers.items():
        for name in ("shape", "spacing", "orientation"):
            if not np.allclose(getattr(header, name), getattr(first, name), atol=1e-3):
                raise Refused(f"{path}: its {name} differs from that of {first_path.name} in the same series.")

    normal = np.cross(first.orientation[:3], first.orientation[3:])
    places = {path: header.position @ normal for path, header in headers.items()}
    paths = sorted(places, key=places.__getitem__)
    steps = np.diff([places[path] for path in paths])
    step = np.median(steps)
    uneven = np.abs(steps - step)
    if step < 1e-3 or uneven.max() > STEP_TOLERANCE * step:
        worst = int(uneven.argmax())
        raise Refused(
            f"{folder}: {steps[worst]:g} mm between {paths[worst].name} and {paths[worst + 1].name}, and {step:g} mm "
            "between most slices: some are missing, or there twice."
        )
    return paths


def _read_hounsfield(path: Path) -> np.ndarray:
    """Return a CT slice, `(height, width)`, HU."""
    from pydicom.pixels import apply_modality_lut

    with guarded(path, "a DICOM image"):
        file = open_dicom(path)
        pixels = first_frame(file, path)
        if pixels.ndim != 2:
            raise Refused(f"{path}: has colours, so that it cannot be in Hounsfield units.")
        return apply_modality_lut(pixels, file)


def _affine(first: _Header, step: np.ndarray) -> np.ndarray:
    """Return the affine that leads from column, row and slice to mm, RAS, by the first slice and the step to the next.

    The step is along the normal, except where the scanner's gantry was tilted.
    """
    along_row, along_column = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    affine[:3, 0] = along_row * first.spacing[1]
    affine[:3, 1] = along_column * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts mm to the left and to posterior, NIfTI the reverse
