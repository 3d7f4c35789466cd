"""DICOM series and NIfTI volumes to arrays in Hounsfield units, as a radiologist looks at axial slices.

Whatever way a file stores them, slices come from the feet to the head, rows from anterior to posterior, and columns
from the patient's right to the left: the standard axial DICOM. Needs the `medical` extra (pydicom, nibabel).
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lungnb.dicom import first_frame, in_hounsfield, is_dicom, open_dicom, refuse_frames
from lungnb.files import written

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 400_000_000  # 1,500 slices of 512x512, 1.6 GB; what is larger is taken for a decompression bomb
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
    return read_dicom_series(path) if Path(path).is_dir() else read_nifti(path)


def read_nifti(path: str | Path) -> Volume:
    """Return a NIfTI volume, turned by its affine to axial slices; scl_slope and scl_inter are applied.

    The values are those of the file: Hounsfield units for CT as the scanner gave it, labels for a mask.

    Raises ValueError, naming the file, for what is no 3-D NIfTI file, has more than MAX_VOXELS (found by its header,
    before anything is unpacked) or does not say how it lies, and where nibabel is missing.
    """
    nibabel = _nibabel(path)
    path = Path(path)
    try:
        image = nibabel.load(path)
        placed = image.header["sform_code"] or image.header["qform_code"]
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no such file.") from error
    except Exception as error:  # nibabel raises whatever its parsers raise
        raise ValueError(f"{path}: cannot be read as a NIfTI volume.") from error
    if len(image.shape) > 3 and set(image.shape[3:]) == {1}:
        image = image.slicer[(slice(None),) * 3 + (0,) * (len(image.shape) - 3)]
    if len(image.shape) != 3:
        raise ValueError(f"{path}: has {len(image.shape)} dimensions, not the 3 of one volume.")
    _refuse_size(path, image.shape)
    if not placed:
        raise ValueError(f"{path}: its header does not say how the volume lies (sform_code and qform_code are 0).")
    try:
        array = image.get_fdata(dtype=np.float32, caching="unchanged")
    except Exception as error:  # or its decompressor
        raise ValueError(f"{path}: cannot be read as a NIfTI volume; is it whole?") from error
    return _axial(array, image.affine, path)


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
    paths, first, last = _sorted(folder)
    _refuse_size(folder, (len(paths), *first.shape))

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
        raise ValueError(f"volume_slices must be at least 1, not {wanted}.")
    return sorted({int(count / 4 + (number + 0.5) * count / 2 / wanted) for number in range(wanted)})


def _nibabel(path: str | Path) -> Any:  # noqa: ANN401
    """Return the module nibabel."""
    try:
        import nibabel
    except ImportError as error:
        raise ValueError(f"{path}: reading volumes needs nibabel; pip install 'lungnb[medical]'.") from error
    return nibabel


def _axial(array: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    """Return an array as axial slices; its `affine` leads from its indices to mm, RAS (right to left, and so on)."""
    nibabel = _nibabel(path)
    orientations = nibabel.orientations
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 1e-9:
        raise ValueError(f"{path}: its header does not say how the volume lies: the affine has no inverse.")
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    turned = affine @ orientations.inv_ornt_aff(turn, array.shape)
    array = orientations.apply_orientation(array, turn).transpose()
    column, row, _ = map(float, nibabel.affines.voxel_sizes(turned))
    # Across the slices: where the gantry was tilted, they are shifted along themselves too.
    between = abs(float(np.linalg.det(affine[:3, :3]))) / (row * column)
    return Volume(np.ascontiguousarray(array), (between, row, column), tuple(turned[:3, 3].tolist()), affine)


def _refuse_size(path: Path, shape: tuple[int, ...]) -> None:
    """Raise a ValueError for a volume without voxels, or with too many."""
    if not 0 < np.prod(shape, dtype=float) <= MAX_VOXELS:
        size = "x".join(map(str, shape))
        raise ValueError(f"{path}: {size} voxels, where 1 to {MAX_VOXELS:,} are read; cut the volume first.")


class _Header(NamedTuple):
    """What a DICOM slice says of where it lies."""

    series: str
    shape: tuple[int, int]
    spacing: np.ndarray  # between rows, and between columns; mm
    orientation: np.ndarray  # directions in which columns and rows follow one another, LPS
    position: np.ndarray  # of the first pixel, mm, LPS


def _read_header(path: Path) -> _Header:
    """Return where a CT slice lies; raise a ValueError for what is none."""
    file = open_dicom(path, header_only=True)
    if "LOCALIZER" in (file.get("ImageType") or ()):
        raise ValueError(f"{path}: a localizer (scout view), not a slice; take it out of the folder.")
    refuse_frames(file, path)
    if not in_hounsfield(file):
        raise ValueError(f"{path}: not CT in Hounsfield units (Modality CT with a RescaleIntercept).")
    lengths = {"PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3}
    try:
        numbers = [np.array(file[name].value, float).reshape(length) for name, length in lengths.items()]
        return _Header(file.SeriesInstanceUID, (file.Rows, file.Columns), *numbers)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        wanted = ", ".join(("Rows", "Columns", *lengths))
        raise ValueError(f"{path}: does not say how it lies in the volume ({wanted}).") from error


def _sorted(folder: Path) -> tuple[list[Path], _Header, _Header]:
    """Return a series' files in order, and where the first and the last of them lie."""
    paths = dicom_files(folder) if folder.is_dir() else []
    if not paths:
        raise ValueError(f"{folder}: holds no DICOM files.")
    headers = {path: _read_header(path) for path in paths}
    paths = _by_position(folder, headers)
    return paths, headers[paths[0]], headers[paths[-1]]


def _by_position(folder: Path, headers: dict[Path, _Header]) -> list[Path]:
    """Return a series' files sorted along the normal of the slices."""
    series = {header.series for header in headers.values()}
    if len(series) > 1:
        raise ValueError(f"{folder}: holds {len(series)} DICOM series; give each a folder of its own.")
    if len(headers) < 2:
        raise ValueError(f"{folder}: holds one slice only, which is no volume.")
    (first_path, first), *_ = headers.items()
    for path, header in headers.items():
        for name in ("shape", "spacing", "orientation"):
            if not np.allclose(getattr(header, name), getattr(first, name), atol=1e-3):
                raise ValueError(f"{path}: its {name} differs from that of {first_path.name} in the same series.")

    normal = np.cross(first.orientation[:3], first.orientation[3:])
    places = {path: header.position @ normal for path, header in headers.items()}
    paths = sorted(places, key=places.__getitem__)
    steps = np.diff([places[path] for path in paths])
    step = np.median(steps)
    uneven = np.abs(steps - step)
    if step < 1e-3 or uneven.max() > STEP_TOLERANCE * step:
        worst = int(uneven.argmax())
        raise ValueError(
            f"{folder}: {steps[worst]:g} mm between {paths[worst].name} and {paths[worst + 1].name}, and {step:g} mm "
            "between most slices: some are missing, or there twice."
        )
    return paths


def _read_hounsfield(path: Path) -> np.ndarray:
    """Return a CT slice, `(height, width)`, HU."""
    from pydicom.pixels import apply_modality_lut

    file = open_dicom(path)
    pixels = first_frame(file, path)
    if pixels.ndim != 2:
        raise ValueError(f"{path}: has colours, so that it cannot be in Hounsfield units.")
    return apply_modality_lut(pixels, file)


def _affine(first: _Header, step: np.ndarray) -> np.ndarray:
    """Return the affine that leads from column, row and slice to mm, RAS, by the first slice and the step to the next.

    The step is along the normal, but where the scanner's gantry was tilted.
    """
    along_row, along_column = first.orientation[:3], first.orientation[3:]
    affine = np.eye(4)
    affine[:3, 0] = along_row * first.spacing[1]
    affine[:3, 1] = along_column * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM counts mm to the left and to posterior, NIfTI the reverse
