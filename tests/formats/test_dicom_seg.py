import sys

import numpy as np
import pytest

from helpers.networks import BLOCKS, bright
from lungnb.__main__ import main
from lungnb.formats.images import read_volume, write_png
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.lungs import split_sides

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
highdicom = pytest.importorskip("highdicom")
from helpers.volumes import NAME, alter, write_nifti, write_series, write_slice  # noqa: E402  needs the above

CHEST = np.full((6, 40, 40), -1000, np.float32)
CHEST[1:6, 10:30, 6:16] = CHEST[1:5, 12:28, 24:34] = 350  # right, left; "lung" to the model, which takes what is bright
STUDY = {"StudyInstanceUID": "1.2.5", "FrameOfReferenceUID": "1.2.6", "StudyDate": "20200102", "AccessionNumber": "A7"}


def write_study(folder, codes="LPS"):
    """Write the chest as a series of slices, each with a number of its own; return them in their order."""
    files = write_series(folder, CHEST, codes=codes, **STUDY)
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
    write_slice(tmp_path / "film.dcm", BLOCKS, **film)  # films have no frame of reference
    write_slice(tmp_path / "dark.dcm", BLOCKS * 0, **film)
    table = segment_files(tmp_path, tmp_path / "out", bright(), dicom_segs=True, progress=False)
    assert table["status"].tolist() == ["no lung found", "ok"]
    segmentation = highdicom.seg.segread(tmp_path / "out" / "film_seg.dcm")
    found = segmentation.get_pixels_by_source_instance(["1.2.3"])
    assert [*found.sum(axis=(0, 1, 2))] == [*table.loc[1, ["right_px", "left_px"]]]


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
