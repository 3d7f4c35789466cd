import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from helpers.figures import drawn
from helpers.scans import save
from lungnb.__main__ import main
from lungnb.datasets.check import _large_patient, _left_out, _torn_patients, check_dataset, judge_mask
from lungnb.datasets.pairing import DERIVED, PREDICTED
from lungnb.datasets.prepared import open_prepared
from lungnb.figures import pictures
from lungnb.phantoms.make import make_phantom
from lungnb.presets import make_settings

PHANTOMS = [make_phantom(number, size=96) for number in range(1, 21)]
LUNGS = PHANTOMS[7].mask.astype(np.uint8) * 255
SIZE = LUNGS.shape
Y, X = np.mgrid[: SIZE[0], : SIZE[1]] / SIZE[0]


def inverted(mask):
    return 255 - mask


def air():
    """Return the mask of the air around a round body in the scanner's field, instead of the air in the body."""
    return np.where(np.hypot(X - 0.5, Y - 0.5) > 0.42, 255, 0).astype(np.uint8)


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def raw(tmp_path):
    """Twenty good pairs, of a patient each."""
    folder = tmp_path / "scans"
    for number, (image, mask) in enumerate(PHANTOMS):
        save(folder / "images" / f"good{number:02}.png", image)
        save(folder / "masks" / f"good{number:02}.png", mask.astype(np.uint8) * 255)
    return folder


def found(raw):
    table = check_dataset(make_settings(str(raw)), progress=False)
    few = table["file"] == "manifest.csv"  # of twenty patients, some splits have but three
    assert table["what"][few].str.contains("split: scores on so few say next to nothing").all()
    return {(row.file, row.severity): row.what for row in table[~few].itertuples()}


def test_a_good_set_has_no_findings(raw, capsys):
    assert found(raw) == {}
    assert main(["check", str(raw)]) == 0
    assert "0 errors, 2 warnings, 0 notes\nNext: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mask", "severity", "what"),
    [
        (noise(1), "error", "not a mask: "),
        (np.zeros(SIZE, np.uint8), "warning", "the mask is empty"),
        (np.full(SIZE, 255, np.uint8), "error", "the mask covers everything"),
        (inverted(LUNGS), "error", "the mask seems to be inverted"),
        (air(), "error", "the mask touches "),
        (np.where(X < X.max() / 2, LUNGS, 0), "warning", "the mask is in one half of the picture"),
        (np.where((np.floor(X * 12) % 2 == 0) & (np.floor(Y * 12) % 2 == 0), LUNGS, 0), "warning", "the mask has "),
    ],
    ids=["picture", "empty", "full", "inverted", "air", "one side", "pieces"],
)
def test_a_wrong_mask_is_found_and_no_other(raw, mask, severity, what):
    save(raw / "masks" / "good07.png", mask.astype(np.uint8))
    findings = found(raw)
    assert {file for file, _ in findings} == {"masks/good07.png"}
    assert findings["masks/good07.png", severity].startswith(what)


def test_swapped_constant_and_bright_images_are_found(raw):
    for folder in ("images", "masks"):
        (raw / folder / "good01.png").rename(raw.parent / f"{folder}.png")
    (raw.parent / "images.png").rename(raw / "masks" / "good01.png")
    (raw.parent / "masks.png").rename(raw / "images" / "good01.png")
    save(raw / "images" / "good02.png", np.full(SIZE, 90, np.uint8))
    save(raw / "images" / "good03.png", 255 - np.asarray(Image.open(raw / "images" / "good03.png")))
    findings = found(raw)
    assert findings["masks/good01.png", "error"] == "image and mask may be swapped"
    assert findings["images/good02.png", "error"] == "the image is of one grey"
    assert findings["masks/good03.png", "warning"] == "the mask is brighter than its surroundings"


def test_copies_lonely_and_broken_files_are_found(raw):
    for folder in ("images", "masks"):
        (raw / folder / "copy.png").write_bytes((raw / folder / "good04.png").read_bytes())
    save(raw / "images" / "lonely.png", PHANTOMS[0].image)
    (raw / "images" / "good05.png").write_bytes(b"not an image")
    findings = found(raw)
    assert findings["images/good04.png", "warning"] == "looks like a copy of images/copy.png"
    assert findings["images/lonely.png", "warning"] == "left out: no mask of this name"
    assert findings["images/good05.png", "error"].startswith("left out: cannot be read")


def test_unusual_files_are_noted(raw):
    good = Image.open(raw / "images" / "good06.png")
    good.convert("P").save(raw / "images" / "good06.png")
    Image.merge("LA", [Image.open(raw / "images" / "good08.png"), Image.new("L", good.size, 99)]).save(
        raw / "images" / "good08.png"
    )
    deep = np.asarray(Image.open(raw / "images" / "good09.png")).astype(np.uint16) * 200
    Image.fromarray(deep).save(raw / "images" / "good09.png")
    pages = [Image.open(raw / "images" / "good10.png").copy()] * 2
    (raw / "images" / "good10.png").unlink()
    pages[0].save(raw / "images" / "good10.tif", save_all=True, append_images=pages[1:])
    findings = found(raw)
    assert findings["images/good06.png", "note"] == "palette colours"
    assert findings["images/good08.png", "note"] == "transparency"
    assert findings["images/good09.png", "note"] == "16-bit"
    assert findings["images/good10.tif", "note"] == "several pages, of which the first is read"
    assert len(findings) == 4


def test_errors_reach_the_terminal_and_the_gallery(raw, capsys):
    save(raw / "masks" / "good07.png", inverted(LUNGS))
    assert main(["check", str(raw)]) == 1
    shown = capsys.readouterr().out
    assert (
        "error: masks/good07.png: the mask seems to be inverted" in shown
        and "\n1 error, 2 warnings, 0 notes\n" in shown
    )
    settings = make_settings(str(raw))
    findings = check_dataset(settings, progress=False)
    axes = drawn(pictures.suspects(open_prepared(settings), findings))
    assert len(axes) == 1
    assert axes[0].get_title().replace("\n", " ").startswith("good07: the mask seems to be inverted")
    assert pictures.suspects(open_prepared(settings), findings.head(0)) is None


@pytest.mark.parametrize(
    ("dataset", "wrong"),
    [
        ("finding-lungs-in-ct-data", ["ID_0052", "ID_0079", "ID_0134"]),  # air around the body twice, one lung of two
        ("montgomery", []),
        ("chest-xray-masks-and-labels", []),
    ],
)
def test_real_masks_that_are_wrong_are_found_and_no_others(real, dataset, wrong):
    real(dataset)
    findings = check_dataset(make_settings(dataset), progress=False)
    strange = findings[(findings["severity"] != "note") & ~findings["what"].str.startswith("left out")]
    assert sorted({file.split("/")[-1][:7] for file in strange["file"]}) == wrong


@pytest.mark.parametrize(("labels", "suffix"), [((1, 2), ".png"), ((10, 20), ".png"), ((127, 255), ".jpg")])
def test_labels_are_a_mask(raw, labels, suffix):
    for number, (_, mask) in enumerate(PHANTOMS):
        (raw / "masks" / f"good{number:02}.png").unlink()
        labelled = (mask * np.where(np.arange(SIZE[1]) < SIZE[1] // 2, *labels)).astype(np.uint8)
        Image.fromarray(labelled).resize((384, 384), 0).save(raw / "masks" / f"good{number:02}{suffix}", quality=90)
    assert found(raw) == {}


def test_a_label_of_another_organ_is_found(raw):
    image, mask = PHANTOMS[7]
    bright = np.hypot(X - 0.5, Y - 0.55) < 0.08
    labelled = np.where(mask, 255, np.where(bright & (image > image[mask].mean()), 85, 0))
    save(raw / "masks" / "good07.png", labelled.astype(np.uint8))
    assert found(raw) == {("masks/good07.png", "warning"): "label 85 is brighter than its surroundings"}


def test_a_colour_of_another_organ_is_found(raw):
    image, mask = PHANTOMS[7]
    bright = (np.hypot(X - 0.5, Y - 0.55) < 0.08) & (image > image[mask].mean()) & ~mask
    colours = np.dstack([mask, bright, 0 * mask]).astype(np.uint8) * np.uint8(255)
    Image.fromarray(colours).save(raw / "masks" / "good07.png")
    assert found(raw) == {("masks/good07.png", "warning"): "colour (0, 255, 0) is brighter than its surroundings"}


def test_a_hole_in_a_lung_is_found(raw):
    mask = PHANTOMS[7].mask
    holed = mask.copy()
    middle = np.argwhere(ndimage.binary_erosion(mask, iterations=7))[0]
    holed[tuple(slice(place - 4, place + 4) for place in middle)] = False
    save(raw / "masks" / "good07.png", holed.astype(np.uint8) * 255)
    findings = found(raw)
    assert [*findings] == [("masks/good07.png", "warning")]
    assert findings["masks/good07.png", "warning"].startswith("the mask has a hole of ")


def test_boxes_are_no_lungs():
    boxes = np.zeros((100, 100), bool)
    boxes[20:80, 10:40] = boxes[20:80, 60:90] = True
    image, ovals = np.where(boxes, 50, 200).astype(np.uint8), ndimage.binary_opening(boxes, iterations=12)
    assert [what for _, what, _ in judge_mask(image, boxes)] == [
        "the mask consists of rectangles, as boxes around lungs do"
    ]
    assert not [what for _, what, _ in judge_mask(image, ovals) if "rectangles" in what]


def judged(parts, hole=None, grey=0):
    """Judge a mask of rectangles `(top, bottom, left, right)` in a bright image; a hole in it may have another grey."""
    image, mask = np.full((100, 100), 200, np.uint8), np.zeros((100, 100), bool)
    for top, bottom, left, right in parts:
        mask[top:bottom, left:right] = True
    image[mask] = 50
    if hole:
        area = (slice(*hole[:2]), slice(*hole[2:]))
        mask[area], image[area] = False, grey
    return [what for _, what, _ in judge_mask(image, mask) if "rectangles" not in what]


BOTH = [(20, 80, 10, 40), (20, 80, 60, 90)]


@pytest.mark.parametrize(
    ("parts", "hole", "grey", "says"),
    [
        (BOTH, None, 0, None), (BOTH[:1], None, 0, "the mask is in one half"), (BOTH[1:], None, 0, "the mask is in"),
        ([(48, 52, 45, 55)], None, 0, "the mask covers 0.4% of"), ([(4, 96, 4, 96)], None, 0, "the mask covers 84.6%"),
        (BOTH, (30, 37, 20, 27), 60, "the mask has a hole of 1.4%"), (BOTH, (30, 37, 20, 27), 200, None),
        (BOTH, (30, 34, 20, 24), 60, None), (BOTH, (30, 50, 15, 35), 200, "the mask has a hole of 12.5%"),
    ],
)  # fmt: skip
def test_each_limit_of_a_mask_holds(parts, hole, grey, says):
    found = judged(parts, hole, grey)
    assert found == [] if says is None else len(found) == 1 and found[0].startswith(says)


def test_a_small_film_in_a_black_frame_may_be_swapped_with_its_mask(raw):
    film = np.zeros(SIZE, np.uint8)
    film[30:66, 30:66] = Image.fromarray(PHANTOMS[7].image).resize((36, 36))
    save(raw / "images" / "good07.png", LUNGS)
    save(raw / "masks" / "good07.png", film)
    assert found(raw)["masks/good07.png", "error"] == "image and mask may be swapped"


def test_files_that_were_left_out_are_as_bad_as_their_reason():
    reasons = [
        "no mask of this name",
        "not in the patient file",
        "another organ's",
        PREDICTED,
        f"{DERIVED} b.png",
        "a.png: cannot be read as an image",
    ]
    findings = _left_out(pd.DataFrame({"file": "a.png", "reason": reasons}))
    assert [severity for _, severity, *_ in findings] == ["warning", "warning", "note", "note", "warning", "error"]
    assert findings[5][2] == "left out: cannot be read as an image"


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_that_may_be_turned_apart_are_found(raw, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.open(raw / "images" / "good07.png").copy()
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    image.transpose(back).save(raw / "images" / "good07.png", exif=exif)
    findings = found(raw)
    assert findings["images/good07.png", "warning"].startswith("EXIF data turn the image and its mask differently")
    assert findings["images/good07.png", "note"] == "turned by its EXIF data"


def test_folders_that_may_not_be_patients_are_reported(tmp_path):
    for part, kind in enumerate(("normal", "covid")):
        for number, (image, mask) in enumerate(PHANTOMS[10 * part : 10 * part + 10]):
            save(tmp_path / "a" / kind / "images" / f"{number}.png", image)
            save(tmp_path / "a" / kind / "masks" / f"{number}.png", mask.astype(np.uint8) * 255)
    settings = make_settings(str(tmp_path / "a"), split_fractions=(0.7, 0.3, 0))
    told = check_dataset(settings, progress=False)
    told = told[told["file"] != "manifest.csv"]
    assert told[["severity", "what"]].to_numpy().tolist() == [
        ["warning", "each of the 2 folders of images is taken for a patient"]
    ]


def test_folders_that_may_be_patients_are_reported(tmp_path):
    for number, (image, mask) in enumerate(PHANTOMS):
        save(tmp_path / "a" / f"P{number // 5}" / "images" / f"{number}.png", image)
        save(tmp_path / "a" / f"P{number // 5}" / "masks" / f"{number}.png", mask.astype(np.uint8) * 255)
    told = check_dataset(make_settings(str(tmp_path / "a")), progress=False)
    (told,) = told[told["file"] != "manifest.csv"].itertuples()
    assert (told.severity, told.what) == ("warning", "images lie in 4 folders, and each image is taken for a patient")
    rows = "".join(f"{number},{number},{'usual' if number else 'rare'}\n" for number in range(20))
    (tmp_path / "list.csv").write_text(f"id,patient,group\n{rows}")
    settings = make_settings(str(tmp_path / "a"), patient_file=str(tmp_path / "list.csv"))
    told = check_dataset(settings, progress=False)["what"]  # the table says who the patients are
    assert (
        "group rare has 1 patient, too few for each of the 3 splits" in [*told]
        and not told.str.contains("folder").any()
    )


def test_two_drawings_of_one_mask_are_found_and_parts_are_not(raw):
    _, mask = PHANTOMS[2]
    save(raw / "masks" / "good02.bmp", np.roll(mask, 2, axis=0).astype(np.uint8) * 255)
    save(raw / "masks" / "good03.bmp", PHANTOMS[3][1].astype(np.uint8) * 255)  # a copy
    save(raw / "masks" / "good04_left.png", (PHANTOMS[4][1] & (X > 0.5)).astype(np.uint8) * 255)  # a part
    findings = [key for key, what in found(raw).items() if what.startswith("joined with a mask that shows nearly")]
    assert findings in ([("masks/good02.bmp", "warning")], [("masks/good02.png", "warning")])


def test_only_a_thin_mask_is_an_outline():
    radius = np.hypot(X - 0.5, Y - 0.5)
    ring, line = (radius > 0.3) & (radius < 0.45), (radius > 0.44) & (radius < 0.45)
    said, thin = ("; ".join(what for _, what, _ in judge_mask(noise(1), mask)) for mask in (ring, line))
    assert "has a hole of" in said and "outline" not in said and "is an outline" in thin


def patients(**columns):
    table = pd.DataFrame({"patient": ["a", "a", "a", "b", "c"], "split": ["train"] * 3 + ["test"] * 2})
    return table.assign(**columns)


def test_spellings_of_one_sex_are_one():
    assert _torn_patients(patients(sex=["F", "f", "female", "M", ""])) == []
    assert "has the sexes F and M" in _torn_patients(patients(sex=["F", "m", "", "M", ""]))[0][2]


def test_a_diagnosis_may_change():
    ((_, severity, what, advice),) = _torn_patients(patients(group=["ill", "ill", "well", "ill", "ill"]))
    assert severity == "note" and "each image counts in its own group" in what and advice == "check that this is meant"


def test_a_large_patient_fills_a_split_only_if_it_is_in_one():
    many = pd.concat([patients()] + [patients().head(3)] * 2)
    assert "9 of 11 images: one split is mostly theirs" in _large_patient(many)[0][2]
    torn = many.assign(split=["train", "test"] * 5 + ["validation"])
    assert _large_patient(torn)[0][2].endswith("9 of 11 images") and _large_patient(patients()) == []
