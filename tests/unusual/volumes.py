"""NIfTI volumes with unusual headers."""

import gzip
import struct

import nibabel
import numpy as np

from unusual import case, ct_slice, judge

AFFINE = np.diag([-1.4, -1.4, 5.0, 1.0])


def volume(slices=5):
    """Return a volume of equal slices, on the axes of NIfTI."""
    return np.stack([ct_slice().T] * slices, axis=-1)


def nifti(path, array, code=1, affine=AFFINE):
    """Write a NIfTI file with both codes."""
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    path.write_bytes(image.to_bytes())
    return path


@case
def unpacked(folder):
    """A .nii.gz that is not compressed."""
    return judge(nifti(folder / "a.nii.gz", volume()), "ct")


@case
def packed(folder):
    """A .nii that is compressed."""
    nifti(folder / "b.nii", volume())
    (folder / "a.nii").write_bytes(gzip.compress((folder / "b.nii").read_bytes()))
    return judge(folder / "a.nii", "ct")


@case
def no_codes(folder):
    """NIfTI that does not say how it lies."""
    return judge(nifti(folder / "a.nii", volume(), code=0), "ct", "sform")


@case
def several_volumes(folder):
    """NIfTI of two volumes."""
    return judge(nifti(folder / "a.nii", np.stack([volume()] * 2, -1)), "ct", "2 volumes")


@case
def one_slice(folder):
    """NIfTI of one slice in two dimensions."""
    return judge(nifti(folder / "a.nii", ct_slice().T), "ct", "2 dimensions")


@case
def colours(folder):
    """NIfTI in colours."""
    array = np.zeros(volume().shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for name in "RGB":
        array[name] = np.clip((volume() + 1000) / 5.5, 0, 255)
    return judge(nifti(folder / "a.nii", array), "ct", "colour")


for unit, factor in {"meter": 0.001, "micron": 1000.0}.items():

    def measured(folder, unit=unit, factor=factor):
        image = nibabel.Nifti1Image(volume(), np.diag([factor] * 3 + [1]) @ AFFINE)
        image.header.set_xyzt_units(unit)
        (folder / "a.nii").write_bytes(image.to_bytes())
        return judge(folder / "a.nii", "ct")

    measured.__doc__ = f"NIfTI with lengths in {unit}s."
    case(measured)


for slope in (0.0, float("nan"), float("inf")):

    def scaled(folder, slope=slope):
        content = bytearray(nifti(folder / "a.nii", volume()).read_bytes())
        content[112:116] = struct.pack("<f", slope)
        (folder / "a.nii").write_bytes(content)
        return judge(folder / "a.nii", "ct")

    scaled.__doc__ = f"NIfTI with a slope of {slope}."
    case(scaled)


@case
def nan_voxels(folder):
    """NIfTI whose outside is NaN."""
    values = volume().astype(np.float32)
    values[values < -990] = np.nan
    return judge(nifti(folder / "a.nii.gz", values), "ct")


@case
def metal(folder):
    """NIfTI that is not in HU, with a voxel of metal."""
    values = volume().astype(np.int32) + 1024
    values[3, 3, 2] = 30_000
    return judge(nifti(folder / "a.nii", values), "ct", "CT")


@case
def a_pair_of_files(folder):
    """NIfTI in two files, .hdr and .img."""
    nibabel.save(nibabel.Nifti1Pair(volume(), AFFINE), folder / "a.img")
    return judge_named(folder / "a.hdr")


def judge_named(path):
    """Segment a file that is named; a sentence has to say that it is to be converted."""
    return judge(path, "ct", "onvert")
