"""Turn volumes to axial slices, whatever way a file stores them. Needs nibabel (the extra `medical`).

Slices run from the feet to the head, rows from anterior to posterior, and columns from the patient's right to the left,
as in standard axial DICOM.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lungnb.formats.opening import MAX_ASPECT, Refused, need_package, refuse_memory
from lungnb.masks import Floats, Mask

MAX_SIDE = 2048  # refuse volumes with more voxels along an axis
MAX_SLICES = 1536  # refuse volumes with more slices, which would take more than ten seconds
VOXEL_BYTES = 7  # memory that segmenting a volume takes per voxel: float32 values, masks, labels
VOXEL_MM = (0.001, 1000.0)  # refuse volumes whose voxels have a side outside this range, mm
_MIN_VOXEL_MM3 = 1e-9  # an affine with a smaller determinant has no usable inverse


class Volume(NamedTuple):
    """A volume as axial slices, with the size and the place of its voxels."""

    hounsfield: Floats  # (slices, height, width), float32; HU
    spacing_mm: tuple[float, float, float]  # between slices, rows and columns
    origin_mm: tuple[float, float, float]  # centre of the first voxel, RAS (mm to the right, anterior, superior)
    affine: Floats  # (4, 4), from the indices of the array as the file stores it to mm, RAS
    note: str = ""  # on what was left out or is unusual
    slice_mm: Floats | None = None  # (slices,), how thick each is, if their steps are uneven
    slice_places: Floats | None = None  # (slices,), where each of a DICOM series lies, in mean steps from the first


def turn_to_axial(array: np.ndarray, affine: np.ndarray, path: Path) -> Volume:
    """Return a stored array as axial slices. `affine` leads from its indices to mm, RAS.

    Raises Refused if the affine has no inverse, or if its voxels have an impossible size.
    """
    need_package("nibabel", path, "reading volumes")
    from nibabel import affines, orientations

    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > _MIN_VOXEL_MM3:
        raise Refused(f"{path}: does not say how the volume lies: its affine has no inverse. Convert it again.")
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    turned = affine @ orientations.inv_ornt_aff(turn, array.shape)
    array = to_axial(array, affine)
    column_mm, row_mm, _ = map(float, affines.voxel_sizes(turned))
    # Measure at right angles to the slices, because a tilted gantry shifts them along themselves too.
    slice_mm = abs(float(np.linalg.det(affine[:3, :3]))) / (row_mm * column_mm)
    sides_mm = (slice_mm, row_mm, column_mm)
    if not VOXEL_MM[0] <= min(sides_mm) <= max(sides_mm) <= VOXEL_MM[1]:
        size = " x ".join(f"{side:g}" for side in sides_mm)
        raise Refused(
            f"{path}: its header says that a voxel measures {size} mm, which is impossible. Correct the header."
        )
    x_mm, y_mm, z_mm = map(float, turned[:3, 3])
    return Volume(array, sides_mm, (x_mm, y_mm, z_mm), affine)


def to_stored_axes(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return axial slices along the axes of the file with this `affine`; of a DICOM series, column, row and slice."""
    from nibabel import orientations

    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.io_orientation(affine))
    return np.asarray(orientations.apply_orientation(array.transpose(), turn))


def to_axial(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return an array on the axes of the file with this `affine` as axial slices: the inverse of `to_stored_axes`."""
    from nibabel import orientations

    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    return np.asarray(orientations.apply_orientation(array, turn).transpose())


def refuse_size(path: Path, shape: tuple[int, ...]) -> None:
    """Raise Refused for a volume of this shape that is too large for the memory limit, too long, too thin, or empty."""
    size = " x ".join(f"{side:,}" for side in shape)
    if min(shape) < 1:
        raise Refused(f"{path}: {size} voxels: it is empty. Convert it again.")
    if max(shape) > MAX_SIDE:
        raise Refused(f"{path}: has {size} voxels, and at most {MAX_SIDE:,} along an axis are read. Cut the volume.")
    if max(shape) > MAX_ASPECT * sorted(shape)[1]:
        raise Refused(f"{path}: {size} voxels: it is too thin to show a chest. Crop it.")
    refuse_memory(path, VOXEL_BYTES * math.prod(shape), f"{size} voxels", "Cut the volume")


def refuse_slices(path: Path, count: int) -> None:
    """Raise Refused for a volume of more than MAX_SLICES slices."""
    if count > MAX_SLICES:
        raise Refused(f"{path}: {count:,} slices, and {MAX_SLICES:,} are the most. Cut the volume.")


def central_slices(count: int, wanted: int) -> list[int]:
    """Return the indices of `wanted` slices, evenly spaced over the central half of `count`, or all of that half.

    >>> central_slices(80, 4)
    [25, 35, 45, 55]
    """
    return sorted({int(count / 4 + (number + 0.5) * count / 2 / wanted) for number in range(wanted)})


def drawn_slices(mask: Mask, wanted: int) -> list[int]:
    """Return the indices of `wanted` slices, evenly spaced over those in which a mask is set.

    The mask is `(slices, height, width)`. If it is set in fewer slices, return all of these.

    >>> mask = np.zeros((9, 2, 2), bool)
    >>> mask[3:7] = True
    >>> drawn_slices(mask, 2), drawn_slices(mask, 16)
    ([4, 6], [3, 4, 5, 6])
    """
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    return sorted({int(drawn[int((number + 0.5) * len(drawn) / wanted)]) for number in range(wanted) if len(drawn)})
