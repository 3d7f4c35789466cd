import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.films import dicom
from helpers.networks import BLOCKS, bright
from lungnb.engines.engines import Engine, engine_of
from lungnb.files import DiskFull, locked, written
from lungnb.formats.images import read_image, write_png
from lungnb.formats.pixels import LIKE_MASK, LUNG_WINDOW, through_window
from lungnb.formats.tables import read_table
from lungnb.segmentation import journal, predict, steps
from lungnb.segmentation.batch import TABLE_COLUMNS, segment_files, segment_inputs
from lungnb.segmentation.listing import InputFile, Options
from lungnb.segmentation.predict import network_name, segment
from lungnb.settings import SHIPPED


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

    rare = ("note", "slices", "right_mm2", "left_mm2", "right_ml", "left_ml")
    assert list(table) == [column for column in TABLE_COLUMNS if column not in rare]
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
        shown, cut = (np.asarray(Image.open(out / f"{stem}_{kind}.png")) for kind in ("overlay", "cutout"))
        lung, is_coloured = mask > 0, np.ptp(shown, axis=2) > 0
        assert is_coloured[lung].all() and is_coloured.sum() <= 1.5 * lung.sum()  # the outline is a little outside
        assert np.count_nonzero(cut[..., 3]) == lung.sum()
    assert len([file for file in out.iterdir() if not file.name.startswith(".")]) == 4 * 3 + 1
    whole = table.dropna(subset="mask")
    lung = (whole["right_px"] + whole["left_px"]) / (whole["height"] * whole["width"])
    np.testing.assert_allclose(lung, whole["lung"], atol=1e-4)
    stored = pd.read_csv(out / "segmentation.csv")
    assert stored["file"].tolist() == table["file"].tolist()
    assert stored["status"].tolist() == table["status"].tolist()


def test_what_was_done_is_not_done_again(tmp_path, file_of_model, monkeypatch):
    for name in "abc":
        write_png(tmp_path / "films" / f"{name}.png", BLOCKS)
    (tmp_path / "films" / "d.png").write_bytes(b"damaged")
    films, out, asked = tmp_path / "films", tmp_path / "out", []
    original = predict.predict_image

    def counted(network, grey):
        asked.append(grey)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return original(network, grey)

    monkeypatch.setattr(predict, "predict_image", counted)
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
        assert table["file"].tolist() == [str(films / f"{name}.png") for name in "abcd"]  # as they are named this time
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


def test_a_mask_that_a_person_changed_is_not_replaced_even_after_an_interrupted_run(
    tmp_path, file_of_model, monkeypatch
):
    for number in range(14):  # more than are read and written ahead
        write_png(tmp_path / "films" / f"{number:02}.png", BLOCKS)
    films, out = tmp_path / "films", tmp_path / "out"
    segment_files(films, out, file_of_model, progress=False)
    original, asked = predict.predict_image, []

    def interrupted(network, grey):
        asked.append(grey)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return original(network, grey)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "predict_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segment_files(films, out, file_of_model, progress=False, overlays=True)
    write_png(out / "13_mask.png", BLOCKS)
    mine = (out / "13_mask.png").read_bytes()
    for overlays in (True, True, False):  # also if nothing else is to do
        table = segment_files(films, out, file_of_model, progress=False, overlays=overlays)
        assert (out / "13_mask.png").read_bytes() == mine
        assert table["note"].eq(journal.KEPT).tolist() == 13 * [False] + [True]
    assert len([*out.glob("*_overlay.png")]) == 13
    assert table["review"].iloc[13] == ""  # because a person has looked at it
    write_png(films / "13.png", BLOCKS[::-1])  # another image of this name, as a PACS may export it
    table = segment_files(films, out, file_of_model, progress=False)
    assert table["review"].iloc[13] == journal.OTHER_IMAGE and (out / "13_mask.png").read_bytes() == mine
    (out / "13_mask.png").rename(tmp_path / "mine.png")
    table = segment_files(films, out, file_of_model, progress=False, overlays=True)
    assert len([*out.glob("*_overlay.png")]) == 14 and "note" not in table


def test_masks_of_another_network_are_never_mixed_with_these(tmp_path, file_of_model):
    """The same file with other content, as after another training, renews the masks; a copy elsewhere is the same."""
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    films, out, copy = tmp_path / "films", tmp_path / "out", tmp_path / "copy.keras"
    copy.write_bytes(file_of_model.read_bytes())
    table = segment_files(films, out, file_of_model, progress=False)
    network = table["network"].item()
    assert network == f"{file_of_model}, {hashlib.sha256(copy.read_bytes()).hexdigest()[:8]}"
    assert read_table(out / "segmentation.csv")["network"].item() == network == network_name(file_of_model)
    before = (out / "a_mask.png").read_bytes()
    for other in (None, bright()):
        with pytest.raises(ValueError, match=r"out: holds masks of another network .*Name another folder for"):
            segment_files(films, out, other, progress=False)
    assert (out / "a_mask.png").read_bytes() == before
    assert segment_files(films, out, copy, progress=False)["network"].item() == network
    trained = bright()
    trained.layers[-1].set_weights([np.full((1, 1, 1, 1), -40.0), np.array([20.0])])  # dark is lung
    trained.save(file_of_model)
    table = segment_files(films, out, file_of_model, progress=False)
    assert table["network"].item() == network_name(file_of_model) != network
    assert (out / "a_mask.png").read_bytes() != before
    assert network_name(None) == f"shipped, {hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:8]}"


def test_a_new_file_with_an_old_name_does_not_replace_a_mask(tmp_path, file_of_model):
    write_png(tmp_path / "films" / "B.png", BLOCKS)
    films, out = tmp_path / "films", tmp_path / "out"
    segment_files(films, out, file_of_model, progress=False)
    write_png(tmp_path / "films" / "A" / "b.png", BLOCKS.T)  # comes before the other
    table = segment_files(films, out, file_of_model, progress=False)
    assert table["mask"].str.lower().is_unique
    for file, name in zip(table["file"], table["mask"], strict=True):
        assert np.asarray(Image.open(out / name)).shape == np.asarray(Image.open(file)).shape


def test_probabilities_are_written_on_request(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    segment_files(tmp_path / "a.png", tmp_path / "out", model, probabilities=True, progress=False)
    shades = np.asarray(Image.open(tmp_path / "out" / "a_probability.png"))
    np.testing.assert_allclose(shades / 255, segment(BLOCKS, model).probability, atol=0.003)


def test_a_picture_of_one_grey_has_no_lung(tmp_path, model):
    write_png(tmp_path / "a.png", np.full((50, 40), 255, np.uint8))  # lung to this model
    (row,) = segment_files(tmp_path, tmp_path / "out", model, progress=False).itertuples()
    assert (row.status, row.review) == ("no lung found", "no lung")


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
def test_a_failing_file_does_not_stop_the_others(tmp_path, model, monkeypatch, step, error, words):
    for number, name in enumerate(("a", "b")):
        write_png(tmp_path / f"{name}.png", BLOCKS[number:])
    work = getattr(steps, STEPS[step])

    def fail(first, *others, **options):
        if (isinstance(first, np.ndarray) and first.shape == BLOCKS.shape) or "a" in Path(str(first)).stem[0]:
            raise error
        return work(first, *others, **options)

    monkeypatch.setattr(steps, STEPS[step], fail)
    table = segment_files(tmp_path, tmp_path / "out", model, progress=False)
    assert table["status"].tolist() == ["failed", "ok"]
    assert table["error"][0].startswith(f"{tmp_path / 'a.png'}: ") and words.format(step=step) in table["error"][0]
    assert "DOE" not in table["error"][0]
    stored = pd.read_csv(tmp_path / "out" / "segmentation.csv", dtype=str)
    assert stored["height"].tolist()[1] == str(BLOCKS.shape[0] - 1)  # a whole number, also beside files that failed


def test_a_full_disk_ends_the_work_and_names_the_file(tmp_path, model, monkeypatch):
    write_png(tmp_path / "a.png", BLOCKS)

    def fail(path, _):
        with written(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(steps, "write_png", fail)
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
def test_a_forged_journal_is_ignored(tmp_path, file_of_model, changes):
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


def test_what_a_killed_run_was_writing_is_removed(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".a_mask.4242.part.png").touch()
    segment_files(tmp_path / "a.png", tmp_path / "out", model, progress=False)
    assert not [*(tmp_path / "out").glob(".*.part.*")]


def test_pages_that_are_not_read_are_reported(tmp_path, model):
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
    right, left = segment(path, model).sides()
    assert (right.sum(), left.sum()) == (row.right_px, row.left_px)


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

    chest = np.full((12, 40, 30), -1000, np.float32) + 40 * np.arange(12, dtype=np.float32)[:, None, None]
    path = write_nifti(tmp_path / "a.nii", chest)
    segment_files(path, tmp_path / "out", model, overlays=True, cutouts=True, progress=False)
    sheet = np.asarray(Image.open(tmp_path / "out" / "a_overlay.png"))
    expected = through_window(chest[[1, 2, 3, 4, 6, 7, 8, 9, 10], 0, 0], LUNG_WINDOW)  # evenly spaced, without the ends
    assert sheet.shape == (120, 90, 3) and sheet[20::40, 15::30, 0].ravel().tolist() == expected.tolist()
    few = write_nifti(tmp_path / "b.nii", np.full((2, 40, 30), -1000, np.float32))
    segment_files(few, tmp_path / "few", model, overlays=True, progress=False)
    assert np.asarray(Image.open(tmp_path / "few" / "b_overlay.png")).shape == (40, 90, 3)


def test_a_blank_slice_and_a_speck_of_a_volume_are_not_lung(tmp_path, model):
    nibabel = pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    chest = np.full((6, 40, 40), -1000, np.float32)
    chest[:, 10:30, 6:16] = chest[:, 12:28, 24:34] = 350
    chest[5] = 400  # all of it bright, which the model takes for lung
    chest[2, 2:7, 17:23] = 350
    path = write_nifti(tmp_path / "a.nii", chest, codes="LPS")
    segment_files(path, tmp_path / "out", model, progress=False)
    mask = np.asarray(nibabel.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)
    assert sorted(mask.any(axis=(0, 1)).tolist()) == [False] + [True] * 5
    assert mask[:, 10:].any() and not mask[:, :8].any()


def test_two_films_of_a_forged_journal_do_not_share_a_mask(tmp_path, file_of_model):
    films, out = tmp_path / "films", tmp_path / "out"
    for number, name in enumerate(("a", "b")):
        write_png(films / f"{name}.png", BLOCKS[number:])
    segment_files(films, out, file_of_model, progress=False)
    journal = out / ".segmentation.jsonl"
    journal.write_text(journal.read_text().replace('"stem": "b"', '"stem": "A"').replace("b_mask", "A_mask"))
    table = segment_files(films, out, file_of_model, progress=False)
    assert table["mask"].str.lower().is_unique


def test_few_files_are_in_memory_at_once(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    asked = []

    def inputs():
        for number in range(40):
            asked.append(number)
            yield InputFile(tmp_path / "a.png", str(number))

    rows = segment_inputs(inputs(), engine_of(model), None, tmp_path / "out", Options())
    assert next(rows)["stem"] == "0" and len(asked) <= 10
    rows.close()


def test_the_note_of_a_volume_names_what_is_left_out_or_odd(tmp_path, model):
    pytest.importorskip("nibabel")
    from helpers.volumes import HOUNSFIELD, write_nifti

    scan = HOUNSFIELD.copy()
    scan[0, 0, 0] = np.nan
    write_nifti(tmp_path / "scan.nii.gz", scan, dtype=np.float32)
    lungs = np.pad(np.ones((3, 40, 40)), ((3, 3), (20, 20), (20, 20)))
    write_nifti(tmp_path / "mask.nii.gz", lungs, dtype=np.uint8)
    lungs[5, 40] = np.linspace(0, 1, 80)
    lungs[5] *= np.linspace(0.5, 1, 80)  # one slice has many greys
    write_nifti(tmp_path / "grey.nii.gz", 255 * lungs, dtype=np.uint8)
    write_nifti(tmp_path / "drawn.nii.gz", np.where(lungs > 0, 40, -1000))  # CT, which may have few values
    table = segment_files(tmp_path, tmp_path / "out", model, progress=False)
    notes = ["", "", LIKE_MASK, "values that are not numbers are black"]
    assert table["note"].fillna("").tolist() == notes


def test_the_journal_keeps_up_with_the_work(tmp_path):
    """A run that is killed loses few masks."""
    for number in range(20):
        write_png(tmp_path / "films" / f"{number:02}.png", BLOCKS[number:])
    lines = []

    def run(batch):
        lines.append((tmp_path / "out" / ".segmentation.jsonl").read_text().count("\n"))
        return batch

    segment_files(tmp_path / "films", tmp_path / "out", Engine("bright", 32, run), progress=False)
    assert len(lines) == 20 and lines[-1] >= 10


def test_two_runs_do_not_share_a_folder(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    with locked(tmp_path / "out" / "segmentation.csv"), ThreadPoolExecutor(1) as pool:
        other = pool.submit(segment_files, tmp_path / "a.png", tmp_path / "out", model, progress=False)
        with pytest.raises(RuntimeError, match="another run is at work there"):
            other.result()


def test_masks_of_another_origin_are_not_replaced(tmp_path, model):
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    write_png(tmp_path / "out" / "a_mask.png", BLOCKS)
    before = (tmp_path / "out" / "a_mask.png").read_bytes()
    with pytest.raises(ValueError, match=r"a_mask\.png: is not of an earlier run of lungnb\. Name another folder"):
        segment_files(tmp_path / "films", tmp_path / "out", model, progress=False)
    assert (tmp_path / "out" / "a_mask.png").read_bytes() == before


def test_what_the_header_doubts_is_a_reason_to_look(tmp_path, model):
    dicom(tmp_path / "side.dcm", BLOCKS, "DX", ViewPosition="LL")
    dicom(tmp_path / "front.dcm", BLOCKS, "DX", ViewPosition="PA")
    front, side = segment_files(tmp_path, tmp_path / "out", model, progress=False)["review"]
    assert "by its header (see note)" in side and "by its header" not in front
