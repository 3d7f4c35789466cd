"""Read NIfTI volumes, and write masks of volumes as NIfTI. Needs nibabel (the extra `medical`)."""

from __future__ import annotations

import gzip
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from lungnb.files import written
from lungnb.formats.opening import Refused, guarded, need_package, open_file, other_contents
from lungnb.formats.volumes import Volume, refuse_size, refuse_slices, to_stored_axes, turn_to_axial
from lungnb.masks import Floats, Mask

if TYPE_CHECKING:
    from nibabel import Nifti1Header

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_EXTENSIONS = 16 * 2**20  # bytes; refuse files whose voxels begin later, after header and extensions
_HEADER_LENGTHS = {348: "Nifti1Header", 540: "Nifti2Header"}  # bytes, and nibabel's class
_READ_BYTES = 2**24  # read so many bytes of voxels at once
_COMPRESSION = 4  # of gzip, 1 (fast) to 9 (small)
_GZIP_START = b"\x1f\x8b"
_MAX_APART = 0.05  # of a voxel: difference of the two affines of a header
_UNITS_MM = {1: ("meter", 1000.0), 3: ("micron", 0.001)}  # units of a header other than mm, by their codes
_USUAL_MM = (0.01, 50.0)  # sides of a voxel; a unit that leads outside this range is wrong, and the numbers are in mm


def is_nifti(path: Path) -> bool:
    """Return whether a file's name is that of a NIfTI volume.

    >>> is_nifti(Path("chest.nii.gz"))
    True
    """
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def read_nifti(path: str | Path) -> Volume:
    """Return a NIfTI volume, turned by its affine to axial slices; scl_slope and scl_inter are applied.

    The values are those of the file: Hounsfield units if it is CT as the scanner gave it, labels if it is a mask. A
    2-D file is a volume of one slice. Lengths in metres or microns are converted to mm. If the header does not say how
    the volume lies (both codes are 0), a note says that it is taken to lie as axial DICOM slices do, which is what ITK
    and the tools built on it assume.
    Raises Refused, naming the file, if it is not a NIfTI file of one volume of numbers, if nibabel is missing, and,
    before anything is unpacked, if `refuse_size` or `refuse_slices` refuse the volume.
    """
    path = Path(path)
    need_package("nibabel", path, "reading volumes")
    with guarded(path, "a NIfTI volume"), open_file(path) as stored:
        is_packed = stored.peek(2)[:2] == _GZIP_START  # whatever its name says
        with gzip.GzipFile(fileobj=stored) if is_packed else stored as file:
            header, size_note = _read_header(file, path)
            _refuse_header(header, path)
            array = _read_voxels(file, header, path)
        affine, note = _affine(header)
        affine, unit_note = _in_mm(affine, header)
        return turn_to_axial(array, affine, path)._replace(note=", ".join(filter(None, [size_note, note, unit_note])))


def write_nifti_mask(path: Path, mask: Mask, volume: Volume) -> None:
    """Write a mask of a volume, `(slices, height, width)`, as .nii.gz (0 and 1) on the grid of the volume's file."""
    need_package("nibabel", path, "writing volumes")
    from nibabel import Nifti1Image

    image = Nifti1Image(to_stored_axes(mask.astype(np.uint8), volume.affine), volume.affine)
    image.header.set_xyzt_units("mm")
    with written(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), _COMPRESSION))


def _read_header(file: BinaryIO | gzip.GzipFile, path: Path) -> tuple[Nifti1Header, str]:
    """Return the header, and a note if it does not state the size of voxels, which nibabel then sets to 1."""
    import nibabel

    start = file.read(max(_HEADER_LENGTHS))
    lengths = (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))
    length = next((size for size in _HEADER_LENGTHS if size in lengths), None)
    if start[:2] == _GZIP_START:
        raise Refused(f"{path}: is compressed twice. Unpack it once.")
    if length is None or len(start) < length:
        if start[128:132] == b"DICM":
            raise Refused(f"{path}: holds a DICOM file. End its name with .dcm.")
        missing = f"{path}: cannot be read as a NIfTI volume; it has no NIfTI header. Convert it again."
        raise Refused(other_contents(path) or missing)
    header_of = getattr(nibabel, _HEADER_LENGTHS[length])
    header: Nifti1Header = header_of(start[:length])
    shape = header.get_data_shape()
    sides = header_of(start[:length], check=False)["pixdim"][1 : 1 + min(len(shape), 3)]
    has_size = header["sform_code"] > 0 or sides.all()
    if len(shape) == 2 or (len(shape) > 3 and set(shape[3:]) == {1}):
        header.set_data_shape((*shape, 1)[:3])
    return header, "" if has_size else "its header gives voxels a size of 0 (pixdim), for which 1 mm is taken"


def _refuse_header(header: Nifti1Header, path: Path) -> None:
    """Raise Refused for the header of a file that cannot be read as one volume, or that is too large."""
    if header["magic"].item() in (b"ni1", b"ni2"):
        raise Refused(f"{path}: keeps its voxels in another file (.img). Convert it to a single .nii file.")
    shape, kind = header.get_data_shape(), header.get_data_dtype().kind
    if len(shape) != 3:
        what = f"holds {math.prod(shape[3:]):,} volumes" if len(shape) > 3 else "is no volume"
        raise Refused(f"{path}: {what} ({len(shape)} dimensions instead of 3). Save each volume as a file of its own.")
    if kind not in "buif":
        what = "complex numbers" if kind == "c" else "colours, such as a screenshot or a label overlay has"
        raise Refused(f"{path}: its voxels are {what}. Convert the CT itself, as one number a voxel.")
    refuse_size(path, shape)
    slice_axis = int(np.abs(_affine(header)[0][2, :3]).argmax())
    refuse_slices(path, shape[slice_axis])


def _affine(header: Nifti1Header) -> tuple[Floats, str]:
    """Return the affine from indices of the array to mm (RAS), and a note if the header is unclear about it."""
    from nibabel.spatialimages import HeaderDataError

    sform, sform_code = header.get_sform(coded=True)
    if not (sform_code or header["qform_code"]):
        note = "the header does not say how it lies: taken for axial slices, right and left may be swapped"
        return np.diag([*np.multiply(header.get_zooms()[:3], (-1, -1, 1)), 1.0]), note
    if sform_code and header["qform_code"]:
        with suppress(HeaderDataError):  # then there is no qform
            if not np.allclose(sform, header.get_qform(), rtol=0, atol=_MAX_APART * np.abs(sform[:3, :3]).max()):
                return sform, "sform and qform of the header, which say how it lies, differ: sform counts"
    return header.get_best_affine(), ""


def _in_mm(affine: Floats, header: Nifti1Header) -> tuple[Floats, str]:
    """Return the affine with its lengths in mm, and a note if the header states them in another unit."""
    code = int(header["xyzt_units"]) % 8  # of the length; nibabel raises for unknown codes, also of the time
    unit, factor = _UNITS_MM.get(code, ("", 1.0))
    sides_mm = factor * np.linalg.norm(affine[:3, :3], axis=0)
    if factor == 1 or not (_USUAL_MM[0] <= sides_mm.min() and sides_mm.max() <= _USUAL_MM[1]):
        return affine, ""
    return np.diag([factor, factor, factor, 1]) @ affine, f"its lengths are in {unit}s: converted to mm"


def _read_voxels(file: BinaryIO | gzip.GzipFile, header: Nifti1Header, path: Path) -> Floats:
    """Return the voxels of an opened NIfTI file as float32, on the axes of the file, scaled by its header."""
    offset = float(header["vox_offset"])
    if not (header.sizeof_hdr <= offset <= MAX_EXTENSIONS):
        raise Refused(f"{path}: its voxels begin at byte {offset:g}, which is not possible. Convert it again.")
    file.seek(int(offset))
    dtype, (slope, intercept) = header.get_data_dtype(), _slope_inter(header, path)
    array = np.empty(header.get_data_shape(), np.float32, order="F")
    flat, step, start = array.ravel(order="K"), max(_READ_BYTES // dtype.itemsize, 1), 0
    while start < flat.size:
        content = file.read(min(step, flat.size - start) * dtype.itemsize)
        part = np.frombuffer(content, dtype)
        if not part.size:
            raise EOFError
        flat[start : start + part.size] = part if slope == 1 and not intercept else part * slope + intercept
        start += part.size
    return array


def _slope_inter(header: Nifti1Header, path: Path) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise Refused(f"{path}: scl_slope or scl_inter of its header is not a number. Convert it again.") from None
    return 1.0 if slope is None else slope, intercept or 0.0
