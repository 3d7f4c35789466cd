"""Masks of other programs that are volumes or DICOM."""

import numpy as np
import pytest

from lungnb.datasets.external_masks import ExternalMask, read_external, size_of, turned_like
from lungnb.evaluation.external import ScoreOptions, _spacing_of, score_folders
from lungnb.formats.images import write_png
from lungnb.formats.opening import Refused
from lungnb.metrics import dice, surface_scores

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
from helpers.films import dicom  # noqa: E402
from helpers.volumes import AFFINE, ORIGIN, SHAPE, SPACING, alter, write_nifti, write_series  # noqa: E402
from lungnb.formats.dicom_seg import write_dicom_seg  # noqa: E402
from lungnb.formats.images import read_volume  # noqa: E402

LUNGS = np.zeros(SHAPE, bool)
LUNGS[2:7, 4:9, 1:4] = LUNGS[2:7, 4:9, 6:9] = True
OTHER = np.roll(LUNGS, 1, axis=0)
STUDY = {"StudyInstanceUID": "1.2.5", "FrameOfReferenceUID": "1.2.6", "StudyDate": "20200102", "AccessionNumber": "A7"}


def score(truth, *masks, **options):
    return score_folders(truth, masks, ScoreOptions(**options), progress=False)


def write_seg(path, mask, series):
    """Write a DICOM Segmentation of a mask of the helpers' volume, and that volume as a series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(write_series(series, **STUDY)):
        alter(file, SOPInstanceUID=f"1.2.3.{number}")
    write_dicom_seg(path, (mask, np.zeros_like(mask)), series, read_volume(series))


def test_volumes_are_scored_in_3d_and_in_mm_however_they_are_stored(tmp_path):
    write_nifti(tmp_path / "truth" / "case1.nii.gz", LUNGS * 1.0)
    write_nifti(tmp_path / "tool" / "case1_mask.nii", OTHER * 1.0, codes="LPS")
    (row,) = score(tmp_path / "truth", tmp_path / "tool").table.to_dict("records")
    assert row["dice"] == dice(LUNGS, OTHER) < 1 and row["unit"] == "mm" and "costophrenic" not in row
    expected = surface_scores(LUNGS, OTHER, SPACING)
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_labels_of_a_whole_body_program_are_united(tmp_path):
    labels = np.where(LUNGS, 10 + np.arange(SHAPE[2]) // 5, 0.0)
    labels[0] = 51
    write_nifti(tmp_path / "truth" / "a.nii.gz", LUNGS * 1.0)
    write_nifti(tmp_path / "tool" / "a.nii.gz", labels)
    assert score(tmp_path / "truth", tmp_path / "tool", labels=[10, 11]).table["dice"].tolist() == [1]


def test_a_volume_of_another_place_or_size_is_named(tmp_path):
    write_nifti(tmp_path / "truth" / "a.nii.gz", LUNGS * 1.0)
    write_nifti(tmp_path / "truth" / "b.nii.gz", LUNGS * 1.0)
    affine = AFFINE.copy()
    affine[:3, 3] = np.add(ORIGIN, 50)
    write_nifti(tmp_path / "tool" / "a.nii.gz", LUNGS * 1.0, affine=affine)
    write_nifti(tmp_path / "tool" / "b.nii.gz", LUNGS[1:] * 1.0)
    with pytest.raises(ValueError, match="no mask could be scored") as error:
        score(tmp_path / "truth", tmp_path / "tool")
    assert "a.nii.gz: lies elsewhere than the ground truth a.nii.gz" in str(error.value)
    assert "b.nii.gz: is 10x12 px and 8 slices, but the ground truth b.nii.gz is 10x12 px and 9 slices" in str(
        error.value
    )


def test_a_dicom_segmentation_lies_on_the_grid_of_the_other_volume_or_of_the_image(tmp_path):
    pytest.importorskip("highdicom")
    write_nifti(tmp_path / "truth" / "case.nii.gz", LUNGS * 1.0)
    write_seg(tmp_path / "tool" / "case.dcm", OTHER, tmp_path / "images" / "case")
    forth = score(tmp_path / "truth", tmp_path / "tool").table["dice"].tolist()
    back = score(tmp_path / "tool", tmp_path / "truth").table["dice"].tolist()
    assert forth == back == [dice(LUNGS, OTHER)]
    write_seg(tmp_path / "second" / "case_seg.dcm", LUNGS, tmp_path / "more" / "case")
    table = score(tmp_path / "second", tmp_path / "tool", images=tmp_path / "images").table
    assert table["dice"].tolist() == forth and table["unit"].tolist() == ["mm"]
    with pytest.raises(ValueError, match="Pair it with a volume"):
        score(tmp_path / "second", tmp_path / "tool")


def test_if_the_spacing_of_one_image_is_unknown_all_distances_are_shares(tmp_path):
    for name, mask in (("truth", LUNGS), ("tool", OTHER)):
        write_nifti(tmp_path / name / "volume.nii.gz", mask * 1.0)
        write_png(tmp_path / name / "film.png", np.kron(mask[3 if name == "truth" else 2], np.ones((8, 8))) > 0)
    scoring = score(tmp_path / "truth", tmp_path / "tool")
    assert scoring.table["unit"].tolist() == ["%", "%"] and "so all distances are in percent" in str(
        scoring.problem_lines()
    )
    assert scoring.table.set_index("id").loc["volume", "hd95"] == surface_scores(LUNGS, OTHER)["hd95"]


def test_parts_of_another_size_are_refused(tmp_path):
    write_png(tmp_path / "left.png", np.eye(64, dtype=bool))
    write_png(tmp_path / "right.png", np.eye(32, dtype=bool))
    with pytest.raises(Refused, match=r"right.png: is 32x32 px, but .*left.png is 64x64 px"):
        read_external([tmp_path / "left.png", tmp_path / "right.png"])
    assert size_of(np.zeros((2, 3), bool)) == "3x2 px"


FILM = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1", "StudyInstanceUID": "1.2.5", "SeriesInstanceUID": "1.2.6"}
FILM |= {"PixelSpacing": [0.2, 0.3]}
SHOWN = np.zeros((40, 48), bool)  # the mask of a film as it is shown: the patient's right lung is the smaller one
SHOWN[10:30, 4:12] = SHOWN[4:36, 30:44] = True


def stored_film(tmp_path, turn, **tags):
    """Write a film that is stored turned, and a DICOM Segmentation of its lungs; return the mask as it is stored."""
    pytest.importorskip("highdicom")
    stored = turn(SHOWN)
    for folder in ("films", "truth", "tool", "flat"):
        (tmp_path / folder).mkdir()
    film = dicom(tmp_path / "films" / "case.dcm", stored * np.uint16(1000), "DX", **FILM | tags)
    write_dicom_seg(tmp_path / "tool" / "case.dcm", (stored, np.zeros_like(stored)), film)
    return stored


@pytest.mark.parametrize(
    ("orientation", "turn"), [(["R", "F"], np.fliplr), (["L", "H"], np.flipud), (["F", "L"], np.transpose)]
)
def test_masks_of_a_film_that_is_turned_upright_are_turned_with_it(tmp_path, orientation, turn):
    stored = stored_film(tmp_path, turn, PatientOrientation=orientation)
    write_png(tmp_path / "truth" / "case.png", stored)  # as `segment` writes masks
    scoring = score(tmp_path / "truth", tmp_path / "tool", images=tmp_path / "films")
    (row,) = scoring.table.to_dict("records")
    assert row["dice"] == row["right_dice"] == row["left_dice"] == 1
    assert "films that are stored turned, such as case: 1. lungnb assumes that masks such as case.png lie" in str(
        scoring.problem_lines()
    )
    assert np.array_equal(scoring.sets.read(scoring.sets.truth, "case").mask, SHOWN)
    transposed = orientation[0] == "F"
    given_mm = (9.0, 9.0)  # not used, because the film states its pixel size
    assert _spacing_of(scoring.sets, "case", [scoring.sets.read(scoring.sets.truth, "case")], given_mm) == (
        (0.3, 0.2) if transposed else (0.2, 0.3)
    )


def test_a_mask_that_is_turned_keeps_its_doubt(tmp_path):
    stored_film(tmp_path, np.fliplr, PatientOrientation=["R", "F"])
    mask = ExternalMask(SHOWN, grey_share=0.3, doubt="is a JPEG")
    turned = turned_like(mask, tmp_path / "films" / "case.dcm")
    assert (turned.grey_share, turned.doubt) == (0.3, "is a JPEG") and (turned.mask == SHOWN[:, ::-1]).all()


def test_a_mask_that_was_drawn_on_the_upright_film_is_not_turned(tmp_path):
    stored_film(tmp_path, np.transpose, PatientOrientation=["F", "L"])
    write_png(tmp_path / "truth" / "case.png", SHOWN)
    table = score(tmp_path / "truth", tmp_path / "tool", images=tmp_path / "films").table
    assert table["dice"].tolist() == [1]
    with pytest.raises(ValueError, match=r"is 40x48 px, but the ground truth case.png is 48x40 px"):
        score(tmp_path / "truth", tmp_path / "tool")


def test_the_sides_of_a_turned_film_are_the_patients(tmp_path):
    stored = stored_film(tmp_path, np.fliplr, PatientOrientation=["R", "F"])
    right = stored.copy()
    right[:, :24] = False  # of the stored film, the patient's right lung is on the right
    write_dicom_seg(tmp_path / "truth" / "case.dcm", (stored, np.zeros_like(stored)), tmp_path / "films" / "case.dcm")
    write_png(tmp_path / "flat" / "case.png", right)
    (row,) = score(tmp_path / "truth", tmp_path / "flat", images=tmp_path / "films").table.to_dict("records")
    assert row["right_dice"] == 1 and row["left_dice"] == 0
