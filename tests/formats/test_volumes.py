import gzip
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from helpers.volumes import AFFINE, HOUNSFIELD, NAME, ORIGIN, SHAPE, SPACING, alter, stored, write_nifti, write_series
from lungnb.formats import volumes
from lungnb.formats.dicom_series import read_dicom_series
from lungnb.formats.images import read_picture, read_volume
from lungnb.formats.nifti import is_nifti, read_nifti, write_nifti_mask
from lungnb.formats.pixels import through_window
from lungnb.formats.ranges import LUNG_WINDOW, grey_range
from lungnb.formats.volumes import central_slices, refuse_size, refuse_slices, turn_to_axial
from lungnb.segmentation.listing import list_images

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

ANGLE = np.radians(12)
TILT = np.array(
    [[1, 0, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE), 0], [0, np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 0, 1]]
)


def assert_is_the_volume(volume):
    assert volume.hounsfield.dtype == np.float32
    np.testing.assert_array_equal(volume.hounsfield, HOUNSFIELD)
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-5)
    np.testing.assert_allclose(volume.origin_mm, ORIGIN, atol=1e-3)


@pytest.mark.parametrize("affine", [AFFINE, TILT @ AFFINE], ids=["straight", "tilted"])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PIR", "SAL", "AIL"])
def test_nifti_is_turned_by_its_affine(tmp_path, codes, affine):
    volume = read_nifti(write_nifti(tmp_path / "a.nii.gz", affine=affine, codes=codes))
    tilted = affine is not AFFINE
    assert_is_the_volume(volume._replace(origin_mm=ORIGIN) if tilted else volume)


@pytest.mark.parametrize("affine", [AFFINE, TILT @ AFFINE], ids=["straight", "tilted"])
@pytest.mark.parametrize("codes", ["LPS", "RAS", "LIP", "PIR"], ids=["supine", "prone", "coronal", "sagittal"])
def test_dicom_series_is_sorted_and_turned_by_position(tmp_path, codes, affine):
    write_series(tmp_path / "a", affine=affine, codes=codes, slopes=(1.0, 2.0, 0.5))
    volume, other = read_dicom_series(tmp_path / "a"), read_nifti(write_nifti(tmp_path / "a.nii", affine=affine))
    np.testing.assert_allclose(volume.origin_mm, other.origin_mm, atol=1e-3)
    assert_is_the_volume(volume._replace(origin_mm=ORIGIN))


def test_how_slices_are_shown_leaves_hounsfield_units_as_they_are(tmp_path):
    write_series(tmp_path, PhotometricInterpretation="MONOCHROME1", WindowCenter=40, WindowWidth=400)
    assert_is_the_volume(read_dicom_series(tmp_path))


def test_files_without_a_suffix_and_others_beside_them(tmp_path):
    write_series(tmp_path, suffix="")
    (tmp_path / "notes.txt").write_text("not a slice")
    (tmp_path / ".hidden.dcm").write_text("not a slice")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert_is_the_volume(read_volume(tmp_path))


def test_a_tilted_gantry_shifts_the_slices(tmp_path):
    tilted = AFFINE.copy()
    tilted[1, 2] = 0.4 * tilted[2, 2]  # each slice a little further back
    write_series(tmp_path / "a", affine=tilted)
    volume = read_dicom_series(tmp_path / "a")
    np.testing.assert_allclose(volume.spacing_mm, SPACING, rtol=1e-5)  # across the slices, and in them
    path = tmp_path / "mask.nii.gz"
    write_nifti_mask(path, np.ones(volume.hounsfield.shape, bool), volume)
    found = nibabel.load(path)
    corners = np.array([[0, 0, 0, 1], [0, 0, len(volume.hounsfield) - 1, 1]]).T
    first, last = sorted((found.affine @ corners).T[:, :3].tolist(), key=lambda place: place[2])
    depth = last[2] - first[2]
    assert last[1] - first[1] == pytest.approx(0.4 * depth, rel=1e-4)


def test_nifti_of_four_dimensions_with_one_volume(tmp_path):
    path = write_nifti(tmp_path / "a.nii")
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), tmp_path / "b.nii")
    assert_is_the_volume(read_volume(tmp_path / "b.nii"))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, ">i2"])
def test_nifti_of_any_kind_of_number(tmp_path, dtype):
    assert_is_the_volume(read_volume(write_nifti(tmp_path / "a.nii", dtype=dtype)))


def test_nifti_slope_and_intercept_are_applied(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", dtype=np.uint16, slope=2, intercept=-1024)
    assert np.asarray(nibabel.load(path).dataobj.get_unscaled()).min() == 12
    assert_is_the_volume(read_nifti(path))
    for slope, intercept in ((1, -1024), (2, 0)):
        scaled = write_nifti(tmp_path / "b.nii", slope=slope, intercept=intercept)
        assert_is_the_volume(read_nifti(scaled))


def test_names_of_nifti():
    assert is_nifti(Path("a.nii")) and is_nifti(Path("A.NII.GZ"))
    assert not is_nifti(Path("a.gz")) and not is_nifti(Path("nii.png"))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"NumberOfFrames": 2}, "several frames"),
        ({"Modality": "MR"}, "not CT in Hounsfield units"),
        ({"RescaleIntercept": None}, "not CT in Hounsfield units"),
        ({"ImagePositionPatient": None}, "does not say how it lies in the volume"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "does not say how it lies in the volume"),
    ],
)
def test_files_that_are_not_slices_are_named(tmp_path, tags, message):
    write_series(tmp_path / "a", **tags)
    with pytest.raises(ValueError, match=message) as raised:
        read_dicom_series(tmp_path / "a")
    assert str(tmp_path / "a") in str(raised.value)
    assert ".dcm" in str(raised.value)


def test_series_that_make_no_volume_are_refused(tmp_path):
    paths = write_series(tmp_path / "a")

    def refused(message, folder="a"):
        with pytest.raises(ValueError, match=message):
            read_dicom_series(tmp_path / folder)

    refused("holds no DICOM files", "gone")
    whole = paths[4].read_bytes()
    paths[4].unlink()
    refused(rf"a slice is missing: 5 mm between {paths[3].name} and {paths[5].name}, and 2\.5 mm between most")
    paths[4].write_bytes(whole)
    (tmp_path / "a" / "again.dcm").write_bytes(whole[:-2] + b"\1\1")  # other pixels
    refused(r"again\.dcm.* are different slices at one position, as of two ")
    (tmp_path / "a" / "again.dcm").unlink()
    alter(paths[4], SeriesInstanceUID="1.2.5")
    refused("holds 2 DICOM series; give each a folder of its own")
    files = [path.read_bytes() for path in paths]
    for number, path in enumerate(paths):
        alter(path, SeriesInstanceUID=f"1.3.{number}")
    refused(f"holds {len(paths)} DICOM series; give each a folder of its own")
    with pytest.warns(UserWarning, match=f"each of its {len(paths)} CT slices has a DICOM series of its own"):
        assert sorted(list_images(tmp_path / "a")) == sorted(paths)
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    alter(paths[4], SeriesInstanceUID="1.2.4", PixelSpacing=[0.75, 0.6])
    refused("its spacing differs from that of")
    paths[4].write_bytes(whole)
    alter(paths[4], Rows=10, Columns=12)
    refused("its shape differs from that of")
    paths[4].write_bytes(whole[: len(whole) - 40])
    refused("cannot be read as a DICOM image")
    for path in paths[1:]:
        path.unlink()
    refused("one slice only")


def test_nifti_that_is_not_a_volume_is_refused(tmp_path):
    def refused(message, path):
        with pytest.raises(ValueError, match=message) as raised:
            read_nifti(path)
        assert str(path) in str(raised.value)

    path = tmp_path / "a.nii.gz"
    refused("there is no such file", path)
    path.write_bytes(b"text")
    refused("cannot be read as a NIfTI volume", path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), path)
    refused(r"holds 2 volumes \(4 dimensions", path)
    write_nifti(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(r"cannot be read as a NIfTI volume \(EOFError\)", path)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1000, 1000, 500), r"1,000 x 1,000 x 500 voxels would need about 3\.5 GB .* LUNGNB_MAX_GB=4"),
        ((3000, 40, 40), "at most 2,048 along an axis are read"),
        ((40, 40, 1600), "1,600 slices, and 1,536 are the most"),
        ((1, 1, 2000), "too thin to show a chest"),
        ((0, 10, 10), "it is empty"),
    ],
)
def test_too_many_voxels_are_refused_by_the_header_alone(tmp_path, shape, words):
    header = nibabel.Nifti1Image(np.zeros((1, 1, 1), np.int16), AFFINE).header
    header.set_data_shape(shape)
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4))  # no data: what reads it fails in another way
    with pytest.raises(ValueError, match=rf"bomb\.nii\.gz: .*{words}"):
        read_nifti(path)


def test_a_series_of_too_many_voxels_is_refused(tmp_path, monkeypatch):
    write_series(tmp_path / "a")
    assert read_dicom_series(tmp_path / "a").hounsfield.shape == SHAPE
    monkeypatch.setattr(volumes, "VOXEL_BYTES", 10**9)
    with pytest.raises(ValueError, match="12 x 10 x 9 voxels would need"):
        read_dicom_series(tmp_path / "a")


@pytest.mark.parametrize("offset", [2.0**31, -1.0, float("nan"), float("inf")])
def test_voxels_with_an_invalid_offset_are_refused(tmp_path, offset):
    """The refusal comes before the file is unpacked up to the offset."""
    content = bytearray(write_nifti(tmp_path / "a.nii").read_bytes())
    content[108:112] = np.float32(offset).tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"a\.nii\.gz: (its voxels begin|cannot be read as a NIfTI volume)"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("side", [3e38, 1e4])
def test_voxels_larger_than_a_body_are_refused(tmp_path, side):
    """Otherwise, a volume in mL would be too large for a number."""
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.diag([side, side, side, 1])), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"a\.nii: its header says that a voxel measures .* mm, which is impossible"):
        read_nifti(tmp_path / "a.nii")


def test_a_volume_of_colours_or_in_two_files_is_named(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), AFFINE), tmp_path / "a.nii")
    with pytest.raises(ValueError, match="its voxels are complex numbers"):
        read_nifti(tmp_path / "a.nii")
    colours = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, AFFINE), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"its voxels are colours.*\. Convert the CT itself"):
        read_nifti(tmp_path / "a.nii")
    nibabel.save(nibabel.Nifti1Pair(np.zeros((4, 4, 4), np.int16), AFFINE), tmp_path / "b.img")
    with pytest.raises(ValueError, match=r"b\.img: one of two files of a volume .*Convert them to a single \.nii file"):
        read_picture(tmp_path / "b.img")
    (tmp_path / "b.hdr").rename(tmp_path / "b.nii")
    with pytest.raises(ValueError, match="keeps its voxels in another file"):
        read_nifti(tmp_path / "b.nii")
    with pytest.raises(ValueError, match=r"b\.img: numbers without a header .*Convert it to PNG"):
        read_picture(tmp_path / "b.img")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_the_bytes_say_whether_a_file_is_packed(tmp_path, name, is_packed):
    content = write_nifti(tmp_path / "b.nii").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if is_packed else content)
    assert_is_the_volume(read_nifti(tmp_path / name))


def with_forms(path, sform, sform_code, qform, qform_code):
    """Write the volume with two affines."""
    array, affine = stored(HOUNSFIELD, AFFINE, "LPS")
    image = nibabel.Nifti1Image(array.astype(np.int16), affine)
    image.set_sform(affine if sform is None else sform, sform_code)
    image.set_qform(affine if qform is None else qform, qform_code)
    path.write_bytes(image.to_bytes())
    return path


def test_a_volume_that_does_not_say_how_it_lies_is_taken_for_axial_slices(tmp_path):
    volume = read_nifti(with_forms(tmp_path / "a.nii", None, 0, None, 0))
    assert volume.note.startswith("the header does not say how it lies: taken for axial slices")
    assert_is_the_volume(volume._replace(origin_mm=ORIGIN))


def test_two_affines_that_differ_are_noted(tmp_path):
    assert read_nifti(with_forms(tmp_path / "a.nii", None, 1, None, 1)).note == ""
    volume = read_nifti(with_forms(tmp_path / "a.nii", None, 1, AFFINE * [-1, 1, 1, 1], 1))
    assert volume.note == "sform and qform of the header, which say how it lies, differ: sform counts"
    assert_is_the_volume(volume)
    affine = stored(HOUNSFIELD, AFFINE, "LPS")[1]
    for shift_mm, is_noted in ((0.1, False), (0.2, True)):  # 5 % of the longest side of a voxel are 0.125 mm
        moved = affine + shift_mm * np.eye(4, k=3)
        assert bool(read_nifti(with_forms(tmp_path / "a.nii", None, 1, moved, 1)).note) == is_noted
    for codes in ((1, 0), (0, 1)):
        assert_is_the_volume(read_nifti(with_forms(tmp_path / "a.nii", None, codes[0], None, codes[1])))


def test_a_nifti_of_two_dimensions_is_one_slice(tmp_path):
    array, affine = stored(HOUNSFIELD, AFFINE, "LPS")
    nibabel.save(nibabel.Nifti1Image(array[:, :, 3].astype(np.int16), affine), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii").hounsfield, HOUNSFIELD[3:4])


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_an_invalid_slope_is_ignored(tmp_path, slope):
    content = bytearray(write_nifti(tmp_path / "a.nii").read_bytes())
    content[112:116] = np.float32(slope).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    assert_is_the_volume(read_nifti(tmp_path / "a.nii"))
    content[112:120] = np.float32([2, np.inf]).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii: scl_slope or scl_inter of its header is not a number\. Convert"):
        read_nifti(tmp_path / "a.nii")


def test_voxels_that_are_not_numbers_are_black(tmp_path):
    values = np.where(HOUNSFIELD < -999, np.nan, HOUNSFIELD)
    volume = read_nifti(write_nifti(tmp_path / "a.nii", values, dtype=np.float32))
    window, note = grey_range(volume.hounsfield)
    assert window == LUNG_WINDOW and note == "values that are not numbers are black"
    assert not through_window(volume.hounsfield, window)[:, :3].any()


@pytest.mark.parametrize(("count", "wanted"), [(300, 16), (80, 4), (33, 16), (9, 16), (2, 16), (1, 16), (301, 1)])
def test_slices_are_spread_evenly_over_the_central_half(count, wanted):
    indices = central_slices(count, wanted)
    assert len(indices) == min(wanted, max(len(range(-(-count // 4), 3 * count // 4)), len(indices)))
    assert count // 4 <= indices[0] and indices[-1] <= 3 * count / 4
    assert abs(np.mean(indices) + 0.5 - count / 2) <= 1  # as many on either side of the middle
    assert set(np.diff(indices)) <= {(steps := np.diff(indices)).min(initial=99), steps.min(initial=99) + 1}


@pytest.mark.parametrize("package", ["pydicom", "nibabel"])
def test_the_error_without_a_medical_package_names_the_extra(tmp_path, monkeypatch, package):
    write_series(tmp_path / "a")
    write_nifti(tmp_path / "a.nii")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"{package}; pip install 'lungnb\[medical\]'"):
        read_volume(tmp_path / ("a" if package == "pydicom" else "a.nii"))


def test_no_message_says_who_the_patient_is(tmp_path, capfd, caplog):
    broken = [
        {"Modality": "MR"},
        {"ImagePositionPatient": None},
        {"BitsAllocated": 12},
        {"Rows": 90},
        {"PatientName": NAME * 20},
    ]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for number, tags in enumerate(broken):
            write_series(tmp_path / str(number), **tags)
        warned.clear()
        messages = []
        for number in range(len(broken)):
            try:
                read_dicom_series(tmp_path / str(number))
            except ValueError as error:
                messages += [str(error), str(error.__cause__)]
    assert len(messages) == 8
    everything = [*messages, *(str(warning.message) for warning in warned), caplog.text, *capfd.readouterr()]
    assert not [text for text in everything if "Secret" in text or "Nobody" in text]


REAL = Path(pydicom.__file__).parent / "data" / "test_files"  # what the installed package carries


def test_a_real_series_comes_from_the_feet_to_the_head():
    volume = read_dicom_series(REAL / "dicomdirtests" / "98892001" / "CT5N")
    assert volume.hounsfield.shape == (5, 16, 16)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 0.488281, 0.488281))
    np.testing.assert_allclose(volume.origin_mm, (72.2, 143.0, -1.2375), atol=1e-4)
    lowest = pydicom.dcmread(REAL / "dicomdirtests" / "98892001" / "CT5N" / "3353")
    np.testing.assert_array_equal(volume.hounsfield[0], lowest.pixel_array.astype(np.float32) - 1024)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("77654033/CT2", "202.5 mm between 17106 and 17136"),
        ("98892001/CT2N", "localizer"),
        ("77654033/CR1", "not CT in Hounsfield units"),
        ("98892003/MR1", "not CT in Hounsfield units"),
        ("TINY_ALPHA/PT000000/ST000000/SE000000", "object without a picture"),
    ],
)
def test_real_series_that_make_no_volume_are_refused(folder, message):
    with pytest.raises(ValueError, match=message):
        read_dicom_series(REAL / "dicomdirtests" / folder)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 0.001), ("micron", 1000.0)])
def test_lengths_in_metres_and_microns_become_mm(tmp_path, unit, factor):
    image = nibabel.load(write_nifti(tmp_path / "a.nii", affine=np.diag([factor] * 3 + [1]) @ AFFINE))
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, tmp_path / "b.nii")
    volume = read_nifti(tmp_path / "b.nii")
    assert_is_the_volume(volume)
    assert volume.note == f"its lengths are in {unit}s: converted to mm"
    write_nifti_mask(tmp_path / "mask.nii.gz", HOUNSFIELD > 0, volume)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert mask.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(mask.affine, np.diag([1 / factor] * 3 + [1]) @ image.affine, rtol=1e-5)


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 10, 64, 123, 255])  # 1 is metre, 2 mm, 3 micron; some are unknown
def test_a_unit_that_makes_the_chest_too_large_or_small_is_ignored(tmp_path, code):
    image = nibabel.load(write_nifti(tmp_path / "a.nii"))
    image.header["xyzt_units"] = code
    (tmp_path / "b.nii").write_bytes(image.to_bytes())
    volume = read_nifti(tmp_path / "b.nii")
    assert_is_the_volume(volume)
    assert volume.note == ""


@pytest.mark.parametrize(
    ("sides_mm", "says"),
    [
        ((0.0015, 0.5, 0.5), None), ((1000, 1, 1), None), ((0.0009, 1, 1), "a voxel measures 1 x 1 x 0.0009 mm"),
        ((1, 1001, 1), "a voxel measures 1 x 1001 x 1 mm"), ((1, 0, 1), "its affine has no inverse"),
    ],
)  # fmt: skip
def test_sides_of_voxels_have_limits(sides_mm, says):
    affine = np.diag([*sides_mm, 1.0])
    if says is None:
        volume = turn_to_axial(np.zeros((2, 3, 4)), affine, Path("a.nii"))
        assert volume.spacing_mm == pytest.approx(sides_mm[::-1]) and volume.hounsfield.shape == (4, 3, 2)
    else:
        with pytest.raises(ValueError, match=rf"a\.nii: .*{says}"):
            turn_to_axial(np.zeros((2, 3, 4)), affine, Path("a.nii"))


def test_a_place_that_is_no_number_is_refused():
    affine = AFFINE.copy()
    affine[0, 3] = np.nan
    with pytest.raises(ValueError, match="its affine has no inverse"):
        turn_to_axial(HOUNSFIELD.transpose(), affine, Path("a.nii"))


def test_sizes_of_volumes_have_limits():
    refuse_size(Path("a.nii"), (1, 2048, 2048))  # one slice is not too thin
    refuse_slices(Path("a.nii"), 1536)
    for shape, says in (((1, 2048, 2049), "2,048 along an axis"), ((1, 10, 1001), "too thin"), ((3, 0, 3), "empty")):
        with pytest.raises(ValueError, match=says):
            refuse_size(Path("a.nii"), shape)
    with pytest.raises(ValueError, match="1,537 slices, and 1,536 are the most"):
        refuse_slices(Path("a.nii"), 1537)


@pytest.mark.parametrize("codes", ["RAS", "SAL", "AIL"])
def test_slices_are_counted_along_the_body_however_a_file_stores_them(tmp_path, monkeypatch, codes):
    write_nifti(tmp_path / "a.nii", codes=codes)
    monkeypatch.setattr(volumes, "MAX_SLICES", SHAPE[0])
    assert_is_the_volume(read_nifti(tmp_path / "a.nii"))
    monkeypatch.setattr(volumes, "MAX_SLICES", SHAPE[0] - 1)
    with pytest.raises(ValueError, match="9 slices, and 8 are the most"):
        read_nifti(tmp_path / "a.nii")
