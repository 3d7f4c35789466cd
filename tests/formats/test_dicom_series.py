"""Folders of CT series as people have them: with other objects, scouts, copies, uneven slices; frames in one file."""

import shutil

import numpy as np
import pytest

from helpers.networks import bright
from lungnb.formats.images import read_image, read_picture, read_volume
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.listing import list_images

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
from helpers.volumes import AFFINE, HOUNSFIELD, SPACING, alter, write_series, write_slice  # noqa: E402  needs the above

CODES = {"RTSTRUCT": "481.3", "SR": "88.67", "PR": "11.1"}  # ends of SOP classes
CHEST = np.full((6, 40, 40), -1000, np.float32)
CHEST[1:6, 10:30, 6:16] = CHEST[1:5, 12:28, 24:34] = 350  # "lung" to the model, which takes what is bright


def write_object(path, modality, preamble=True):
    """Write a DICOM object without a picture."""
    write_slice(path, np.zeros((2, 2)), Modality=modality, SeriesInstanceUID="1.2.99")
    file = pydicom.dcmread(path)
    file.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.{CODES[modality]}"
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(file, name)
    file.save_as(path)
    if not preamble:
        bare(path)


def bare(path):
    """Remove the beginning of a DICOM file: preamble and file meta information."""
    file = pydicom.dcmread(path)
    file.preamble = None
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert b"DICM" not in path.read_bytes()[:140]


@pytest.mark.parametrize("name", ["AA.dcm", "zz.dcm", "zz"])
@pytest.mark.parametrize("modality", CODES)
def test_objects_without_a_picture_are_named_and_left_out(tmp_path, modality, name):
    write_series(tmp_path / "series", CHEST)
    write_object(tmp_path / "series" / name, modality)
    table = segment_files(tmp_path / "series", tmp_path / "out", bright(), progress=False)
    assert table["mask"].tolist() == ["series_mask.nii.gz"] and table["slices"].tolist() == [6]
    kind = {"RTSTRUCT": "structure set", "SR": "report", "PR": "presentation state"}[modality]
    assert table["note"][0] == f"left out: {name} ({kind})"


def test_pictures_that_are_not_slices_are_named_and_left_out(tmp_path):
    folder = tmp_path / "series"
    write_series(folder)
    side = {"PixelSpacing": [1, 1], "ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    hounsfield = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    write_slice(
        folder / "a.dcm", np.zeros((20, 30)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **side, **hounsfield
    )
    write_slice(folder / "b.dcm", np.zeros((20, 30)), **side, **hounsfield)  # a scout that does not say so
    for name in ("c.dcm", "d.dcm"):
        secondary = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "SeriesInstanceUID": "1.2.98", "Modality": "OT"}
        write_slice(folder / name, np.zeros((50, 60)), **secondary)
    write_slice(folder / "e.dcm", np.zeros((20, 30)), Modality="SEG")
    assert list_images(folder) == [folder]
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.hounsfield, HOUNSFIELD)
    assert volume.note == (
        "left out: a.dcm (scout (localizer)), b.dcm (scout across the slices), c.dcm and 1 more (screenshot), "
        "e.dcm (segmentation)"
    )


def test_copies_are_left_out_and_other_phases_are_named(tmp_path):
    paths = write_series(tmp_path)
    for number in (3, 5):
        shutil.copy(paths[number], tmp_path / f"copy{number}.dcm")
        alter(tmp_path / f"copy{number}.dcm", SOPInstanceUID=f"1.2.3.{number}")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.hounsfield, HOUNSFIELD)
    assert volume.note == "left out: copy3.dcm and 1 more (copy of a slice)"
    file = pydicom.dcmread(paths[3])
    alter(tmp_path / "copy3.dcm", PixelData=file.PixelData[:-2] + b"\1\1")
    with pytest.raises(
        ValueError, match=r"copy3\.dcm are different slices at one position, as of two phases or reconstructions"
    ):
        read_volume(tmp_path)


def test_a_series_is_never_split(tmp_path):
    """The series stays whole although no slice says how its values become Hounsfield units."""
    write_series(tmp_path / "series", RescaleIntercept=None)
    table = segment_files(tmp_path / "series", tmp_path / "out", bright(), progress=False)
    assert len(table) == 1 and "not CT in Hounsfield units (RescaleIntercept)" in table["error"][0]


def move(paths, heights):
    for path, height in zip(paths, heights, strict=True):
        alter(path, ImagePositionPatient=[*pydicom.dcmread(path).ImagePositionPatient[:2], height])


@pytest.mark.parametrize("codes", ["LPS", "RAI"])
def test_uneven_slices_are_read_and_measured(tmp_path, codes):
    paths = write_series(tmp_path / "series", CHEST, codes=codes)
    heights = [0, 3, 6, 9, 15, 21]
    move(paths, heights if codes == "LPS" else [-height for height in heights])
    table = segment_files(tmp_path / "series", tmp_path / "out", bright(), progress=False)
    assert "slices are spaced unevenly, 3 to 6 mm" in table["note"][0]
    volume = read_volume(tmp_path / "series")
    thick = np.array([3, 3, 3, 4.5, 6, 6])[:: 1 if codes == "LPS" else -1]
    np.testing.assert_allclose(volume.slice_mm, thick)
    mask = np.asarray(nibabel.load(tmp_path / "out" / "series_mask.nii.gz").dataobj).sum(axis=(0, 1))
    by_file = np.array([3, 3, 3, 4.5, 6, 6])  # in the order of the files
    expected = (mask if codes == "LPS" else mask[::-1]) @ by_file * SPACING[1] * SPACING[2] / 1000
    assert table["right_ml"][0] + table["left_ml"][0] == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ([0, 5, 10, 20, 25, 30], "a slice is missing: 10 mm between"),
        ([0, 5, 10, 15, 20, 35], "a slice is missing: 15 mm between"),
        ([0, 3, 6.35, 9, 12, 15], ""),
        ([0, 5, 12.5, 17.5, 22.5, 27.5], ""),
    ],
)
def test_a_missing_slice_is_not_an_uneven_one(tmp_path, heights, words):
    move(write_series(tmp_path, CHEST), heights)
    if words:
        with pytest.raises(ValueError, match=words):
            read_volume(tmp_path)
    else:
        assert "spaced unevenly" in read_volume(tmp_path).note


def test_acquisitions_that_alternate_are_named(tmp_path):
    paths = write_series(tmp_path, CHEST)
    move(paths, [0, 1, 5, 6, 10, 11])
    for number, path in enumerate(paths):
        alter(path, AcquisitionNumber=number % 2)
    with pytest.raises(ValueError, match="slices of 2 acquisitions alternate"):
        read_volume(tmp_path)


@pytest.mark.parametrize("number", [2, "Doe^J"])  # some writers put text there
def test_two_acquisitions_of_the_same_slices_are_named(tmp_path, number):
    write_series(tmp_path, CHEST, AcquisitionNumber=1)
    again = write_series(tmp_path, CHEST - 5, AcquisitionNumber=22222, suffix=".again.dcm")
    for path in again:
        path.write_bytes(path.read_bytes().replace(b"22222 ", str(number).ljust(6).encode()))
    with pytest.raises(ValueError, match=r"at one position, as of two acquisitions \(AcquisitionNumber\)\. G"):
        read_volume(tmp_path)


def groups(**elements):
    group = pydicom.Dataset()
    for name, values in elements.items():
        item = pydicom.Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        setattr(group, name, [item])
    return group


def write_enhanced(path, hounsfield, heights, slopes=(1,)):
    """Write an enhanced CT: what else is at the top of a header is in functional groups."""
    frames = [np.rint((frame + 1024) / slopes[n % len(slopes)]) for n, frame in enumerate(hounsfield)]
    rows, columns = hounsfield.shape[1:]
    shared = groups(
        PixelMeasuresSequence={"PixelSpacing": [0.75, 0.5]},
        PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    )
    each = [
        groups(
            PlanePositionSequence={"ImagePositionPatient": [-30, -20, height]},
            PixelValueTransformationSequence={"RescaleSlope": slopes[n % len(slopes)], "RescaleIntercept": -1024},
        )
        for n, height in enumerate(heights)
    ]
    write_slice(
        path, np.concatenate(frames), Rows=rows, Columns=columns, NumberOfFrames=len(frames),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1", SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=each,
    )  # fmt: skip


def test_frames_of_ct_are_a_volume(tmp_path):
    order = [4, 0, 8, 2, 6, 1, 3, 5, 7]
    write_enhanced(tmp_path / "ct.dcm", HOUNSFIELD[order], [-400 + 2.5 * n for n in order], slopes=(1, 2, 0.5))
    volume = read_volume(tmp_path / "ct.dcm")
    np.testing.assert_array_equal(volume.hounsfield, HOUNSFIELD)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.spacing_mm == pytest.approx(SPACING)
    table = segment_files(tmp_path / "ct.dcm", tmp_path / "out", bright(), progress=False)
    assert table["mask"].tolist() == ["ct_mask.nii.gz"] and table["slices"].tolist() == [9]


def test_one_frame_of_ct_is_in_hounsfield_units(tmp_path):
    write_enhanced(tmp_path / "ct.dcm", HOUNSFIELD[:1], [0])
    picture = read_picture(tmp_path / "ct.dcm", (-125, 275))
    np.testing.assert_array_equal(picture.grey, np.rint(np.clip((HOUNSFIELD[0] + 125) * 255 / 400, 0, 255)))
    assert picture.pixel_mm == (0.75, 0.5)


def test_files_without_preamble_and_suffix_are_slices(tmp_path):
    for path in write_series(tmp_path / "series", suffix=""):
        bare(path)
    write_object(tmp_path / "series" / "report", "SR", preamble=False)
    (tmp_path / "series" / "notes").write_text("\x08 is no DICOM" * 20)
    assert list_images(tmp_path) == [tmp_path / "series"]
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(volume.hounsfield, HOUNSFIELD)
    assert volume.note == "left out: report (report)"


def test_padding_of_ct_is_air(tmp_path):
    pixels = np.full((20, 30), 1064)
    pixels[:, :5] = 3000
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": 3000}
    write_slice(tmp_path / "a.dcm", pixels, **tags)
    assert set(np.unique(read_image(tmp_path / "a.dcm", (-1000, 400))[:, :5])) == {0}


def test_a_series_without_a_modality_is_ct_by_its_class(tmp_path):
    for file in write_series(tmp_path / "series", CHEST):
        alter(file, Modality="")
    assert list_images(tmp_path / "series") == [tmp_path / "series"]
    np.testing.assert_array_equal(read_volume(tmp_path / "series").hounsfield, CHEST)


def test_slices_of_two_directions_are_counted(tmp_path):
    cubes = np.diag([-1.0, -1.0, 1.0, 1.0])
    write_series(tmp_path / "series", CHEST, cubes, suffix="_axial.dcm")
    write_series(tmp_path / "series", np.zeros((40, 6, 40)), cubes, "LIP", suffix="_coronal.dcm")
    words = r"its orientation differs from that of .*\. Give the 6 slices like it a folder of their own\."
    with pytest.raises(ValueError, match=words):
        read_volume(tmp_path / "series")
