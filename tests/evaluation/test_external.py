"""Masks of other programs: which files are scored, how names match, and what is said about the rest."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

import lungnb
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import Engine
from lungnb.evaluation.external import ScoreOptions, score_folders
from lungnb.evaluation.scoring import score_images
from lungnb.formats.images import write_png
from lungnb.metrics import count_pixels, dice, scores, surface_scores
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files

TRUTHS = [make_phantom(index, size=64).mask for index in range(4)]


def shifted(mask, pixels=2):
    return np.roll(mask, pixels, axis=1)


def write_masks(folder, masks, name="case_{}.png"):
    for index, mask in enumerate(masks):
        write_png(folder / name.format(index), mask)
    return folder


@pytest.fixture
def truth(tmp_path):
    return write_masks(tmp_path / "truth", TRUTHS)


@pytest.fixture
def tool(tmp_path):
    """The folder of a program that shifts all masks."""
    return write_masks(tmp_path / "tool", map(shifted, TRUTHS))


def score(truth, *masks, **options):
    return score_folders(truth, masks, ScoreOptions(**options), progress=False)


def sentences(scoring):
    return "\n".join(scoring.problem_lines())


def test_the_scores_are_those_of_one_image(truth, tool):
    table = lungnb.score(truth, tool, progress=False)
    assert table["model"].tolist() == ["tool"] * 4 and table["id"].tolist() == [f"case_{index}" for index in range(4)]
    for row, mask in zip(table.to_dict("records"), TRUTHS, strict=True):
        counts = count_pixels(mask, shifted(mask))
        for name, value in (scores(counts) | surface_scores(mask, shifted(mask)) | counts._asdict()).items():
            assert row[name] == pytest.approx(value, abs=1e-9), name
    assert table["compared"].all() and (table["unit"] == "%").all() and "group" not in table


def dark_engine():
    """A network whose lungs are the dark pixels; `segment` and `score_images` clean its masks."""
    return Engine("dark", 64, lambda batch: (batch < 0.35).astype(np.float32))


def test_masks_of_segment_have_the_scores_of_the_network_that_made_them(prepared, tmp_path):
    data = open_prepared(prepared)
    expected = score_images(dark_engine(), data, progress=False).set_index("id")["dice"]
    images, truth = tmp_path / "films", tmp_path / "truth"
    for row in data.rows("train", "validation", "test"):
        image, mask = data.pair(row)
        write_png(images / f"{row['id']}.png", image)
        write_png(truth / f"{row['id']}.png", mask)
    for file in images.glob("*.png"):
        segmentation = lungnb.segment(file, dark_engine())
        write_png(tmp_path / "masks" / f"{file.stem}_mask.png", segmentation.mask)
    table = lungnb.score(truth, tmp_path / "masks", progress=False).set_index("id")["dice"]
    assert len(table) == len(expected) == 12 and 0.1 < expected.mean() < 1
    pd.testing.assert_series_equal(table.sort_index(), expected.sort_index(), atol=1e-6, rtol=0)


def test_a_folder_that_segment_wrote_is_scored_as_it_is(truth, tmp_path):
    for index in range(4):
        write_png(tmp_path / "films" / f"case_{index}.png", make_phantom(index, size=64).image)
    segment_files(tmp_path / "films", tmp_path / "masks", None, True, True, True, progress=False)
    assert len([*(tmp_path / "masks").glob("*.png")]) == 16
    scoring = score(truth, tmp_path / "masks")
    assert scoring.table["id"].tolist() == [f"case_{index}" for index in range(4)] and not len(scoring.problems)
    assert scoring.coverage.iloc[0].to_dict() == {
        "model": "masks", "images": 4, "scored": 4, "missing": 0, "unusable": 0, "without_truth": 0,
    }  # fmt: skip
    assert scoring.table["dice"].mean() > 0.8


@pytest.mark.parametrize(
    "name", ["CASE_{}_mask.png", "case_{}_lungmask.bmp", "case{}-seg.tif", "predictions/mask_case_{}.png"]
)
def test_names_match_as_images_and_masks_do(truth, tmp_path, name):
    for index, mask in enumerate(TRUTHS):
        file = tmp_path / "tool" / name.format(index)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(shifted(mask)).save(file)
    table = score(truth, tmp_path / "tool").table
    assert table["dice"].tolist() == [pytest.approx(dice(mask, shifted(mask))) for mask in TRUTHS]


@pytest.mark.parametrize(
    "names",
    [
        ("leftMask/c{}.png", "rightMask/c{}.png"), ("c{}_left.png", "c{}_right_lung.png"), ("c{}_l.png", "c{}_r.png"),
        ("c{}-leftlung.png", "c{}-rightlung.png"), ("c{}-lung_left.png", "c{}-lung_right.png"),
    ],
)  # fmt: skip
def test_left_and_right_lung_are_united_on_either_side(tmp_path, names):
    middle = np.arange(64) < 32
    for folder in ("truth", "tool"):
        for index, mask in enumerate(TRUTHS):
            for name, half in zip(names, (middle, ~middle), strict=True):
                write_png(tmp_path / folder / name.format(index), (mask if folder == "truth" else shifted(mask)) & half)
    for folder in ("truth", "tool"):
        scoring = score(tmp_path / "truth", tmp_path / "tool")
        assert [image.split("-")[0] for image in scoring.table["id"]] == [f"c{index}" for index in range(4)]
        assert scoring.table["tp"].tolist() == [np.count_nonzero(mask & shifted(mask)) for mask in TRUTHS]
        joined = rf"{folder.replace('truth', 'ground truth')}: files joined into one mask, such as .*: 4 masks\."
        assert re.search(joined, sentences(scoring))
        for path in (tmp_path / folder).rglob("*.png"):
            path.unlink()
        for index, mask in enumerate(TRUTHS):  # in the second round, only one side is in two files
            write_png(tmp_path / folder / f"c{index}.png", mask if folder == "truth" else shifted(mask))


def test_a_case_with_one_of_two_sides_is_named(truth, tmp_path):
    for index, mask in enumerate(TRUTHS):
        write_png(tmp_path / "tool" / f"case_{index}_left.png", mask)
        if index != 2:
            write_png(tmp_path / "tool" / f"case_{index}_right.png", mask)
    lines = sentences(score(truth, tmp_path / "tool"))
    assert "tool: case_2_left.png: shows the left lung only" in lines and lines.count("lung only") == 1


def test_programs_are_compared_on_the_images_that_all_have(truth, tool, tmp_path):
    other = write_masks(tmp_path / "other", TRUTHS[1:], "case_{}x.png")  # case_0x is case_1 and so on
    for index in (2, 1, 0):
        (other / f"case_{index}x.png").rename(other / f"case_{index + 1}.png")
    (other / "case_3.png").rename(other / "case_33.png")
    scoring = score(truth, tool, other)
    assert sorted({*scoring.compared["id"]}) == ["case_1", "case_2"]
    assert scoring.table.groupby("model")["id"].count().to_dict() == {"tool": 4, "other": 2}
    coverage = scoring.coverage.set_index("model")
    assert coverage.loc["other", ["scored", "missing", "without_truth"]].tolist() == [2, 2, 1]
    assert scoring.missing.to_numpy().tolist() == [["other", "case_0"], ["other", "case_3"]]
    assert "other: case_3: no mask of this name (the nearest is case_33)." in sentences(scoring)


def broken(tool):
    (tool / "case_0.png").write_bytes(b"no image")


def small(tool):
    write_png(tool / "case_0.png", TRUTHS[0][::2, ::2])


def not_a_number(tool):
    (tool / "case_0.png").unlink()
    array = TRUTHS[0].astype(np.float32)
    array[0, :3] = np.nan
    Image.fromarray(array).save(tool / "case_0.tif")


def double(tool):
    write_png(tool / "Case-0.png", TRUTHS[0])


def pages(tool):
    (tool / "case_0.png").unlink()
    first, *others = [Image.fromarray(mask) for mask in TRUTHS]
    first.save(tool / "case_0.tif", save_all=True, append_images=others)


def whole_body(tool):
    Image.fromarray(np.repeat(np.arange(16, dtype=np.uint8), 256).reshape(64, 64)).save(tool / "case_0.png")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (broken, "tool: case_0.png: cannot be read as a mask"),
        (small, "tool: case_0.png: is 32x32 px, but the ground truth case_0.png is 64x64 px."),
        (not_a_number, "tool: case_0.tif: 3 of its values are not numbers"),
        (double, "have one name apart from case"),
        (pages, "tool: case_0.tif: holds several pictures"),
        (whole_body, "--labels"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named_and_the_rest_is_scored(truth, tool, change, says):
    change(tool)
    scoring = score(truth, tool)
    assert says in sentences(scoring) and scoring.table["id"].tolist() == ["case_1", "case_2", "case_3"]
    coverage = scoring.coverage.iloc[0]
    assert coverage["missing"] + coverage["unusable"] == 1 and str(tool) not in sentences(scoring)


def test_a_ground_truth_that_cannot_be_read_is_named(truth, tool):
    broken(truth)
    scoring = score(truth, tool)
    assert sentences(scoring).startswith("ground truth: case_0.png: cannot be read") and len(scoring.table) == 3


def test_folders_that_cannot_be_scored_are_named_and_the_rest_is_scored(truth, tool, tmp_path):
    (tmp_path / "empty").mkdir()
    write_masks(tmp_path / "others", TRUTHS, "film {} of May.png")
    scoring = score(truth, tool, tool, truth, tmp_path / "empty", tmp_path / "missing", tmp_path / "others")
    assert len(scoring.compared) == 4 and [*scoring.coverage["scored"]] == [4, 0, 0]
    for says in ("was given twice", "is the folder of the ground truth", "no mask found in this folder"):
        assert says in sentences(scoring)
    assert "missing: there is no such folder" in sentences(scoring)
    assert "others: none of its names, such as film 0 of May, matches the ground truth" in sentences(scoring)


def test_without_any_mask_to_score_an_error_says_why(truth, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such folder"):
        score(tmp_path / "nowhere", truth)
    with pytest.raises(ValueError, match=r"no folder of masks can be scored.*is the folder of the ground truth"):
        score(truth, truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no mask found\. Name the folder"):
        score(tmp_path / "empty", truth)
    with pytest.raises(ValueError, match=r"no mask could be scored\. empty: no mask found"):
        score(truth, tmp_path / "empty")
    for size in (0, -1):
        with pytest.raises(ValueError, match=r"pixel_mm must be a number from 0\.01 to 20"):
            score(truth, tmp_path / "empty", pixel_mm=size)


def test_copies_of_the_ground_truth_and_empty_masks_are_doubted(truth, tmp_path):
    write_masks(tmp_path / "copy", TRUTHS)
    write_masks(tmp_path / "nothing", [np.zeros((64, 64), bool)] * 4)
    scoring = score(truth, tmp_path / "copy", tmp_path / "nothing")
    assert "copy: all masks that were scored equal the ground truth" in sentences(scoring)
    assert "nothing: all masks that were scored are empty" in sentences(scoring)
    assert scoring.table.groupby("model")["dice"].mean().to_dict() == {"copy": 1, "nothing": 0}
    assert "ground truth" not in sentences(scoring).splitlines()[-1]
    assert "ground truth: all its masks are empty" in sentences(score(tmp_path / "nothing", tmp_path / "copy"))


def test_a_folder_within_the_ground_truth_is_not_ground_truth(tmp_path):
    truth = write_masks(tmp_path / "truth", TRUTHS)
    inner = write_masks(truth / "predictions", map(shifted, TRUTHS))
    scoring = score(truth, inner)
    assert scoring.coverage["images"].tolist() == [4] and (scoring.table["dice"] < 1).all()


def test_folders_of_one_name_are_called_by_their_parents_too(truth, tmp_path):
    folders = [write_masks(tmp_path / parent / "masks", TRUTHS) for parent in ("unetplus", "other")]
    assert score(truth, *folders).coverage["model"].tolist() == ["unetplus/masks", "other/masks"]


def label_map(mask):
    """A label map of several organs: lung is 10 on the left and 13 on the right, and 5 is another organ."""
    array = np.where(np.arange(64) < 32, 10, 13) * mask
    array[:4, :20] = 5
    return array.astype(np.uint8)


def test_labels_are_for_all_folders_or_for_one(truth, tool, tmp_path):
    maps = tmp_path / "organs"
    maps.mkdir()
    for index, mask in enumerate(TRUTHS):
        Image.fromarray(label_map(mask)).save(maps / f"case_{index}.png")
    assert (score(truth, maps, labels=[10, 13]).table["dice"] == 1).all()
    table = score(truth, tool, maps, labels={"organs": [10, 13]}).table.set_index("model")
    assert (table.loc["organs", "dice"] == 1).all() and table.loc["tool", "dice"].between(0.5, 0.99).all()
    assert (score(maps, truth, truth_labels=[10, 13]).table["dice"] == 1).all()
    assert "Are the labels right?" in sentences(score(truth, maps, labels=[77]))
    with pytest.raises(ValueError, match="labels are given for organ, but the folders are tool, organs"):
        score(truth, tool, maps, labels={"organ": [10]})


def test_patients_and_groups_come_from_a_table_or_from_names(truth, tool, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("id,patient,group\ncase_0,a,ill\ncase_1.png,a,ill\ncase_2,b,well\n")
    scoring = score(truth, tool, patients=table)
    assert scoring.table[["patient", "group"]].to_numpy().tolist() == [["a", "ill"], ["a", "ill"], ["b", "well"]]
    assert "case_3.png: not in the patient file, so it is left out." in sentences(scoring)
    assert {*score(truth, tool, patient_pattern="(case)").table["patient"]} == {"case"}
    scoring = score(truth, tool, patient_pattern="case_([01])")
    some = scoring.table
    assert "does not match 2 images, such as case_2: each counts as a patient of its own." in sentences(scoring)
    assert some["patient"].tolist() == ["0", "1", "case_2", "case_3"]
    with pytest.raises(ValueError, match="matches no name of an image, such as case_0"):
        score(truth, tool, patient_pattern="(film)")


def test_distances_are_in_mm_if_a_pixel_is_known(truth, tool):
    table = score(truth, tool, pixel_mm=0.5).table
    assert (table["unit"] == "mm").all()
    assert table["assd"][0] == pytest.approx(surface_scores(TRUTHS[0], shifted(TRUTHS[0]), 0.5)["assd"])


def test_a_table_gives_each_image_its_pixel_size(truth, tool, tmp_path):
    table = tmp_path / "patients.csv"
    table.write_text("id,patient,pixel_mm\ncase_0,a,0.5\ncase_1,b,0.25\ncase_2,c,\n")
    scored = score(truth, tool, patients=table, pixel_mm=1).table
    assert (scored["unit"] == "mm").all()
    sides = zip(TRUTHS[:3], (0.5, 0.25, 1), strict=True)
    expected = [surface_scores(mask, shifted(mask), side)["assd"] for mask, side in sides]
    assert scored["assd"].tolist() == pytest.approx(expected)


def test_no_tensorflow_is_loaded(truth, tool):
    code = (
        "import sys, lungnb\n"
        f"lungnb.score({str(truth)!r}, {str(tool)!r}, progress=False)\n"
        "from lungnb.__main__ import main\n"
        f"main(['score', {str(truth)!r}, {str(tool)!r}, '--out', {str(truth.parent / 'out')!r}])\n"
        "sys.exit(bool({'tensorflow', 'keras'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (truth.parent / "out" / "report.html").exists()


def test_many_files_without_masks_give_one_sentence(truth, tool, tmp_path):
    write_masks(tmp_path / "set" / "CXR_png", TRUTHS)
    write_masks(tmp_path / "set" / "masks", TRUTHS)
    scoring = score(tmp_path / "set", tool)
    assert len(scoring.table) == 4 and sentences(scoring).startswith("ground truth: 4 files left out, such as CXR_png")
    assert len(scoring.problems) == 1


def test_masks_that_are_inverted_full_or_pictures_are_doubted(truth, tool, tmp_path):
    write_masks(tmp_path / "inverted", [~mask for mask in TRUTHS])
    write_masks(tmp_path / "full", [np.ones((64, 64), bool)] * 4)
    write_masks(tmp_path / "pictures", [make_phantom(index, size=64).image for index in range(4)])
    scoring = score(truth, tool, *(tmp_path / name for name in ("inverted", "full", "pictures")))
    assert "inverted: the masks seem to be inverted, or those of the ground truth are" in sentences(scoring)
    assert "full: all masks that were scored cover the whole image" in sentences(scoring)
    assert re.search(r"pictures: case_0: \d+% of its mask is grey, as in a picture", sentences(scoring))
    assert len(scoring.problems) == 3


TURNS = {
    "mirrored left to right": np.fliplr, "mirrored top to bottom": np.flipud, "turned to the left": np.rot90,
    "turned by 180 degrees": lambda mask: np.rot90(mask, 2), "turned to the right": lambda mask: np.rot90(mask, 3),
    "saved with rows and columns swapped": np.transpose,
    "turned by 180 degrees with rows and columns swapped": lambda mask: np.rot90(mask, 2).T,
}  # fmt: skip


@pytest.mark.parametrize("way", TURNS)
def test_turned_masks_are_doubted_and_scored_as_they_are(truth, tool, tmp_path, way):
    turned = write_masks(tmp_path / "turned", [np.ascontiguousarray(TURNS[way](mask)) for mask in TRUTHS])
    scoring = score(truth, tool, turned)
    assert f"turned: the masks seem to be {way}, or those of the ground truth are" in sentences(scoring)
    assert len(scoring.problems) == 1
    assert scoring.table.groupby("model")["dice"].mean()["turned"] < 0.8


def strip(first, last):
    """A mask of 40 columns, of which these are lung."""
    return (np.arange(40) >= first) & (np.arange(40) <= last) & np.ones((20, 1), bool)


@pytest.mark.parametrize(
    ("lung", "predicted", "is_doubted"),
    [
        ((0, 35), (4, 39), True),  # Dice 32/36, and 36/36 if it is mirrored
        ((0, 35), (3, 38), False),  # 33/36 and 35/36
        ((0, 9), (27, 36), False),  # 0 and 7/10
    ],
)
def test_masks_are_turned_if_the_dice_rises_by_a_tenth_and_is_high_then(tmp_path, lung, predicted, is_doubted):
    truth, tool = (write_masks(tmp_path / name, [strip(*columns)]) for name, columns in (("a", lung), ("b", predicted)))
    said = sentences(score(truth, tool))
    assert said.startswith("b: the masks seem to be mirrored left to right") if is_doubted else said == ""


def test_two_empty_masks_do_not_hide_that_the_others_are_turned(tmp_path):
    empty = [np.zeros_like(TRUTHS[0])] * 4
    truth = write_masks(tmp_path / "truth", [*TRUTHS, *empty])
    turned = write_masks(tmp_path / "turned", [*map(np.flipud, TRUTHS), *empty])
    assert "turned: the masks seem to be mirrored top to bottom" in sentences(score(truth, turned))


def test_masks_with_swapped_sides_may_be_turned(truth, tmp_path):
    write_masks(tmp_path / "wide", [mask[:40] for mask in TRUTHS])
    write_masks(tmp_path / "tall", [mask[:40].T for mask in TRUTHS])
    for name, is_turned in (("tall", True), ("truth", False)):
        with pytest.raises(ValueError, match="Save both at one size") as caught:
            score(tmp_path / "wide", tmp_path / name)
        assert ("It may be turned by a quarter." in str(caught.value)) == is_turned


def test_small_labels_as_jpeg_are_doubted(truth, tmp_path):
    (tmp_path / "small").mkdir()
    for number, mask in enumerate(TRUTHS):
        Image.fromarray(mask.astype(np.uint8) * 2).save(tmp_path / "small" / f"case_{number}.jpg")
    assert "case_0: its mask is a JPEG file with labels up to" in sentences(score(truth, tmp_path / "small"))


def test_soft_masks_are_not_taken_for_pictures(truth, tmp_path):
    soft = [np.rint(255 * ndimage.gaussian_filter(mask.astype(float), 1)).astype(np.uint8) for mask in TRUTHS]
    scoring = score(truth, write_masks(tmp_path / "soft", soft))
    assert scoring.problems.empty and (scoring.table["dice"] > 0.95).all()


def test_files_that_are_not_read_are_named(truth, tmp_path):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "case_0.npy", TRUTHS[0])
    with pytest.raises(
        ValueError, match=r"arrays: no mask found in this folder\..* 1 file with the ending \.npy cannot be read"
    ):
        score(truth, tmp_path / "arrays")
    with pytest.raises(ValueError, match=r"no mask found\. .*\.npy cannot be read"):
        score(tmp_path / "arrays", truth)


def test_a_mask_with_a_third_of_grey_is_doubted(truth, tmp_path):
    picture = np.zeros((64, 64), np.uint8)
    picture[:, 40:] = 255
    picture[:, 10:31] = np.random.default_rng(0).integers(60, 200, (64, 21))
    scoring = score(truth, write_masks(tmp_path / "tool", [picture, *TRUTHS[1:]]))
    assert re.search(r"tool: case_0: 3\d% of its mask is grey, as in a picture", sentences(scoring))


def test_masks_that_hit_no_lung_well_lack_neither(tmp_path):
    """The Dice of the left lung is 2/5, and that of the right one 0."""
    lungs, predicted = np.zeros((2, 20, 40), bool)
    lungs[5:15, 2:12] = lungs[5:15, 28:38] = predicted[5:15, 35:40] = predicted[1:4, 16:20] = True
    truth, tool = write_masks(tmp_path / "truth", [lungs]), write_masks(tmp_path / "tool", [predicted])
    scoring = score(truth, tool)
    assert scoring.table[["right_dice", "left_dice"]].to_numpy().tolist() == [[0, 0.4]]
    assert "lack the" not in sentences(scoring)


def test_angles_are_left_out_beside_volumes(tmp_path):
    pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    scan = np.zeros((5, 40, 40), np.float32)
    scan[1:4, 10:30, 5:15] = scan[1:4, 10:30, 25:35] = 1
    for folder in ("truth", "tool"):
        write_png(tmp_path / folder / "film.png", TRUTHS[0])
        write_nifti(tmp_path / folder / "scan.nii.gz", scan)
    table = score(tmp_path / "truth", tmp_path / "tool").table
    assert len(table) == 2 and "costophrenic" not in table and not table.isna().any(axis=None)


@pytest.mark.parametrize(("count", "last"), [(20, "tool: sentence 19"), (22, "There are 2 more such sentences.")])
def test_twenty_sentences_are_printed(truth, tool, count, last):
    problems = pd.DataFrame([("tool", f"sentence {number}") for number in range(count)], columns=["folder", "problem"])
    assert score(truth, tool)._replace(problems=problems).problem_lines()[-1] == last
