"""Small CT volumes, written as NIfTI files and as DICOM series."""

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")


RNG = np.random.default_rng(5)
SHAPE = (9, 12, 10)  # slices, rows, columns
HOUNSFIELD = (RNG.integers(-500, 700, SHAPE) * 2).astype(np.float32)
HOUNSFIELD[:, :3] = -1000  # air before the chest
SPACING = (2.5, 0.75, 0.5)  # between slices, rows, columns
ORIGIN = (30.0, 20.0, -400.0)  # RAS
AFFINE = np.array([[-0.5, 0, 0, 30], [0, -0.75, 0, 20], [0, 0, 2.5, -400], [0, 0, 0, 1]])  # column, row, slice to RAS
NAME = "Nobody^Secret"


def stored(hounsfield, affine, codes):
    """Return a volume as a file holds it whose axes run to `codes`, such as RAS, and the affine of that."""
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(codes))
    array = orientations.apply_orientation(hounsfield.transpose(), turn)
    return array, affine @ orientations.inv_ornt_aff(turn, hounsfield.shape[::-1])


def write_nifti(path, hounsfield=HOUNSFIELD, affine=AFFINE, codes="RAS", dtype=np.int16, slope=1, intercept=0):
    array, affine = stored(hounsfield, affine, codes)
    image = nibabel.Nifti1Image(((array - intercept) / slope).astype(dtype), affine)
    image.header.set_slope_inter(slope, intercept)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


def write_slice(path, pixels, **tags):
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID, file.SeriesInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3", "1.2.4"
    file.Modality, file.SamplesPerPixel, file.PhotometricInterpretation = "CT", 1, "MONOCHROME2"
    file.PatientName, file.PatientID = NAME, NAME
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelData = pixels.astype("<u2").tobytes()
    for name, value in tags.items():
        if value is not None:
            setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)


def write_series(folder, hounsfield=HOUNSFIELD, affine=AFFINE, codes="LPS", slopes=(1.0,), suffix=".dcm", **tags):
    """Write a series whose files' names and numbers say nothing of their order; return the files, in their order."""
    array, affine = stored(hounsfield, affine, codes)
    directions = np.diag([-1, -1, 1, 1]) @ affine  # LPS
    spacing = np.linalg.norm(directions[:3, :3], axis=0)
    cosines = directions[:3, :3] / spacing
    folder.mkdir(parents=True, exist_ok=True)
    count = array.shape[2]
    paths = [folder / f"{name}{suffix}" for name in RNG.permutation(count)]
    for index, path in enumerate(paths):
        slope = slopes[index % len(slopes)]
        place = {
            "PixelSpacing": [spacing[1], spacing[0]],
            "ImageOrientationPatient": [*cosines[:, 0].round(8), *cosines[:, 1].round(8)],
            "ImagePositionPatient": [*(directions[:3, 3] + index * directions[:3, 2]).round(6)],
            "SliceThickness": 99,  # overlaps, or leaves gaps: not the distance
            "InstanceNumber": int(RNG.integers(1000)),
            "RescaleSlope": slope,
            "RescaleIntercept": -1024,
        }
        write_slice(path, np.rint((array[:, :, index].T + 1024) / slope), **place | tags)
    return paths


def alter(path, **tags):
    file = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(file, name, value)
    file.save_as(path)
