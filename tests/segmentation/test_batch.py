import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.networks import BLOCKS, bright
from lungnb.files import DiskFull, writable
from lungnb.formats.images import read_image, write_png
from lungnb.segmentation import batch as segmentation
from lungnb.segmentation import predict as inference
from lungnb.segmentation.batch import COLUMNS, segment_files
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import segment
from lungnb.segmentation.sides import doubtful, split_sides


@pytest.fixture(scope="module")
def model():
    return bright()


@pytest.fixture
def file_of_model(model, tmp_path):
    model.save(tmp_path / "bright.keras")
    return tmp_path / "bright.keras"


def test_files_and_folders_are_segmented_with_a_row_each(tmp_path, model):
    scans = tmp_path / "scans"
    for name in ("a.png", "ward/a.png", "ward/b.png"):
        write_png(scans / name, BLOCKS if name != "ward/b.png" else np.zeros((30, 40), np.uint8))
    Image.fromarray(BLOCKS).save(scans / "c.jpg")
    (scans / "broken.png").write_bytes(b"nothing")
    (scans / "notes.txt").write_text("not an image")
    out = tmp_path / "out"
    table = segment_files([scans, tmp_path / "gone.png"], out, model, overlays=True, cutouts=True, progress=False)

    rare = ("slices", "right_mm2", "left_mm2", "right_ml", "left_ml")
    assert list(table) == [column for column in COLUMNS if column not in rare]
    rows = table.set_index("file")
    names = ["a.png", "broken.png", "c.jpg", "ward/a.png", "ward/b.png"]
    assert sorted(rows.index) == sorted([*(str(scans / name) for name in names), str(tmp_path / "gone.png")])
    status = {name: rows.loc[str(scans / name), "status"] for name in names}
    assert status == {
        "a.png": "ok",
        "broken.png": "failed",
        "c.jpg": "ok",
        "ward/a.png": "ok",
        "ward/b.png": "no lung found",
    }
    assert "cannot be read as an image" in rows.loc[str(scans / "broken.png"), "error"]
    assert "there is no such file" in rows.loc[str(tmp_path / "gone.png"), "error"]
    masks = table["mask"].dropna()
    assert masks.is_unique
    assert len(masks) == 4
    for file, name in rows["mask"].dropna().items():
        mask = np.asarray(Image.open(out / name))
        assert set(np.unique(mask)) <= {0, 255}
        assert mask.shape == np.asarray(Image.open(file)).shape == tuple(rows.loc[file, ["height", "width"]])
        assert (mask > 0).mean() == pytest.approx(rows.loc[file, "lung"], abs=1e-4)
        stem = name.removesuffix("_mask.png")
        assert Image.open(out / f"{stem}_overlay.png").mode == "RGB"
        assert Image.open(out / f"{stem}_cutout.png").mode == "RGBA"
    assert len([file for file in out.iterdir() if not file.name.startswith(".")]) == 4 * 3 + 1
    whole = table.dropna(subset="mask")
    lung = (whole["right_px"] + whole["left_px"]) / (whole["height"] * whole["width"])
    np.testing.assert_allclose(lung, whole["lung"], atol=1e-4)
    stored = pd.read_csv(out / "segmentation.csv")
    assert stored["file"].tolist() == table["file"].tolist()
    assert stored["status"].tolist() == table["status"].tolist()


def test_names_that_meet_do_not_overwrite_each_other(tmp_path, model):
    files = [tmp_path / name for name in ("1/a.png", "x/1/a.png", "y/1/a.png", "1_a.png", "1/a.jpg")]
    for number, file in enumerate(files):
        picture = np.zeros((40, 40), np.uint8)
        picture[8:20, 8 : 12 + 5 * number] = 255
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file)
    table = segment_files(files, tmp_path / "out", model, progress=False)
    assert table["mask"].str.lower().is_unique
    for file, name in zip(table["file"], table["mask"], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)) > 0, segment(file, model).mask)


def test_nothing_to_segment_is_said(tmp_path, model):
    for paths in (tmp_path, str(tmp_path), [tmp_path]):
        with pytest.raises(ValueError) as raised:
            segment_files(paths, tmp_path / "out", model)
        assert str(raised.value).endswith(f" in {tmp_path}.")
    with pytest.raises(ValueError, match="in nothing"):
        segment_files([], tmp_path / "out", model)


def test_one_file_can_be_named_alone(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    for paths in (tmp_path / "a.png", str(tmp_path / "a.png"), iter([tmp_path / "a.png"])):
        assert len(segment_files(paths, tmp_path / "out", model, progress=False)) == 1


def test_right_and_left_are_the_patients():
    mask = np.zeros((20, 40), bool)
    mask[4:16, 5:15] = mask[4:12, 17:33] = True  # the larger one begins left of the middle
    right, left = split_sides(mask)
    assert right.sum() == 120 and left.sum() == 128 and right[:, :15].sum() == 120
    joined = mask | (np.arange(20) == 10)[:, None]
    right, left = split_sides(joined)
    np.testing.assert_array_equal(right | left, joined)
    assert not right[:, 17:].any() and not left[:, :15].any()  # cut where they touch, not in the middle of the picture
    assert not any(side.any() for side in split_sides(np.zeros((5, 5), bool)))
    volume = np.stack([mask, mask, joined])
    right, left = split_sides(volume)
    assert not right[..., 17:].any() and not left[..., :15].any() and (right | left == volume).all()


LUNGS = np.zeros((40, 60), bool)  # two of them, beside one another
LUNGS[6:34, 8:26] = LUNGS[6:34, 32:50] = True
TOUCHING = LUNGS.copy()
TOUCHING[18:20, 26:32] = True
PIECES = np.zeros((40, 60), bool)  # of the left one, and nothing of the right
PIECES[4:18, 36:54] = PIECES[20:38, 34:55] = True


@pytest.mark.parametrize("speck", [(36, 20), (2, 2), (2, 55)])
def test_lungs_that_touch_are_two_whatever_speck_lies_beside_them(speck):
    mask = TOUCHING.copy()
    mask[speck] = True
    for found in (split_sides(mask), (side[0] for side in split_sides(mask[None]))):
        right, left = found
        assert (
            abs(int(right.sum()) - int(left.sum())) < 20 and not (right & left).any() and (right | left == mask).all()
        )


def test_pieces_of_one_lung_are_not_two():
    right, left = split_sides(PIECES)
    assert not right.any() and (left == PIECES).all()
    left, right = split_sides(PIECES[:, ::-1])[::-1]
    assert not left.any() and (right == PIECES[:, ::-1]).all()
    assert doubtful(PIECES, right.sum(), 0) == "one lung only"


def test_one_lung_is_not_cut():
    for mask in (LUNGS & (np.arange(60) < 30), np.roll(LUNGS & (np.arange(60) < 30), 13, axis=1)):
        assert sorted(side.sum() for side in split_sides(mask)) == [0, mask.sum()]


@pytest.mark.parametrize(
    ("right", "left", "millilitres", "says"),
    [
        (100, 90, None, ""), (0, 0, None, "no lung"), (100, 0, None, "one lung only"),
        (100, 20, None, "one lung far larger"), (10, 9, None, "2% of the picture"), (500, 400, None, "90% of"),
        (100, 90, 4000, ""), (100, 90, 300, "300 mL"),
    ],
)  # fmt: skip
def test_masks_that_lungs_do_not_look_like_are_flagged(right, left, millilitres, says):
    mask = (np.arange(1000) < right + left).reshape(20, 50)
    found = doubtful(mask, right, left, millilitres)
    assert says in found and bool(says) == bool(found)


def test_what_was_done_is_not_done_again(tmp_path, file_of_model, monkeypatch):
    for name in "abc":
        write_png(tmp_path / "films" / f"{name}.png", BLOCKS)
    (tmp_path / "films" / "d.png").write_bytes(b"damaged")
    films, out, asked = tmp_path / "films", tmp_path / "out", []
    predict = inference.predict

    def counted(network, grey):
        asked.append(grey)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return predict(network, grey)

    monkeypatch.setattr(inference, "predict", counted)
    with pytest.raises(KeyboardInterrupt):
        segment_files(films, out, file_of_model, progress=False)
    with (out / ".segmentation.jsonl").open("a") as journal:
        journal.write('{"file": "cut o')
    assert not (out / "segmentation.csv").exists()

    def again(**options):
        asked.clear()
        asked.extend([None, None])  # nothing is interrupted any more
        table = segment_files(films, out, file_of_model, progress=False, **options)
        assert table["status"].tolist() == ["ok", "ok", "ok", "failed"]
        stored = pd.read_csv(out / "segmentation.csv").fillna({"review": ""})
        pd.testing.assert_frame_equal(stored, table, check_dtype=False)
        return len(asked) - 2

    begun = len((out / ".segmentation.jsonl").read_text().splitlines()) - 1  # less what was cut off
    assert again() == 3 - begun and again() == 0
    write_png(films / "b.png", BLOCKS[::-1])  # changed
    (out / "c_mask.png").unlink()
    assert again() == 2
    assert again(overlays=True) == 3 and len([*out.glob("*_overlay.png")]) == 3  # asked for anew
    (out / "a_overlay.png").unlink()
    assert again(overlays=True) == 1 and (out / "a_overlay.png").exists()
    monkeypatch.chdir(tmp_path)
    films = Path("films")
    assert again(overlays=True) == 0 and len([*out.glob("*_mask.png")]) == 3  # however the folder is called
    write_png(films / "b.png", BLOCKS)
    assert again(overlays=True) == 1
    monkeypatch.chdir(films)
    films = Path("../films")
    assert again(overlays=True) == 0  # and wherever one stands


def test_new_files_of_old_names_take_no_mask_away(tmp_path, file_of_model):
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    films, out = tmp_path / "films", tmp_path / "out"
    segment_files(films, out, file_of_model, progress=False)
    write_png(tmp_path / "films" / "A" / "a.png", BLOCKS.T)  # comes before the other
    table = segment_files(films, out, file_of_model, progress=False)
    for file, name in zip(table["file"], table["mask"], strict=True):
        assert np.asarray(Image.open(out / name)).shape == np.asarray(Image.open(file)).shape


def test_probabilities_are_written_on_request(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    segment_files(tmp_path / "a.png", tmp_path / "out", model, probabilities=True, progress=False)
    shades = np.asarray(Image.open(tmp_path / "out" / "a_probability.png"))
    np.testing.assert_allclose(shades / 255, segment(BLOCKS, model).probability, atol=0.003)


def test_patterns_name_files(tmp_path, model):
    for name in ("a.png", "b/c.png", "b/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(BLOCKS).save(path)
    table = segment_files(str(tmp_path / "**" / "*.png"), tmp_path / "out", model, progress=False)
    assert table["file"].tolist() == [str(tmp_path / "a.png"), str(tmp_path / "b" / "c.png")]
    both = segment_files([tmp_path, tmp_path / "a.png"], tmp_path / "out", model, progress=False)
    assert len(both) == 3  # without the two masks, and the file named twice once


def test_an_empty_folder_among_those_that_a_pattern_names_is_passed_by(tmp_path, model):
    (tmp_path / "scans" / "empty").mkdir(parents=True)
    write_png(tmp_path / "scans" / "a.png", BLOCKS)
    assert len(segment_files(str(tmp_path / "scans" / "*"), tmp_path / "out", model, progress=False)) == 1


def test_masks_beside_the_images_are_no_images_later(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    for _ in range(2):
        table = segment_files(tmp_path, tmp_path, model, overlays=True, progress=False)
        assert table["file"].tolist() == [str(tmp_path / "a.png")]


def test_a_picture_of_one_grey_has_no_lung(tmp_path, model):
    write_png(tmp_path / "a.png", np.full((50, 40), 255, np.uint8))  # lung to this model
    (row,) = segment_files(tmp_path, tmp_path / "out", model, progress=False).itertuples()
    assert (row.status, row.review) == ("no lung found", "no lung")


def test_masks_that_are_not_lungnb_s_are_never_overwritten(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    write_png(tmp_path / "a_mask.png", BLOCKS > 100)
    truth = (tmp_path / "a_mask.png").read_bytes()
    with pytest.raises(
        ValueError, match=r"a_mask\.png is there already, and not of an earlier run: name another folder"
    ):
        segment_files(tmp_path / "a.png", tmp_path, model, progress=False)
    assert (tmp_path / "a_mask.png").read_bytes() == truth


def test_names_of_any_length_and_encoding(tmp_path, model):
    names = [*(letter * 120 + "\N{LATIN SMALL LETTER E WITH ACUTE}" * 60 for letter in "xy"), os.fsdecode(b"caf\xe9")]
    try:
        for name in names:
            write_png(tmp_path / "a.png", BLOCKS)
            os.rename(tmp_path / "a.png", tmp_path / f"{name}.png")
    except OSError:
        pytest.skip("this file system does not take such names")
    table = segment_files(tmp_path, tmp_path / "out", model, progress=False)
    assert set(table["status"]) == {"ok"} and all((tmp_path / "out" / mask).exists() for mask in table["mask"])
    assert len(pd.read_csv(tmp_path / "out" / "segmentation.csv")) == 3


STEPS = {"read": "read_picture", "segmented": "segment_grey", "written": "write_png"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "needs more memory than there is"),
        (PermissionError(13, "Permission denied"), "cannot be {step}: permission denied."),
        (RecursionError(), "is nested too deeply"),
        (OverflowError("cannot convert float infinity to integer"), "cannot be {step}"),
        (TypeError("DOE^JANE"), "(TypeError)"),
    ],
)
def test_whatever_one_file_fails_of_the_others_do_not(tmp_path, model, monkeypatch, step, error, words):
    for number, name in enumerate(("a", "b")):
        write_png(tmp_path / f"{name}.png", BLOCKS[number:])
    work = getattr(segmentation, STEPS[step])

    def fail(first, *others, **options):
        if (isinstance(first, np.ndarray) and first.shape == BLOCKS.shape) or "a" in Path(str(first)).stem[0]:
            raise error
        return work(first, *others, **options)

    monkeypatch.setattr(segmentation, STEPS[step], fail)
    table = segment_files(tmp_path, tmp_path / "out", model, progress=False)
    assert table["status"].tolist() == ["failed", "ok"]
    assert table["error"][0].startswith(f"{tmp_path / 'a.png'}: ") and words.format(step=step) in table["error"][0]
    assert "DOE" not in table["error"][0]
    stored = pd.read_csv(tmp_path / "out" / "segmentation.csv", dtype=str)
    assert stored["height"].tolist()[1] == str(BLOCKS.shape[0] - 1)  # a whole number, also beside files that failed


def test_a_full_disk_ends_the_work_and_names_the_file(tmp_path, model, monkeypatch):
    write_png(tmp_path / "a.png", BLOCKS)

    def fail(path, _):
        with writable(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(segmentation, "write_png", fail)
    with pytest.raises(DiskFull, match=r"a_mask\.png: cannot be written: the disk is full"):
        segment_files(tmp_path, tmp_path / "out", model, progress=False)


def test_other_pixels_of_the_same_size_and_time_are_segmented_anew(tmp_path, file_of_model):
    film, out = tmp_path / "a.bmp", tmp_path / "out"
    Image.fromarray(BLOCKS).save(film)
    segment_files(film, out, file_of_model, progress=False)
    before, times = film.stat(), (out / "a_mask.png").stat().st_mtime_ns
    segment_files(film, out, file_of_model, progress=False)
    assert (out / "a_mask.png").stat().st_mtime_ns == times  # nothing is done twice
    Image.fromarray(BLOCKS[::-1]).save(film)
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (film.stat().st_size, film.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    segment_files(film, out, file_of_model, progress=False)
    mask = segment(BLOCKS[::-1], file_of_model).mask
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a_mask.png")) > 0, mask)


FORGED = [
    {"stem": "../../elsewhere"},
    {"stem": "/tmp/elsewhere"},
    {"stem": ".."},
    {"stem": "a\0"},
    {"stem": 3},
    {"mask": "../a_mask.png"},
    {"status": "done"},
    {"plan": None},
    {"height": "tall"},
    {"review": 7},
    {"right_px": [1]},
    {"height": 64.5},
    {"width": 10**30},
    {"left_px": True},
    {"milliseconds": float("inf")},
    {"lung": float("nan")},
]


@pytest.mark.parametrize("changes", [*FORGED, "[]", "null", '"key"', "{", "[" * 100_000, '{"key": 1}', "\xff\0"])
def test_a_forged_journal_is_not_believed(tmp_path, file_of_model, changes):
    film, out = tmp_path / "films" / "a.png", tmp_path / "deep" / "er" / "out"
    write_png(film, BLOCKS)
    segment_files(film, out, file_of_model, progress=False)
    journal = out / ".segmentation.jsonl"
    row = changes if isinstance(changes, str) else json.dumps(json.loads(journal.read_text()) | changes)
    journal.write_text(row + "\n", encoding="latin-1")
    (out / "a_mask.png").unlink()
    before = {*tmp_path.rglob("*")}
    table = segment_files(film, out, file_of_model, progress=False)
    assert table["mask"].tolist() == ["a_mask.png"] and (out / "a_mask.png").exists()
    assert {*tmp_path.rglob("*")} - before == {out / "a_mask.png"}


def test_masks_of_an_earlier_run_among_the_films_are_no_films(tmp_path, model):
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    write_png(tmp_path / "films" / "drawn_mask.png", BLOCKS)  # a film that is merely called so
    segment_files(tmp_path / "films" / "a.png", tmp_path / "films" / "masks", model, overlays=True, progress=False)
    table = segment_files(tmp_path / "films", tmp_path / "out", model, progress=False)
    assert [Path(file).name for file in table["file"]] == ["a.png", "drawn_mask.png"]


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path_is_not_the_working_folder(tmp_path, model, path):
    with pytest.raises(ValueError, match="the path of an image is empty"):
        segment_files([path], tmp_path / "out", model, progress=False)
    with pytest.raises(ValueError, match="the path of an image is empty"):
        segment(path, model)


def test_what_a_killed_run_was_writing_is_removed(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".a_mask.4242.part.png").touch()
    segment_files(tmp_path / "a.png", tmp_path / "out", model, progress=False)
    assert not [*(tmp_path / "out").glob(".*.part.*")]


def test_pages_that_are_not_read_are_told(tmp_path, model):
    first, second = Image.fromarray(BLOCKS), Image.fromarray(BLOCKS[::-1])
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert segment_files(tmp_path, tmp_path / "out", model, progress=False)["review"][0].startswith(
        "the first of several pictures"
    )


@pytest.mark.parametrize(
    ("tags", "turned"),
    [
        ({}, lambda stored: stored),
        ({"PatientOrientation": ["L", "F"]}, lambda stored: stored),
        ({"PatientOrientation": ["R", "F"]}, lambda stored: stored[:, ::-1]),
        ({"PatientOrientation": ["F", "L"]}, lambda stored: stored.T),
        ({"PatientOrientation": ["P", "F"]}, lambda stored: stored),  # from the side
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}, lambda stored: stored),
        ({"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}, lambda stored: stored[::-1, ::-1]),  # prone
        ({"ImageOrientationPatient": [0, -1, 0, -1, 0, 0]}, lambda stored: stored.T[::-1, ::-1]),
    ],
)
def test_a_dicom_image_is_turned_as_it_says(tmp_path, model, tags, turned):
    """The model takes what is bright; the right lung, on the left of what is shown, is the smaller one."""
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    shown = np.zeros((40, 40), np.uint16)
    shown[10:30, 4:12] = shown[8:32, 24:36] = 1000
    stored = turned(shown)  # each of these undoes itself
    path = dicom(tmp_path / "a.dcm", stored, "DX", **tags)
    np.testing.assert_array_equal(read_image(path) > 0, stored > 0)
    (row,) = segment_files(path, tmp_path / "out", model, progress=False).itertuples()
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a_mask.png") > 0, segment(path, model).mask)
    assert abs((read_image(tmp_path / "out" / "a_mask.png") > 0) ^ (stored > 0)).mean() < 0.05
    assert row.right_px < 0.7 * row.left_px


def test_slices_of_many_patients_in_one_folder_are_images(tmp_path, model):
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    (tmp_path / "films").mkdir()
    for number in range(3):
        dicom(
            tmp_path / "films" / f"{number}.dcm", np.full((20, 30), 24), "CT", RescaleSlope=1, RescaleIntercept=-1024,
            SeriesInstanceUID=f"1.2.{number}",
        )  # fmt: skip
    assert len(segment_files(tmp_path / "films", tmp_path / "out", model, progress=False)) == 3


@pytest.mark.parametrize("codes", ["LPS", "RAS", "SPL"])
def test_a_volume_gets_a_mask_on_its_own_grid(tmp_path, codes):
    """A dark lung in a bright body; the model takes what is bright."""
    nibabel = pytest.importorskip("nibabel")
    from helpers.volumes import AFFINE, write_nifti, write_series

    chest = np.full((6, 40, 40), -1000, np.float32)
    chest[:, 10:30, 6:16] = chest[1:5, 12:28, 24:34] = 350  # right, left; "lung" to this model
    path = write_nifti(tmp_path / "films" / "chest.nii.gz", chest, codes=codes)
    write_series(tmp_path / "films" / "series", chest)
    table = segment_files(tmp_path / "films", tmp_path / "out", bright(), progress=False).set_index("file")
    row = table.loc[str(path)]
    found, original = nibabel.load(tmp_path / "out" / row["mask"]), nibabel.load(path)
    np.testing.assert_allclose(found.affine, original.affine)
    truth = np.asarray(original.dataobj) > 0
    mask = np.asarray(found.dataobj)
    assert mask.dtype == np.uint8 and mask.shape == truth.shape
    assert 2 * (truth & (mask > 0)).sum() / (truth.sum() + mask.sum()) > 0.9
    voxel = abs(np.linalg.det(AFFINE[:3, :3])) / 1000
    assert row["slices"] == 6 and row["right_ml"] == pytest.approx(1200 * voxel, rel=0.1)
    assert row["left_ml"] == pytest.approx(640 * voxel, rel=0.15) and "mL" in row["review"]
    series = table.loc[str(tmp_path / "films" / "series")]
    assert (series["right_px"], series["left_px"]) == (row["right_px"], row["left_px"])


def test_a_film_that_knows_its_pixels_gets_areas(tmp_path, model):
    pytest.importorskip("pydicom")
    from helpers.volumes import write_slice

    tags = {"Modality": "DX", "PixelSpacing": [0.5, 0.25]}
    write_slice(tmp_path / "a.dcm", BLOCKS, **tags)
    write_slice(tmp_path / "b.dcm", BLOCKS, Modality="DX", PixelSpacing=None)
    table = segment_files(tmp_path, tmp_path / "out", model, progress=False)
    for side in ("right", "left"):
        assert table[f"{side}_mm2"][0] == pytest.approx(table[f"{side}_px"][0] / 8, abs=0.5)
    assert np.isnan(table["right_mm2"][1])


def test_the_journal_can_be_read(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    segment_files(tmp_path, tmp_path / "out", model, progress=False)
    (row,) = map(json.loads, (tmp_path / "out" / ".segmentation.jsonl").read_text().splitlines())
    assert row["key"] == row["file"] == str(tmp_path / "a.png") and row["mask"] == "a_mask.png"


def test_the_overlay_of_a_volume_shows_nine_slices(tmp_path, model):
    pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    path = write_nifti(tmp_path / "a.nii", np.full((12, 40, 30), -1000, np.float32))
    segment_files(path, tmp_path / "out", model, overlays=True, cutouts=True, progress=False)
    assert np.asarray(Image.open(tmp_path / "out" / "a_overlay.png")).shape == (120, 90, 3)
    few = write_nifti(tmp_path / "b.nii", np.full((2, 40, 30), -1000, np.float32))
    segment_files(few, tmp_path / "few", model, overlays=True, progress=False)
    assert np.asarray(Image.open(tmp_path / "few" / "b_overlay.png")).shape == (40, 90, 3)


def test_a_blank_slice_of_a_volume_has_no_lung(tmp_path, model):
    nibabel = pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    chest = np.full((6, 40, 40), -1000, np.float32)
    chest[:, 10:30, 6:16] = chest[:, 12:28, 24:34] = 350
    chest[5] = 400  # all of it bright, which the model takes for lung
    path = write_nifti(tmp_path / "a.nii", chest, codes="LPS")
    segment_files(path, tmp_path / "out", model, progress=False)
    mask = np.asarray(nibabel.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)
    assert sorted(mask.any(axis=(0, 1)).tolist()) == [False] + [True] * 5


def test_two_films_of_a_forged_journal_do_not_share_a_mask(tmp_path, file_of_model):
    films, out = tmp_path / "films", tmp_path / "out"
    for number, name in enumerate(("a", "b")):
        write_png(films / f"{name}.png", BLOCKS[number:])
    segment_files(films, out, file_of_model, progress=False)
    journal = out / ".segmentation.jsonl"
    journal.write_text(journal.read_text().replace('"stem": "b"', '"stem": "A"').replace("b_mask", "A_mask"))
    table = segment_files(films, out, file_of_model, progress=False)
    assert table["mask"].str.lower().is_unique


@pytest.mark.parametrize(("name", "target"), [("x.png", "y" * 300), ("x_mask.png", "x_mask.png"), ("x.png", "gone")])
def test_a_link_that_leads_nowhere_stops_no_other_film(tmp_path, model, name, target):
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    (tmp_path / "films" / name).symlink_to(target)
    table = segment_files(tmp_path / "films", tmp_path / "out", model, progress=False).set_index("file")
    assert table.loc[str(tmp_path / "films" / "a.png"), "status"] == "ok"
    assert str(tmp_path / "films" / name) in table.loc[str(tmp_path / "films" / name), "error"]


def test_masks_that_are_named_are_taken(tmp_path, model):
    """And `browse` shows what lungnb wrote."""
    write_png(tmp_path / "a.png", BLOCKS)
    segment_files(tmp_path / "a.png", tmp_path / "masks", model, progress=False)
    mask = tmp_path / "masks" / "a_mask.png"
    assert list_images(mask) == list_images(tmp_path / "masks") == [mask]
    assert segment_files(mask, tmp_path / "out", model, progress=False)["file"].tolist() == [str(mask)]
