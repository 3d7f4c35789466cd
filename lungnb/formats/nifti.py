"""Read NIfTI volumes, and write masks of volumes as NIfTI. Needs nibabel (the extra `medical`)."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lungnb.files import written
from lungnb.formats.opening import Refused, guarded, need_package, open_file
from lungnb.formats.volumes import Volume, refuse_size, refuse_slices, to_stored_axes, turn_to_axial
from lungnb.masks import Floats, Mask

if TYPE_CHECKING:
    from nibabel import Nifti1Header

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_EXTENSIONS = 16 * 2**20  # bytes; refuse files whose voxels begin later, after header and extensions
_HEADER_LENGTHS = {348: "Nifti1Header", 540: "Nifti2Header"}  # bytes, and nibabel's class
_READ_BYTES = 2**24  # read so many bytes of voxels at once
_COMPRESSION = 4  # of gzip, 1 (fast) to 9 (small)


def is_nifti(path: Path) -> bool:
    """Return whether a file's name is that of a NIfTI volume.

    >>> is_nifti(Path("chest.nii.gz"))
    True
    """
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def read_nifti(path: str | Path) -> Volume:
    """Return a NIfTI volume, turned by its affine to axial slices; scl_slope and scl_inter are applied.

    The values are those of the file: Hounsfield units if it is CT as the scanner gave it, labels if it is a mask.
    Raises Refused, naming the file, if it is not a 3-D NIfTI file, if it does not say how it lies, if nibabel is
    missing, and, before anything is unpacked, if `refuse_size` or `refuse_slices` refuse the volume.
    """
    path = Path(path)
    need_package("nibabel", path, "reading volumes")
    with guarded(path, "a NIfTI volume"), open_file(path) as stored:
        is_packed = path.name.lower().endswith(".gz")
        with gzip.GzipFile(fileobj=stored) if is_packed else stored as file:
            header = _read_header(file, path)
            _refuse_header(header, path)
            array = _read_voxels(file, header, path)
        return turn_to_axial(array, header.get_best_affine(), path)


def write_nifti_mask(path: Path, mask: Mask, volume: Volume) -> None:
    """Write a mask of a volume, `(slices, height, width)`, as .nii.gz (0 and 1) on the grid of the volume's file."""
    need_package("nibabel", path, "writing volumes")
    from nibabel import Nifti1Image

    image = Nifti1Image(to_stored_axes(mask.astype(np.uint8), volume.affine), volume.affine)
    with written(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), _COMPRESSION))


def _read_header(file: BinaryIO | gzip.GzipFile, path: Path) -> Nifti1Header:
    """Return the header of an opened NIfTI file."""
    import nibabel

    start = file.read(max(_HEADER_LENGTHS))
    lengths = (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
    length = next((size for size in _HEADER_LENGTHS if size in lengths), None)
    if length is None or len(start) < length:
        raise Refused(f"{path}: cannot be read as a NIfTI volume; it has no NIfTI header. Convert it again.")
    header: Nifti1Header = getattr(nibabel, _HEADER_LENGTHS[length])(start[:length])
    shape = header.get_data_shape()
    if len(shape) > 3 and set(shape[3:]) == {1}:
        header.set_data_shape(shape[:3])
    return header


def _refuse_header(header: Nifti1Header, path: Path) -> None:
    """Raise Refused for the header of a file that cannot be read as one volume, or that is too large."""
    if header["magic"].item() in (b"ni1", b"ni2"):
        raise Refused(f"{path}: keeps its voxels in another file (.img). Convert it to a single .nii file.")
    shape = header.get_data_shape()
    if len(shape) != 3:
        raise Refused(f"{path}: has {len(shape)} dimensions, not the 3 of one volume. Save one volume a file.")
    if header.get_data_dtype().kind not in "buif":
        raise Refused(f"{path}: its voxels are colours or complex numbers. Save it with one number a voxel.")
    refuse_size(path, shape)
    if not (header["sform_code"] or header["qform_code"]):
        raise Refused(f"{path}: does not say how the volume lies (sform_code and qform_code are 0). Convert it again.")
    slice_axis = int(np.abs(header.get_best_affine()[2, :3]).argmax())
    refuse_slices(path, shape[slice_axis])


def _read_voxels(file: BinaryIO | gzip.GzipFile, header: Nifti1Header, path: Path) -> Floats:
    """Return the voxels of an opened NIfTI file as float32, on the axes of the file, scaled by its header."""
    offset = float(header["vox_offset"])
    if not (header.sizeof_hdr <= offset <= MAX_EXTENSIONS):
        raise Refused(f"{path}: its voxels begin at byte {offset:g}, which makes no sense. Convert it again.")
    file.seek(int(offset))
    dtype, (slope, intercept) = header.get_data_dtype(), header.get_slope_inter()
    array = np.empty(header.get_data_shape(), np.float32, order="F")
    flat, step, start = array.ravel(order="K"), max(_READ_BYTES // dtype.itemsize, 1), 0
    while start < flat.size:
        content = file.read(min(step, flat.size - start) * dtype.itemsize)
        part = np.frombuffer(content, dtype)
        if not part.size:
            raise EOFError
        flat[start : start + part.size] = part if slope in (None, 1) and not intercept else part * slope + intercept
        start += part.size
    return array
