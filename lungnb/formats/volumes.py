"""Read volumes of either kind: NIfTI files and DICOM series."""

from __future__ import annotations

import os
from pathlib import Path

from lungnb.formats.axial import Volume
from lungnb.formats.dicom_series import read_dicom_series
from lungnb.formats.nifti import read_nifti
from lungnb.formats.opening import Refused


def read_volume(path: str | Path) -> Volume:
    """Return a NIfTI file, or the DICOM series in a folder; see `read_nifti` and `read_dicom_series`."""
    return read_dicom_series(path) if os.path.isdir(path) else read_nifti(path)


def central_slices(count: int, wanted: int) -> list[int]:
    """Return the indices of `wanted` slices, evenly spaced over the central half of `count`; all of it if it has fewer.

    Raises ValueError if `wanted` is below 1.

    >>> central_slices(80, 4)
    [25, 35, 45, 55]
    """
    if wanted < 1:
        raise Refused(f"volume_slices must be at least 1, not {wanted}.")
    return sorted({int(count / 4 + (number + 0.5) * count / 2 / wanted) for number in range(wanted)})
