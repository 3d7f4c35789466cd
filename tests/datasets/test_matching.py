"""Which files in a folder are masks, which belong together, and which have a partner in another folder."""

from pathlib import Path

import pytest

from lungnb.datasets.matching import as_masks, find_masks, match_masks, nearest


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder, *others):
    """Return the files of each mask by its id, and the files that are left out."""
    masks, left_out = find_masks(folder, others)
    return {each.id: sorted(map(str, each.files)) for each in masks}, left_out


def test_other_outputs_of_segment_are_not_taken_for_masks(tmp_path):
    endings = ("_mask.png", "_overlay.png", "_cutout.png", "_probability.png", "_seg.dcm")
    write(tmp_path, "segmentation.csv", *(f"film{end}" for end in endings), "scan_mask.nii.gz", "scan_overlay.png")
    write(tmp_path, "in/other_mask.png", "in/other_overlay.png")
    masks, left_out = found(tmp_path)
    assert masks == {"film": ["film_mask.png"], "other": ["in/other_mask.png"], "scan": ["scan_mask.nii.gz"]}
    assert not left_out


def test_a_name_that_ends_like_an_overlay_is_a_mask_if_it_is_beside_none(tmp_path):
    assert found(write(tmp_path, "a_overlay.png"))[0] == {"a_overlay": ["a_overlay.png"]}


def test_of_an_image_and_its_mask_the_mask_counts(tmp_path):
    masks, left_out = found(write(tmp_path, "case1.png", "case1_mask.png", "case2_mask.png"))
    assert masks == {"case1": ["case1_mask.png"], "case2": ["case2_mask.png"]}
    assert left_out == [("case1.png", "case1_mask.png is the mask of this name")]


def test_folders_of_images_hold_no_masks(tmp_path):
    assert found(write(tmp_path, "images/a.png", "images/b.png", "masks/a.png"))[0] == {"a": ["masks/a.png"]}


def test_names_of_one_case_in_one_folder_are_in_doubt(tmp_path):
    masks, ((files, reason),) = found(write(tmp_path, "a-1.png", "a_1.png", "b.png"))
    assert masks == {"b": ["b.png"]} and {*files.split(" and ")} == {"a-1.png", "a_1.png"}
    assert reason.startswith("have one name")


def test_the_lungs_among_the_organs_of_a_case_count(tmp_path):
    organs = ("lung_upper_lobe_left", "lung_lower_lobe_right", "heart", "rib_left_1")
    names = [f"{case}/segmentations/{organ}.nii.gz" for case in ("s 1", "s 2") for organ in organs]
    masks, left_out = found(write(tmp_path, *names))
    assert masks == {
        case: [f"{case}/segmentations/{organ}.nii.gz" for organ in sorted(organs[:2])] for case in ("s 1", "s 2")
    }
    masks, left = found(write(tmp_path / "other", "1/Lung.png", "1/heart.png"))
    assert masks == {"1": ["1/Lung.png"]} and left == [("1/heart.png", "another organ's")]
    assert sorted(left_out)[0] == ("s 1/segmentations/heart.nii.gz", "another organ's") and len(left_out) == 4


def test_one_name_in_two_folders_is_two_masks(tmp_path):
    masks, _ = found(write(tmp_path, "north/1.png", "south/1.png"))
    assert masks == {"north_1": ["north/1.png"], "south_1": ["south/1.png"]}


@pytest.mark.parametrize(
    "masks",
    [
        {"a": ["z/a.png"], "b": ["b.png"]},  # sorted
        {"a": ["images/a.png"]},  # a folder of images alone may hold masks
        {"a": ["images/a_mask.png"], "b": ["masks/b.png"]},
        {"7": ["left/7.png", "right/7.png"]},
        {"7": ["left_7.png", "right_7.png"]},
        {"left": ["left.png", "right.png"]},
        {"case 8": ["study/case 8/lung_left.png", "study/case 8/lung_right.png"]},
        {"case": ["case/lung.png"], "case_2": ["case_2/lung.png"]},  # the second is no organ of the first
        {"south_A": ["south/A.png"], "north_a": ["north/a.png"]},
    ],
)
def test_names_of_masks(tmp_path, masks):
    names = [name for files in masks.values() for name in files]
    assert [*found(write(tmp_path, *names))[0].items()] == [*masks.items()]


def test_folders_that_are_scored_themselves_are_left_out(tmp_path):
    write(tmp_path, "1.png", "tool/1.png", "tools/2.png")
    assert {*found(tmp_path, tmp_path / "tool", tmp_path.parent)[0]} == {"1", "2"}
    (tmp_path / "again").symlink_to(tmp_path / "tools")
    write(tmp_path, "tools/in/3.png")
    assert {*found(tmp_path / "again", tmp_path / "again" / "in")[0]} == {"2"}


@pytest.mark.parametrize(
    ("truth", "mask", "is_match"),
    [
        ("case7.png", "Case_7_mask.nii.gz", True),
        ("truth/case 7/lung_left.nii.gz", "case7.nii.gz", True),
        ("study/case 7/lung_left.nii.gz", "case7.nii.gz", True),
        ("MCUCXR_0001_0.png", "mcucxr_0001_0.png", True),
        ("mcuCXR_0001_0.png", "MCUCXR_0001_0.png", True),
        ("case_07.png", "case_7.png", False),
        ("case_1.png", "case_11.png", False),
    ],
)
def test_two_names_match(truth, mask, is_match):
    assert bool(match_masks([as_masks(Path(truth))], [as_masks(Path(mask))])) == is_match


def test_a_name_that_several_have_matches_by_its_folder_only():
    truth = [as_masks(Path(name)) for name in ("north/1.png", "south/1.png")]
    assert match_masks(truth, [as_masks(Path("1.png"))]) == {}
    masks = [as_masks(Path(name)) for name in ("south/1_mask.png", "north/1_mask.png")]
    matched = match_masks([each._replace(id=str(each.files[0])) for each in truth], masks)
    assert {image: str(each.files[0]) for image, each in matched.items()} == {
        "north/1.png": "north/1_mask.png", "south/1.png": "south/1_mask.png",
    }  # fmt: skip


def test_words_that_all_masks_have_do_not_count_unless_all_of_the_ground_truth_have_them():
    truth = [as_masks(Path(f"{number:03}.png")) for number in (1, 2)]
    masks = [as_masks(Path(f"medsam_{number:03}_out.png")) for number in (1, 2)]
    assert {image: mask.id for image, mask in match_masks(truth, masks).items()} == {
        "001": "medsam_001_out", "002": "medsam_002_out",
    }  # fmt: skip
    others = [as_masks(Path(f"MCU_{number:03}.png")) for number in (1, 2)]
    assert match_masks(others, [as_masks(Path(f"CHN_{number:03}.png")) for number in (1, 2)]) == {}


def test_whole_names_come_before_names_without_a_word_of_all_masks():
    truth = [as_masks(Path(name)) for name in ("1.png", "2.png", "followup/1.png", "followup/2.png")]
    masks = [as_masks(Path(name)) for name in ("followup/1.png", "followup/2.png")]
    assert match_masks(truth, masks) == {truth[2].id: masks[0], truth[3].id: masks[1]}


def test_no_mask_matches_twice():
    def masks(*names):
        return [as_masks(Path(name))._replace(id=name) for name in names]

    def matched(truth, others):
        return {image: each.id for image, each in match_masks(masks(*truth), masks(*others)).items()}

    assert matched(["north/1.png", "1.png"], ["north/1_mask.png"]) == {"north/1.png": "north/1_mask.png"}
    assert matched(["north/1.png", "1.png"], ["north/1_mask.png", "south/1_mask.png"]) == {
        "north/1.png": "north/1_mask.png", "1.png": "south/1_mask.png",
    }  # fmt: skip
    assert matched(["1.png"], ["north/1.png", "south/1.png"]) == {}


def test_the_nearest_name_is_like_it():
    assert nearest("ABCD", ["abce"]) == "abce" and nearest("abcd", ["ABCE"]) == "ABCE"
    assert nearest("Case_07", ["case-7", "film"]) == "case-7" and nearest("a", ["xyz"]) == ""
