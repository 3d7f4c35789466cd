"""Folders of one case each, in which a DICOM series and its masks lie together."""

import numpy as np
import pytest

from helpers import scans
from helpers.scans import prepared
from lungnb.datasets.prepared import open_prepared

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
from helpers.volumes import alter, write_nifti, write_series  # noqa: E402  needs the above

STUDY = {"StudyInstanceUID": "1.2.5", "FrameOfReferenceUID": "1.2.6"}
CHEST, LUNGS = scans.CHEST[10:20], scans.LUNGS[10:20]
LEFT, RIGHT = LUNGS == 2, LUNGS == 1


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "set"


def write_case(folder, number=0):
    """Write the slices of a case."""
    for index, file in enumerate(write_series(folder, CHEST, SeriesInstanceUID=f"1.2.4.{number}", **STUDY)):
        alter(file, SOPInstanceUID=f"1.2.3.{number}.{index}")


def write_seg(series, file, lungs=LUNGS > 0):
    """Write a DICOM Segmentation of a series."""
    pytest.importorskip("highdicom")
    from lungnb.formats.dicom_seg import write_dicom_seg
    from lungnb.formats.images import read_volume

    file.parent.mkdir(parents=True, exist_ok=True)
    write_dicom_seg(file, (lungs & RIGHT, lungs & LEFT), series, read_volume(series))


def lung_pixels(settings):
    """Return the numbers of lung pixels of the prepared slices."""
    data = open_prepared(settings)
    return [int(data.pair(row)[1].sum()) for row in data.manifest.to_dict("records")]


def check(raw, names=("case0", "case1", "case2"), excluded=()):
    """Prepare two slices of each case; they must have both lungs."""
    settings, manifest = prepared(raw, volume_slices=2)
    assert manifest["patient"].drop_duplicates().tolist() == [*names] and len(manifest) == 2 * len(names)
    indices = [int(name[-3:]) for name in manifest["id"]]
    assert lung_pixels(settings) == [int((LUNGS[index] > 0).sum()) for index in indices]
    assert sorted(map(tuple, open_prepared(settings).excluded.to_numpy())) == [*excluded]


@pytest.mark.parametrize("series", ["ct", "dicom", "1.2.840.7", "."])
@pytest.mark.parametrize("masks", [".", "masks", "organs"])
def test_masks_of_organs_beside_a_series(raw, series, masks):
    for number in range(3):
        write_case(raw / f"case{number}" / series, number)
        write_nifti(raw / f"case{number}" / masks / "lung_left.nii.gz", LEFT)
        write_nifti(raw / f"case{number}" / masks / "lung_right.nii.gz", RIGHT)
        write_nifti(raw / f"case{number}" / masks / "heart.nii.gz", ~LEFT)
    hearts = [(f"case{n}/{'' if masks == '.' else masks + '/'}heart.nii.gz", "another organ's") for n in range(3)]
    check(raw, excluded=hearts)


@pytest.mark.parametrize("name", ["mask", "segmentation", "lungs"])
def test_one_mask_beside_a_series(raw, name):
    for number in range(3):
        write_case(raw / f"case{number}" / "ct", number)
        write_nifti(raw / f"case{number}" / f"{name}.nii.gz", LUNGS)
    check(raw)


@pytest.mark.parametrize(
    "place", ["seg.dcm", "ct/seg.dcm", "ct/-1.dcm", "ct/999.dcm", "300-Segmentation/1-1.dcm", "other/1-1.dcm"]
)
def test_segmentations_among_or_beside_the_slices(raw, place):
    """The last two cases have the layout of public archives: a folder for each DICOM series of a study."""
    for number in range(3):
        write_case(raw / f"case{number}" / "ct", number)
        write_seg(raw / f"case{number}" / "ct", raw / f"case{number}" / place)
    check(raw)


def test_a_folder_of_masks_for_each_series(raw):
    for number in range(3):
        write_case(raw / "images" / f"case{number}", number)
        write_nifti(raw / "masks" / f"case{number}" / "left.nii.gz", LEFT)
        write_nifti(raw / "masks" / f"case{number}" / "right.nii.gz", RIGHT)
    check(raw)


def test_cases_of_one_name_in_two_folders_stay_apart(raw):
    for site in "ab":
        for number in range(2):
            write_case(raw / site / f"case{number}" / "ct", f"{ord(site)}{number}")
            write_nifti(raw / site / f"case{number}" / "lung.nii.gz", LUNGS)
    names = ["a_case0_case0", "a_case1_case1", "b_case0_case0", "b_case1_case1"]
    settings, manifest = prepared(raw, volume_slices=1)
    assert manifest["id"].str[:-4].tolist() == names and open_prepared(settings).excluded.empty


def test_series_that_are_unclear_are_one_row_each(raw):
    for number in range(3):
        write_case(raw / f"case{number}" / "ct", number)
        write_nifti(raw / f"case{number}" / "lung.nii.gz", LUNGS)
    write_case(raw / "bare", 3)
    for number, name in enumerate(("before", "after")):  # either may be that of the mask
        write_case(raw / "twice" / name, 4 + number)
    write_case(raw / "organs" / "ct", 6)
    for name in ("heart", "liver"):
        write_nifti(raw / "organs" / "masks" / f"{name}.nii.gz", LEFT)
    no_mask = "no mask beside this DICOM series"
    unclear = ("organs/ct", "none of its 2 masks, such as heart.nii.gz, is called lung")
    left = [(f"organs/masks/{name}.nii.gz", "no image of this name") for name in ("heart", "liver")]
    check(raw, excluded=[("bare", no_mask), unclear, *left, ("twice/after", no_mask), ("twice/before", no_mask)])


def test_a_nifti_image_has_precedence_over_its_series(raw):
    for number in range(3):
        write_case(raw / f"case{number}" / "dicom", number)
        write_nifti(raw / f"case{number}" / "ct.nii.gz", CHEST)
        write_nifti(raw / f"case{number}" / "lung.nii.gz", LUNGS)
    _, manifest = prepared(raw, volume_slices=1)
    assert manifest["source_image"].tolist() == [f"case{number}/ct.nii.gz" for number in range(3)]


def test_slices_with_a_mask_each_are_images(raw):
    from lungnb.formats.images import write_png

    write_case(raw / "images")
    for file in (raw / "images").iterdir():
        write_png(raw / "masks" / f"{file.stem}.png", LUNGS[0] > 0)
    _, manifest = prepared(raw)
    assert len(manifest) == len(CHEST)
    assert np.unique(manifest["source_image"]).size == len(CHEST)
