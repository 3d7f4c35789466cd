import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from helpers.figures import drawn
from helpers.scans import save
from lungnb.__main__ import main
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.engines import engines
from lungnb.evaluation.mismatch import (
    MASK_SIDE,
    MIN_DICE,
    MISMATCH_COLUMNS,
    MaskPair,
    find_mismatches,
    judge_pairs,
    shrink_mask,
)
from lungnb.figures import pictures
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings

PHANTOMS = [make_phantom(number, size=96) for number in range(1, 13)]


@pytest.fixture
def raw(tmp_path):
    """Twelve good pairs; `pair04.png` and the like are the files."""
    folder = tmp_path / "scans"
    for number, (image, mask) in enumerate(PHANTOMS):
        save(folder / "images" / f"pair{number:02}.png", image)
        write_mask(folder, number, mask)
    return folder


def write_mask(raw, number, mask):
    save(raw / "masks" / f"pair{number:02}.png", mask.astype(np.uint8) * 255)


def find(raw):
    settings = make_settings(str(raw))
    prepare_dataset(settings, progress=False)
    table = find_mismatches(settings, progress=False)
    assert (*table.columns,) == MISMATCH_COLUMNS and table["dice"].is_monotonic_increasing
    assert (table["severity"] == "warning").all()
    return table, open_prepared(settings)


def lungs(right, down=0, height=30):
    """Two blocks, the right one of another width, as the only slice of a case's masks."""
    mask = np.zeros((1, MASK_SIDE, MASK_SIDE), bool)
    mask[0, 14 + down : 14 + down + height, 10 + right : 24 + right] = True
    mask[0, 14 + down : 4 + down + height, 36 + right : 56 + right] = True
    return mask


def case(file, truth, prediction):
    return MaskPair(file, 1.0, truth, prediction)


def good_cases(count=5):
    return [
        case(f"good{number}", lungs(0, height=20 + number), lungs(0, height=20 + number)) for number in range(count)
    ]


def test_a_good_set_has_no_mismatch(raw):
    table, prepared = find(raw)
    assert table.empty
    assert pictures.mismatch_gallery(prepared, table) is None


def test_swapped_masks_name_each_other(raw, capsys):
    write_mask(raw, 4, PHANTOMS[7].mask)
    write_mask(raw, 7, PHANTOMS[4].mask)
    table, prepared = find(raw)
    said = dict(table[["file", "what"]].to_numpy())
    assert {*said} == {"masks/pair04.png", "masks/pair07.png"} and (table["dice"] < MIN_DICE).all()
    assert said["masks/pair04.png"].startswith("masks/pair07.png would fit the image better: Dice 0.9")
    assert said["masks/pair07.png"].startswith("masks/pair04.png would fit the image better: Dice 0.9")
    assert len(drawn(pictures.mismatch_gallery(prepared, table))) == 2
    assert len(drawn(pictures.mismatch_gallery(prepared, table, count=1))) == 1
    assert main(["check", str(raw)]) == 0
    printed = capsys.readouterr().out
    assert "warning: masks/pair04.png: masks/pair07.png would fit the image better" in printed
    assert "Next: look at the files with warnings" in printed


@pytest.mark.parametrize(
    ("move", "what"),
    [
        (np.fliplr, "the mask, mirrored, would fit the image better"),
        (np.flipud, "the mask, upside down, would fit the image better"),
        (lambda mask: np.rot90(mask, 2), "the mask, turned by 180 degrees, would fit the image better"),
        (lambda mask: np.roll(mask, 9, axis=0), "the mask, shifted by 9% of the height upwards, would fit"),
        (lambda mask: np.roll(mask, -6, axis=1), "the mask, shifted by 6% of the width to the right, would fit"),
    ],
)
def test_a_moved_mask_says_how(raw, move, what):
    write_mask(raw, 4, move(PHANTOMS[4].mask))
    table, _ = find(raw)
    assert [*table["file"]] == ["masks/pair04.png"]
    assert table["what"][0].startswith(what) and table["advice"][0].startswith("move the mask back")


def test_a_mirrored_mask_is_found_although_its_dice_is_high():
    """Lungs are nearly symmetrical, so the Dice alone misses some."""
    mask = np.zeros((1, MASK_SIDE, MASK_SIDE), bool)
    mask[0, 10:40, 10:25] = mask[0, 10:40, 37:54] = True
    table = judge_pairs([*good_cases(), case("mirrored", mask[..., ::-1], mask)])
    assert table["dice"][0] >= MIN_DICE and "the mask, mirrored, would fit" in table["what"][0]


def test_a_mask_that_nothing_explains_says_to_look():
    noise = np.random.default_rng(1).random((1, MASK_SIDE, MASK_SIDE)) > 0.7
    table = judge_pairs([*good_cases(), case("noise", noise, lungs(0))])
    (row,) = table.to_dict("records")
    assert row["what"] == f"the mask agrees little with that of the network: Dice {row['dice']:.2f}"
    assert row["advice"].startswith("look at both masks")


@pytest.mark.parametrize("flip", [np.s_[..., ::-1, :], None])
def test_a_set_that_the_network_does_not_know_gives_one_sentence(flip):
    """If most masks are moved in the same way, the sentence says how."""
    cases = [
        each._replace(truth=each.truth[flip] if flip else lungs(0, down=18, height=4 * number + 12) & (number > 9))
        for number, each in enumerate(good_cases(5))
    ]
    table = judge_pairs(cases)
    assert [*table["file"]] == ["manifest.csv"] and "median Dice" in table["what"][0]
    assert ("5 of 5 would fit better upside down" in table["what"][0]) == bool(flip)


def test_the_slices_of_a_volume_are_one_mask():
    """One wrong slice among many good ones gives no finding; masks are exchanged only between equal volumes."""
    prediction = np.concatenate([lungs(0, height=height) for height in range(20, 40)])
    one_wrong = prediction.copy()
    one_wrong[3] = False
    assert judge_pairs([*good_cases(), case("volume", one_wrong, prediction)]).empty
    other = np.concatenate([lungs(0, height=height) for height in range(60, 10, -5)[::-1]] * 2)
    table = judge_pairs([*good_cases(9), case("a", other, prediction), case("b", prediction, other)])
    assert [*table["file"]] == ["a", "b"]
    assert table["what"].str.startswith(("b would fit", "a would fit")).all()


def test_empty_masks_and_files_that_cannot_be_read_are_left_to_check(raw):
    write_mask(raw, 2, np.zeros_like(PHANTOMS[2].mask))
    _, prepared = find(raw)
    (prepared.folder / prepared.manifest["image"][3]).write_bytes(b"no picture")
    (prepared.folder / prepared.manifest["mask"][5]).unlink()
    table = find_mismatches(make_settings(str(raw)), progress=False)
    assert table.empty
    for mask in prepared.manifest["mask"]:
        (prepared.folder / mask).unlink(missing_ok=True)
    assert find_mismatches(make_settings(str(raw)), progress=False).empty


def test_a_missing_network_gives_a_sentence(raw, monkeypatch):
    _, prepared = find(raw)
    monkeypatch.setattr(engines, "SHIPPED", raw / "nothing.keras")
    table = find_mismatches(make_settings(str(raw)), progress=False)
    assert len(table) == 1 and "network that comes with lungnb is missing" in table["what"][0]
    assert pictures.mismatch_gallery(prepared, table) is None


def test_small_masks_keep_their_share():
    mask = np.zeros((70, 130), bool)
    mask[:35] = True
    assert shrink_mask(mask).mean() == 0.5 and shrink_mask(~mask).mean() == 0.5


@pytest.mark.skipif(not (find_spec("openvino") or find_spec("onnxruntime")), reason="needs a fast engine")
def test_check_loads_no_tensorflow(raw):
    code = "import sys; from lungnb.__main__ import main; main(sys.argv[1:]); sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, "check", str(raw)], check=True, capture_output=True, timeout=120)


def test_a_volume_file_is_one_row(tmp_path):
    """The mask of the second volume is mirrored, in a file whose image is not."""
    pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    for volume in range(4):
        slices = [make_phantom(10 * volume + number, kind="ct", size=96) for number in range(1, 4)]
        truth = np.stack([each.mask for each in slices])[..., :: -1 if volume == 1 else 1]
        write_nifti(tmp_path / "scans" / "images" / f"case{volume}.nii.gz", np.stack([each.image for each in slices]))
        write_nifti(tmp_path / "scans" / "masks" / f"case{volume}.nii.gz", truth.astype(np.float32), dtype=np.uint8)
    table, prepared = find(tmp_path / "scans")
    assert len(prepared.manifest) > 4
    assert [*table["file"]] == ["masks/case1.nii.gz"] and "the mask, mirrored, would fit" in table["what"][0]
    assert len(drawn(pictures.mismatch_gallery(prepared, table))) == 1


def test_slices_in_reverse_order_are_named():
    masks = np.stack([shrink_mask(make_phantom(number, kind="ct", size=96).mask) for number in (1, 2, 4, 5)])
    turned = [np.roll(masks, number, 0) for number in range(3)]
    pairs = [MaskPair(f"{number}.nii.gz", 1.0, each[::-1], each) for number, each in enumerate(turned)]
    assert "3 of 3 would fit better with slices reversed" in judge_pairs(pairs)["what"][0]


def test_masks_of_the_next_image_are_named():
    masks = [shrink_mask(each.mask)[None] for each in PHANTOMS]
    pairs = [MaskPair(f"{n}.png", 1.0, masks[n - 1], mask) for n, mask in enumerate(masks)]
    table = judge_pairs(pairs)
    assert "paired by their order" in table["what"][0] and len(table) == 1


def test_one_mask_for_all_images_is_named():
    masks = [shrink_mask(each.mask)[None] for each in PHANTOMS]
    table = judge_pairs([MaskPair(f"{n}.png", 1.0, masks[0], np.roll(masks[0], 20, 1)) for n in range(12)])
    assert "the 12 images have only 1 different mask" in table["what"][0]
    assert table["advice"][0].startswith("if they are not copies of one image")
