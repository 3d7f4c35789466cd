import json
import sys

import numpy as np
import pytest

from helpers.networks import BLOCKS, bright
from lungnb.__main__ import main
from lungnb.datasets.check import check_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.formats.images import peculiarity, read_mask, read_volume, write_png
from lungnb.presets import make_settings
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.lungs import split_sides

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
highdicom = pytest.importorskip("highdicom")
from helpers.volumes import NAME, alter, write_nifti, write_series, write_slice  # noqa: E402  needs the above
from lungnb.formats import dicom_seg  # noqa: E402
from lungnb.formats.dicom_seg import _lung_numbers, read_volume_seg  # noqa: E402

CHEST = np.full((6, 40, 40), -1000, np.float32)
CHEST[1:6, 10:30, 6:16] = CHEST[1:5, 12:28, 24:34] = 350  # right, left; "lung" to the model, which takes what is bright
STUDY = {"StudyInstanceUID": "1.2.5", "FrameOfReferenceUID": "1.2.6", "StudyDate": "20200102", "AccessionNumber": "A7"}


FILM = BLOCKS.astype(np.uint16)
DX = {"Modality": "DX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "StudyInstanceUID": "1.2.5"}


def write_study(folder, codes="LPS", **tags):
    """Write the chest as a series of slices, each with a number of its own; return them in their order."""
    files = write_series(folder, CHEST, codes=codes, **STUDY | tags)
    for number, file in enumerate(files):
        alter(file, SOPInstanceUID=f"1.2.3.{number}")
    return files


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"], ids=["supine", "prone", "sagittal"])
def test_frames_lie_where_the_slices_do(tmp_path, codes):
    files = write_study(tmp_path / "series", codes)
    table = segment_files(tmp_path / "series", tmp_path / "out", bright(), dicom_segs=True, progress=False)
    assert table["status"].tolist() == ["ok"]
    file = pydicom.dcmread(tmp_path / "out" / "series_seg.dcm")
    assert file.SOPClassUID == pydicom.uid.SegmentationStorage and file.SegmentationType == "BINARY"
    assert [segment.SegmentLabel for segment in file.SegmentSequence] == ["Right lung", "Left lung"]
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in file.SegmentSequence]
    assert [(code.CodeValue, code.CodingSchemeDesignator) for code in types] == [
        ("3341006", "SCT"), ("44029006", "SCT")
    ]  # fmt: skip
    algorithm = file.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "lungnb" and algorithm.AlgorithmVersion

    # Each segment, slice by slice, is the NIfTI mask's side at the same slice.
    segmentation = highdicom.seg.segread(tmp_path / "out" / "series_seg.dcm")
    numbers = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    found = segmentation.get_pixels_by_source_instance(numbers)  # slice, row, column, segment
    mask = np.asarray(nibabel.load(tmp_path / "out" / "series_mask.nii.gz").dataobj)  # column, row, slice
    np.testing.assert_array_equal(found.any(axis=-1), mask.transpose() > 0)
    assert found[..., 0].sum() == table["right_px"][0] and found[..., 1].sum() == table["left_px"][0]

    # And in the patient's space, as a viewer that knows nothing of the series places it.
    placed = segmentation.get_volume(combine_segments=True).to_patient_orientation("LPH")
    spaced = nibabel.load(tmp_path / "out" / "series_mask.nii.gz")
    for index in np.argwhere(placed.array)[::97]:
        place = placed.affine @ [*index, 1] * [-1, -1, 1, 1]  # LPS to RAS
        column, row, slice_ = np.rint(np.linalg.inv(spaced.affine) @ place).astype(int)[:3]
        assert mask[column, row, slice_]
    volume = read_volume(tmp_path / "series")
    right, _ = split_sides(volume.hounsfield > 0)
    assert table["right_px"][0] == pytest.approx(right.sum(), rel=0.1)


def test_the_patient_is_named_in_the_file_and_nowhere_else(tmp_path, capsys):
    write_study(tmp_path / "series")
    bright().save(tmp_path / "bright.keras")
    arguments = [str(tmp_path / "series"), "--out", str(tmp_path / "out"), "--model", str(tmp_path / "bright.keras")]
    assert main(["segment", *arguments]) == 0
    assert not [*(tmp_path / "out").glob("*.dcm")]  # on request alone
    assert main(["segment", *arguments, "--dicom-seg", "--json"]) == 0
    file = pydicom.dcmread(tmp_path / "out" / "series_seg.dcm")
    assert (file.PatientName, file.PatientID, file.StudyInstanceUID) == (NAME, NAME, "1.2.5")
    assert file.SeriesInstanceUID != "1.2.4"
    said = "".join(capsys.readouterr()).encode()
    secrets = [NAME.encode(), b"Nobody", b"20200102", b"1.2.5"]
    for other in (tmp_path / "out").iterdir():
        content = said + str(other).encode() + (b"" if other.suffix == ".dcm" else other.read_bytes())
        assert not any(secret in content for secret in secrets), other


def test_a_film_can_have_one(tmp_path):
    film = {"Modality": "DX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "StudyInstanceUID": "1.2.5"}
    shown = BLOCKS.copy()
    shown[45:55, 10:40] = 255  # the patient's right lung, which is on the left, is the larger one
    write_slice(tmp_path / "film.dcm", shown, **film)  # films have no frame of reference
    write_slice(tmp_path / "dark.dcm", BLOCKS * 0, **film)
    table = segment_files(tmp_path, tmp_path / "out", bright(), dicom_segs=True, progress=False)
    assert table["status"].tolist() == ["no lung found", "ok"]
    segmentation = highdicom.seg.segread(tmp_path / "out" / "film_seg.dcm")
    found = segmentation.get_pixels_by_source_instance(["1.2.3"])
    right_px, left_px = found.sum(axis=(0, 1, 2))
    assert [right_px, left_px] == [*table.loc[1, ["right_px", "left_px"]]] and right_px > 1.1 * left_px
    labels = [segment.SegmentLabel for segment in segmentation.SegmentSequence]
    assert labels == ["Right lung", "Left lung"] and not found[0, :, 50:, 0].any()


def test_what_cannot_have_one_is_said_and_the_rest_goes_on(tmp_path, monkeypatch):
    films = tmp_path / "films"
    write_png(films / "film.png", BLOCKS)
    write_nifti(films / "chest.nii.gz", CHEST)
    write_series(films / "poor", CHEST)  # without a study
    write_study(films / "rich")

    def errors():
        table = segment_files(films, tmp_path / "out", bright(), dicom_segs=True, progress=False)
        return table.set_index(table["file"].map(lambda file: file.rpartition("/")[2]))["error"]

    said = errors()
    for name, words in {"film.png": "not DICOM", "chest.nii.gz": "not DICOM", "poor": "StudyInstanceUID"}.items():
        assert words in said[name] and said[name].startswith(str(films / name)) and NAME not in said[name]
    assert said.isna()["rich"]
    assert {path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."} == {
        "film_mask.png", "chest_mask.nii.gz", "poor_mask.nii.gz", "rich_mask.nii.gz", "rich_seg.dcm", "segmentation.csv"
    }  # fmt: skip
    monkeypatch.setitem(sys.modules, "highdicom", None)
    assert "needs highdicom; pip install 'lungnb[medical]'" in errors()["rich"]


def written_mask(path):
    mask = read_volume(path).hounsfield > 0
    assert 1000 < mask.sum() < 2500
    return mask


def segmented(path, out):
    """Segment a file or a folder with a DICOM Segmentation; return the row of the table."""
    return segment_files(path, out, bright(), dicom_segs=True, progress=False).iloc[0]


@pytest.mark.parametrize(
    "odd",
    [
        {"PatientBirthDate": b"UNKNOWN "},
        {"SpecificCharacterSet": b"ISO_IR 6"},
        {"SpecificCharacterSet": b"NotSupplied "},
        {"SpecificCharacterSet": b"NotSupplied ", "PatientName": "Müller^Ä".encode("latin-1")},
        {"PatientSex": b"Unknown "},
        {"StudyDate": b"1.2.2020", "StudyTime": b"noon"},
    ],
)
def test_odd_values_of_a_header_are_left_empty(tmp_path, odd):
    write_slice(tmp_path / "film.dcm", FILM, **DX)
    file = pydicom.dcmread(tmp_path / "film.dcm")
    for name, value in odd.items():
        tag = pydicom.tag.Tag(name)
        vr = pydicom.datadict.dictionary_VR(tag)
        file[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(value), value, 0, False, True)
    file.save_as(tmp_path / "film.dcm")
    row = segmented(tmp_path / "film.dcm", tmp_path / "out")
    assert row["status"] == "ok" and not isinstance(row["error"], str)
    assert highdicom.seg.segread(tmp_path / "out" / "film_seg.dcm").StudyInstanceUID == "1.2.5"


def test_what_is_missing_is_named_and_the_mask_is_written(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    write_slice(tmp_path / "in" / "film.dcm", FILM, **DX)
    alter(tmp_path / "in" / "film.dcm", StudyInstanceUID="")
    write_study(tmp_path / "in" / "series", FrameOfReferenceUID=None)
    write_study(tmp_path / "in" / "thin", SliceThickness=None)
    bright().save(tmp_path / "bright.keras")
    arguments = ["--out", str(tmp_path / "out"), "--model", str(tmp_path / "bright.keras"), "--dicom-seg", "--json"]
    assert main(["segment", str(tmp_path / "in"), *arguments]) == 1
    said = capsys.readouterr()
    rows = {row["mask"]: row for row in json.loads(said.out)}
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert "lacks StudyInstanceUID, which" in rows["film_mask.png"]["error"]
    assert "lacks FrameOfReferenceUID, which" in rows["series_mask.nii.gz"]["error"]
    assert rows["thin_mask.nii.gz"]["error"] is None
    assert "lacks StudyInstanceUID" in said.err and "2 of them lack an output that was asked for" in said.err
    assert all((tmp_path / "out" / mask).exists() for mask in rows)
    assert pydicom.dcmread(tmp_path / "out" / "thin_seg.dcm").SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[
        0
    ].SliceThickness == pytest.approx(2.5)


def test_nothing_of_a_header_is_printed(tmp_path, capfd, caplog):
    write_slice(tmp_path / "film.dcm", FILM, PatientName="ONEWORDNAME", PatientID="P" * 66, **DX)
    capfd.readouterr(), caplog.clear()
    assert segmented(tmp_path / "film.dcm", tmp_path / "out")["status"] == "ok"
    assert str(pydicom.dcmread(tmp_path / "out" / "film_seg.dcm").PatientName) == "ONEWORDNAME"
    said = "".join([*capfd.readouterr(), caplog.text])
    assert "ONEWORD" not in said and "PPP" not in said


def test_an_option_that_fails_leaves_the_mask(tmp_path, monkeypatch):
    write_slice(tmp_path / "film.dcm", FILM, **DX)

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("lungnb.segmentation.steps.overlay", fail)
    table = segment_files(
        tmp_path / "film.dcm", tmp_path / "out", bright(), overlays=True, cutouts=True, progress=False
    )
    assert table["status"].tolist() == ["ok"] and "needs more memory" in table["error"][0]
    assert (tmp_path / "out" / "film_mask.png").exists() and (tmp_path / "out" / "film_cutout.png").exists()


def test_a_segmentation_of_a_film_is_a_mask(tmp_path):
    write_slice(tmp_path / "film.dcm", FILM, **DX)
    segmented(tmp_path / "film.dcm", tmp_path / "out")
    path = tmp_path / "out" / "film_seg.dcm"
    expected = read_mask(tmp_path / "out" / "film_mask.png")
    np.testing.assert_array_equal(read_mask(path), expected)
    np.testing.assert_array_equal(read_mask(path, (1,))[:, :50], expected[:, :50])
    assert not read_mask(path, (1,))[:, 50:].any()
    assert peculiarity(path) == ""
    for number, segment in enumerate(("Heart", "Esophagus", "Spinal cord")):
        file = pydicom.dcmread(path)
        file.SegmentSequence.append(file.SegmentSequence[0])
        file.SegmentSequence[-1] = pydicom.Dataset()
        file.SegmentSequence[-1].SegmentLabel, file.SegmentSequence[-1].SegmentNumber = segment, 3 + number
        file.save_as(path)
    np.testing.assert_array_equal(read_mask(path), expected)  # by what segments are called
    file = pydicom.dcmread(path)
    del file.SegmentSequence[1:]
    file.SegmentSequence[0].SegmentLabel = "Nodule 1"
    file.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Nodule"
    file.save_as(tmp_path / "nodule.dcm")
    with pytest.raises(
        ValueError, match=r"nodule\.dcm: a segment is a lesion, such as a nodule, and none is called lu"
    ):
        read_mask(tmp_path / "nodule.dcm")
    file.SegmentSequence[0].SegmentLabel = "Lungs without nodules"
    file.save_as(tmp_path / "nodule.dcm")
    assert read_mask(tmp_path / "nodule.dcm").any()
    file = pydicom.dcmread(path)
    for segment in file.SegmentSequence:
        segment.SegmentLabel = "Organ"
        segment.pop("SegmentedPropertyTypeCodeSequence", None)
    file.save_as(path)
    with pytest.raises(ValueError, match=r"film_seg\.dcm: none of its 5 segments is called lung"):
        read_mask(path)
    del file.SegmentSequence[3:]
    file.save_as(path)
    with pytest.raises(ValueError, match="none of its 3 segments"):
        read_mask(path)
    del file.SegmentSequence[2:]
    file.save_as(path)
    np.testing.assert_array_equal(read_mask(path), expected)
    with pytest.raises(ValueError, match=r"film\.dcm: DICOM, but not a Segmentation"):
        read_mask(tmp_path / "film.dcm")


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
@pytest.mark.parametrize("is_nifti", [False, True])
def test_a_segmentation_of_a_series_lies_on_its_volume(tmp_path, codes, is_nifti):
    write_study(tmp_path / "series", codes)
    segmented(tmp_path / "series", tmp_path / "out")
    volume = read_volume(write_nifti(tmp_path / "a.nii", CHEST) if is_nifti else tmp_path / "series")
    mask = read_volume_seg(tmp_path / "out" / "series_seg.dcm", volume)
    np.testing.assert_array_equal(mask, written_mask(tmp_path / "out" / "series_mask.nii.gz"))
    with pytest.raises(ValueError, match="do not lie on the slices of its volume"):
        read_volume_seg(
            tmp_path / "out" / "series_seg.dcm", volume._replace(affine=volume.affine @ np.diag([1, 1, 2, 1]))
        )
    with pytest.raises(ValueError, match=r"a DICOM Segmentation of .* slices, but its image has one"):
        read_mask(tmp_path / "out" / "series_seg.dcm")


@pytest.mark.parametrize(
    "heights",
    [[0, 3, 6, 9, 15, 21], [0, 5, 10, 12, 14, 16], [0, 3, 6, 9.2, 12.4, 15.6]],
    ids=["wider", "narrower", "nearly even"],
)
@pytest.mark.parametrize("codes", ["LPS", "RAI"])
def test_frames_find_slices_that_are_spaced_unevenly(tmp_path, heights, codes):
    files = write_study(tmp_path / "series", codes)
    for file, height in zip(files, heights, strict=True):
        place = pydicom.dcmread(file).ImagePositionPatient
        alter(file, ImagePositionPatient=[*place[:2], height if codes == "LPS" else -height])
    segmented(tmp_path / "series", tmp_path / "out")
    path, volume = tmp_path / "out" / "series_seg.dcm", read_volume(tmp_path / "series")
    np.testing.assert_array_equal(read_volume_seg(path, volume), written_mask(tmp_path / "out" / "series_mask.nii.gz"))
    for step in (0.5, -40, 40):  # between slices, and before and after all of them
        moved = pydicom.dcmread(path)
        position = moved.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
        position[2] = float(position[2]) + step
        moved.save_as(tmp_path / "moved.dcm")
        with pytest.raises(ValueError, match="its frames do not lie on the slices of its volume"):
            read_volume_seg(tmp_path / "moved.dcm", volume)


def test_frames_of_one_file_get_a_segmentation(tmp_path):
    from formats.test_dicom_series import write_enhanced

    order = [3, 0, 5, 1, 4, 2]
    write_enhanced(tmp_path / "ct.dcm", CHEST[order], [-400 + 2.5 * n for n in order])
    alter(tmp_path / "ct.dcm", **STUDY)
    row = segmented(tmp_path / "ct.dcm", tmp_path / "out")
    assert not isinstance(row["error"], str), row["error"]
    mask = read_volume_seg(tmp_path / "out" / "ct_seg.dcm", read_volume(tmp_path / "ct.dcm"))
    np.testing.assert_array_equal(mask, written_mask(tmp_path / "out" / "ct_mask.nii.gz"))


def test_a_data_set_may_have_segmentations_for_masks(tmp_path):
    raw = tmp_path / "set"
    for number in range(4):
        write_study(raw / "images" / f"case{number}", SeriesInstanceUID=f"1.2.4.{number}")
        write_slice(raw / "images" / f"case{number}" / "report.dcm", FILM, Modality="SR")
        segmented(raw / "images" / f"case{number}", tmp_path / "out")
        (raw / "masks").mkdir(exist_ok=True)
        (tmp_path / "out" / f"case{number}_seg.dcm").rename(raw / "masks" / f"case{number}.dcm")
    settings = make_settings(str(raw), volume_slices=2)
    findings = check_dataset(settings, progress=False)
    assert not (findings["severity"] == "error").any() and NAME not in findings.to_string()
    prepared = open_prepared(settings)
    assert len(prepared.manifest) == 8
    _, mask = prepared.pair(prepared.manifest.iloc[0].to_dict())
    index = int(prepared.manifest["id"][0][-3:])
    np.testing.assert_array_equal(mask, written_mask(tmp_path / "out" / "case0_mask.nii.gz")[index])


def test_slices_that_share_a_number_get_no_segmentation(tmp_path):
    for file in write_study(tmp_path / "series")[:2]:
        alter(file, SOPInstanceUID="1.2.3.0")
    row = segmented(tmp_path / "series", tmp_path / "out")
    assert row["status"] == "ok" and "several files have one SOPInstanceUID" in row["error"]


@pytest.mark.parametrize(
    ("names", "lungs"),
    [
        (["lung_right", "lung_left", "heart"], [1, 2]), (["Lung, right", "Lung vessels", "Left upper lobe"], [1]),
        (["Right lung", "Nodule in lung", "Tumor"], [1]), (["heart", "body", "Lungs excluding nodules"], [3]),
    ],
)  # fmt: skip
def test_segments_of_lungs_are_known_by_their_names(tmp_path, names, lungs):
    file = pydicom.Dataset()
    file.SegmentSequence = [pydicom.Dataset() for _ in names]
    for number, (segment, name) in enumerate(zip(file.SegmentSequence, names, strict=True), 1):
        segment.SegmentNumber, segment.SegmentLabel = number, name
    assert _lung_numbers(file, tmp_path) == tuple(lungs)


def test_probabilities_above_one_half_are_lung(tmp_path):
    write_slice(tmp_path / "film.dcm", FILM, **DX)
    image, shares = pydicom.dcmread(tmp_path / "film.dcm"), np.zeros((1, 60, 100))
    dicom_seg._mend(image, None)
    shares[0, :, 10:40], shares[0, :, 50:80] = 0.4, 0.6
    uid, (segment, _) = highdicom.UID, dicom_seg._segments()
    written = highdicom.seg.Segmentation(
        [image], shares, "FRACTIONAL", [segment], uid(), 1, uid(), 1, "a", "b", "1", "none", max_fractional_value=200
    )
    written.save_as(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(read_mask(tmp_path / "seg.dcm"), shares[0] > 0.5)
