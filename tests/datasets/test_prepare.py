import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.scans import CHEST, IMAGE, LEFT, LUNGS, RIGHT, pixels, prepared, save, write_pairs, write_scans
from lungnb.__main__ import main
from lungnb.datasets import prepare, reading
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.datasets.sources import Source
from lungnb.formats.images import read_image
from lungnb.formats.pixels import LUNG_WINDOW, through_window
from lungnb.presets import make_settings
from lungnb.settings import SPLITS, Settings

COLUMNS = ["id", "patient", "split", "group", "image", "mask", "width", "height", "pixel_height_mm", "pixel_width_mm"]
COLUMNS += ["source_image", "source_mask"]


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "scans"


def test_the_manifest_and_the_tree_say_the_same(raw):
    write_scans(raw, [f"{n:03}" for n in range(20)], ".bmp")
    settings, manifest = prepared(raw)
    assert list(manifest) == COLUMNS
    assert manifest["id"].tolist() == [f"{n:03}" for n in range(20)]  # text: zeros stay
    assert set(manifest["split"]) == set(SPLITS)
    assert set(zip(manifest["width"], manifest["height"], strict=True)) == {(30, 20)}
    for part in ("image", "mask"):
        written = {path.relative_to(settings.prepared).as_posix() for path in settings.prepared.glob(f"*/{part}s/*")}
        assert written == set(manifest[part])
        for row in manifest.to_dict("records"):
            assert row[part] == f"{row['split']}/{part}s/{row['id']}.png"
            assert Image.open(settings.prepared / row[part]).mode == "L"
    assert read_manifest(settings).equals(manifest)


@pytest.mark.parametrize(
    "mask",
    [LEFT, LEFT * np.uint8(1), LEFT * np.uint8(200), LEFT * np.uint16(65535), np.stack([LEFT * np.uint8(255)] * 3, 2)],
)
def test_masks_of_every_kind_become_0_and_255(raw, mask):
    write_scans(raw, "abc")
    save(raw / "masks" / "b.png", mask)
    settings, manifest = prepared(raw)
    found = pixels(settings, manifest.set_index("id").loc["b", "mask"])
    np.testing.assert_array_equal(found, np.where(LEFT, 255, 0))


def test_large_images_are_shrunk_with_their_masks(raw, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_SIDE", 15)
    write_scans(raw, "abc")
    settings, manifest = prepared(raw)
    assert set(zip(manifest["width"], manifest["height"], strict=True)) == {(15, 10)}
    mask = pixels(settings, manifest["mask"][0])
    assert mask.shape == (10, 15)
    assert set(np.unique(mask)) == {0, 255}
    assert abs((mask > 0).mean() - LEFT.mean()) < 0.05


def test_hounsfield_units_go_through_the_window(raw):
    write_scans(raw, "ab")
    save(raw / "images" / "c.tif", np.full((20, 30), -300, np.int32))
    save(raw / "masks" / "c.tif", LEFT * np.uint8(255))
    settings, manifest = prepared(raw)
    assert (pixels(settings, manifest.set_index("id").loc["c", "image"]) == 128).all()


def test_what_cannot_be_used_is_listed_and_the_rest_goes_on(raw):
    write_scans(raw, ["good1", "good2", "good3", "lonely", "broken", "badmask", "shape", "shape2", "empty", "strip"])
    (raw / "masks" / "lonely.png").unlink()
    save(raw / "masks" / "nobody.png", LEFT)
    (raw / "images" / "broken.png").write_bytes((raw / "images" / "broken.png").read_bytes()[:45])
    (raw / "masks" / "badmask.png").write_text("not a picture")
    (raw / "images" / "empty.png").write_bytes(b"")
    save(raw / "masks" / "shape.png", np.ones((20, 20), bool))
    save(raw / "masks" / "shape2.png", LEFT.T.copy())
    save(raw / "images" / "strip.png", np.full((2, 90), 7, np.uint8))
    save(raw / "masks" / "strip.png", np.ones((2, 90), bool))
    (raw / "notes.txt").write_text("not an image at all")
    save(raw / "images" / ".hidden.png", IMAGE)

    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == ["good1", "good2", "good3"]
    excluded = open_prepared(settings).excluded.set_index("file")["reason"]
    assert excluded["images/lonely.png"] == "no mask of this name"
    assert excluded["masks/nobody.png"] == "no image of this name"
    assert excluded["images/broken.png"].startswith("images/broken.png: cannot be read")
    assert excluded["images/empty.png"].startswith("images/empty.png: the file is empty")
    assert excluded["images/badmask.png"].startswith("masks/badmask.png: cannot be read")
    assert excluded["images/shape.png"] == "mask masks/shape.png is 20x20, its image 30x20. Save both at one size"
    assert excluded["images/shape2.png"] == "mask masks/shape2.png is 20x30, its image 30x20. Save both at one size"
    assert excluded["images/strip.png"] == "images/strip.png is 90x2, too thin for a picture of a chest"
    assert len(excluded) == 8
    assert len(list(settings.prepared.glob("*/images/*"))) == 3


def test_a_mask_of_another_resolution_is_resized(raw):
    write_scans(raw, "abc")
    save(raw / "masks" / "b.png", LEFT.repeat(2, axis=0).repeat(2, axis=1))
    settings, manifest = prepared(raw)
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][1]) > 0, LEFT)


def test_names_that_differ_in_case_alone_do_not_overwrite_each_other(raw):
    write_scans(raw, "abcA")
    settings, manifest = prepared(raw)
    assert len({name.lower() for name in manifest["id"]}) == len(manifest) == 3
    assert "the name is taken by" in open_prepared(settings).excluded["reason"][0]


def test_no_raw_data_names_the_step_before(raw):
    with pytest.raises(FileNotFoundError, match="make the folder, with images/ and masks/ in it"):
        prepared(raw)
    with pytest.raises(FileNotFoundError, match="run notebook 01, or `lungnb download montgomery`"):
        prepare_dataset(make_settings("montgomery"))
    with pytest.raises(FileNotFoundError, match="run notebook 02, or `lungnb prepare"):
        read_manifest(make_settings(str(raw)))


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_wrong_folder_of_raw_data_is_named(home, monkeypatch):
    monkeypatch.setenv("LUNGNB_RAW", str(home / "unmounted"))
    with pytest.raises(FileNotFoundError, match=r"check LUNGNB_RAW, because .*unmounted is not a folder, or run"):
        prepare_dataset(make_settings("montgomery"))


def test_nothing_is_prepared_twice_but_what_changed_is(raw):
    write_scans(raw, [f"{n}" for n in range(6)])
    settings, first = prepared(raw)
    before = times(settings.prepared)
    assert prepared(raw)[1].equals(first)
    assert times(settings.prepared) == before
    assert set(prepared(raw, split_fractions=(0.85, 0.15, 0.0))[1]["split"]) == {"train", "validation"}
    (raw / "images" / "3.png").unlink()
    assert "3" not in prepared(raw, split_fractions=(0.85, 0.15, 0.0))[1]["id"].tolist()
    assert not list(settings.prepared.glob("*/*/3.png"))


def remove_image(folder):
    next(folder.glob("train/images/*.png")).unlink()


def spread(folder):
    """Save the manifest as a spreadsheet program does where the comma is the decimal sign."""
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace(",", ";"), encoding="utf-8-sig")


@pytest.mark.parametrize(
    "spoil",
    [
        remove_image,
        spread,
        lambda folder: (folder / "manifest.csv").unlink(),
        lambda folder: (folder / "manifest.csv").write_bytes(b""),
        lambda folder: (folder / "excluded.csv").unlink(),
        lambda folder: shutil.rmtree(folder / "test"),
    ],
)
def test_a_folder_of_which_something_was_removed_is_prepared_again(raw, spoil):
    write_scans(raw, [f"{n}" for n in range(6)])
    settings, first = prepared(raw)
    digest = open_prepared(settings).digest
    spoil(settings.prepared)
    manifest = prepared(raw)[1]
    assert all((settings.prepared / file).is_file() for file in manifest["image"])
    assert {*manifest["id"]} == {*first["id"]} and len(open_prepared(settings).excluded) == 0
    assert open_prepared(settings).digest == digest or not manifest["split"].equals(first["split"])


def test_other_mask_values_in_the_catalogue_prepare_anew(raw, monkeypatch):
    write_scans(raw, [f"{n}" for n in range(6)])
    shares = []
    for values in (None, (255,), (0,)):
        source = Source("scans", "", "own", "", "", mask_values=values)
        monkeypatch.setattr(prepare, "find_source", lambda _, source=source: source)
        settings, manifest = prepared(raw)
        shares.append((pixels(settings, manifest["mask"][0]) > 0).mean())
    assert shares[0] == shares[1] == 1 - shares[2] != 0.5


@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_nothing_half_written(raw, monkeypatch, before):
    write_scans(raw, [f"{n}" for n in range(6)])
    settings = make_settings(str(raw))
    if before:
        prepare_dataset(settings, progress=False)
        write_scans(raw, ["new"])
    old = times(settings.prepared)
    convert = prepare._convert

    def interrupted(pair, *rest):
        if pair.id == "3":
            raise KeyboardInterrupt
        return convert(pair, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare, "_convert", interrupted)
        prepare_dataset(settings, progress=False)
    assert times(settings.prepared.parent) == old  # what was there before, whole, and nothing beside it
    assert len(prepare_dataset(settings, progress=False)) == (7 if before else 6)


def test_the_raw_folder_is_left_as_it_was(raw):
    write_scans(raw, "abc")
    before = times(raw)
    prepared(raw)
    assert times(raw) == before


WINDOW = (-125.0, 275.0)


def test_nifti_volumes_become_slices(raw):
    from helpers import volumes

    for number, codes in enumerate(("RAS", "LPS", "PIR", "LAS")):
        volumes.write_nifti(raw / "images" / f"case{number}_a.nii.gz", CHEST, codes=codes)
        volumes.write_nifti(raw / "masks" / f"case{number}_a.nii.gz", LUNGS, codes=codes, dtype=np.uint8)
    settings, manifest = prepared(raw, window=WINDOW, volume_slices=5)
    assert list(manifest) == COLUMNS
    assert manifest["id"].tolist() == [f"case{n}_a_{index:03}" for n in range(4) for index in (12, 16, 20, 24, 28)]
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert manifest["patient"].unique().tolist() == [f"case{n}_a" for n in range(4)]
    assert set(manifest["split"]) == set(SPLITS)
    assert set(zip(manifest["width"], manifest["height"], strict=True)) == {(20, 24)}
    assert set(zip(manifest["pixel_width_mm"], manifest["pixel_height_mm"], strict=True)) == {(0.5, 0.75)}
    assert open_prepared(settings).excluded.empty
    for row in manifest.to_dict("records"):
        index = int(row["id"][-3:])
        grey = np.rint((np.clip(CHEST[index], *WINDOW) + 125) * (255 / 400))
        np.testing.assert_array_equal(pixels(settings, row["image"]), grey)
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, LUNGS[index] > 0)
        assert row["source_image"] == f"images/{row['patient']}.nii.gz"
        assert row["source_mask"] == f"masks/{row['patient']}.nii.gz"


@pytest.mark.parametrize(
    ("folder", "mask", "suffix"),
    [
        ("images/{}", "masks/{}.nii.gz", ".dcm"),
        ("images/{}", "masks/{}_mask.nii", ""),
        ("{}", "{}/{}_mask.nii.gz", ".dcm"),
        ("scans/{}", "scans/{}_mask.nii", ".dicom"),
        ("{}/ct", "{}/ct_mask.nii", ".dcm"),
    ],
)
def test_dicom_series_become_slices(raw, folder, mask, suffix):
    from helpers import volumes

    names = ["1.2.840.1", "1.2.840.2", "p3"]
    for name in names:
        volumes.write_series(raw / folder.format(name), CHEST, slopes=(1, 0.5), suffix=suffix)
        volumes.write_nifti(raw / mask.replace("{}", name), LUNGS, dtype=np.uint8)
    settings, manifest = prepared(raw, volume_slices=3)
    assert manifest["patient"].tolist() == [name for name in names for _ in range(3)]
    assert open_prepared(settings).excluded.empty
    for row in manifest.to_dict("records"):
        index = int(row["id"][-3:])
        assert index in (13, 20, 26)
        np.testing.assert_array_equal(pixels(settings, row["image"]), through_window(CHEST[index], LUNG_WINDOW))
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, LUNGS[index] > 0)
        assert row["source_image"] == folder.format(row["patient"])


def test_volumes_are_resampled_to_the_spacing(raw):
    from helpers import volumes

    for name in "abc":  # px of 0.75 by 0.5 mm
        volumes.write_nifti(raw / "images" / f"{name}.nii", CHEST)
        volumes.write_nifti(raw / "masks" / f"{name}.nii", LUNGS, dtype=np.uint8)
    settings, manifest = prepared(raw, window=WINDOW, spacing=0.25, volume_slices=2)
    assert set(zip(manifest["width"], manifest["height"], strict=True)) == {(40, 72)}
    for row in manifest.to_dict("records"):
        large = np.kron(LUNGS[int(row["id"][-3:])] > 0, np.ones((3, 2))) > 0
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, large)
        image = pixels(settings, row["image"])
        assert image[large].max() < image[30:40, 18:22].min()  # the lungs are black where the mask has them
    small = prepared(raw, window=WINDOW, spacing=1.5, volume_slices=2)[1]
    assert set(zip(small["width"], small["height"], strict=True)) == {(7, 12)}
    assert set(zip(small["pixel_width_mm"], small["pixel_height_mm"], strict=True)) == {(1.5, 1.5)}


def test_the_values_of_a_volumes_mask_are_heeded(raw, monkeypatch):
    from helpers import volumes

    for name in (
        "coronacases_001",
        "coronacases_002",
        "radiopaedia_10_85902_1",
        "radiopaedia_10_85902_3",
        "radiopaedia_4",
    ):
        volumes.write_nifti(raw / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz", CHEST)
        infection = np.where(LUNGS > 0, LUNGS, 3)
        volumes.write_nifti(raw / "Lung_Mask" / f"{name}.nii.gz", infection, dtype=np.uint8)
    monkeypatch.setenv("LUNGNB_RAW", str(raw.parent))
    raw.rename(raw.parent / "covid19-ct-seg")
    settings = make_settings("covid19-ct-seg")
    manifest = prepare_dataset(settings, progress=False)
    assert manifest["patient"].value_counts().to_dict() == {
        "coronacases_001": 16, "coronacases_002": 16, "radiopaedia_10": 32, "radiopaedia_4": 16
    }  # fmt: skip
    for row in manifest.to_dict("records"):
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, LUNGS[int(row["id"][-3:])] > 0)


def test_a_volume_that_cannot_be_used_is_listed_and_the_rest_goes_on(raw):
    from helpers import volumes

    bad = ["broken", "eightbit", "elsewhere", "gap", "lonely", "mirrored", "shape"]
    for name in ["good1", "good2", "good3", *bad]:
        if name == "gap":
            paths = volumes.write_series(raw / "images" / name, CHEST)
            paths[7].unlink()
        else:
            volumes.write_nifti(raw / "images" / f"{name}.nii.gz", CHEST)
        volumes.write_nifti(raw / "masks" / f"{name}.nii.gz", LUNGS, dtype=np.uint8)
    (raw / "images" / "broken.nii.gz").write_bytes(b"not a volume")
    volumes.write_nifti(raw / "images" / "eightbit.nii.gz", np.clip(CHEST + 100, 0, 255))
    (raw / "masks" / "lonely.nii.gz").unlink()
    volumes.write_nifti(raw / "masks" / "shape.nii.gz", LUNGS[1:], dtype=np.uint8)
    moved = volumes.AFFINE + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 99], [0, 0, 0, 0]])
    volumes.write_nifti(raw / "masks" / "elsewhere.nii.gz", LUNGS, moved, dtype=np.uint8)
    volumes.write_nifti(raw / "masks" / "mirrored.nii.gz", LUNGS, volumes.AFFINE * [1, 1, -1, 1], dtype=np.uint8)

    settings, manifest = prepared(raw, window=WINDOW)
    assert manifest["patient"].unique().tolist() == ["good1", "good2", "good3"]
    excluded = open_prepared(settings).excluded.set_index("file")["reason"]
    assert [Path(file).name.split(".")[0] for file in excluded.index] == bad
    assert excluded["images/broken.nii.gz"].startswith("images/broken.nii.gz: cannot be read as a NIfTI volume")
    assert excluded["images/eightbit.nii.gz"].startswith("images/eightbit.nii.gz: not in Hounsfield units")
    assert excluded["images/gap"].startswith("images/gap: a slice is missing: 5 mm between")
    assert excluded["images/lonely.nii.gz"] == "no mask of this name"
    assert (
        excluded["images/shape.nii.gz"]
        == "mask masks/shape.nii.gz has 39x24x20 voxels, its volume 40x24x20. Save both on one grid"
    )
    for name in ("elsewhere", "mirrored"):
        assert excluded[f"images/{name}.nii.gz"].startswith(f"mask masks/{name}.nii.gz lies elsewhere than its volume")
    text = "".join(file.read_text() for file in settings.prepared.glob("*.*"))
    assert "Secret" not in text  # what the DICOM files say of the patient


def test_masks_without_lung_and_patterns_that_miss_names_are_reported(raw):
    write_scans(raw, ["p1_a", "p2_a", "p3_a", "p4_a", "other"])
    with pytest.raises(ValueError, match=r"scans: no mask has the labels 7\. Look at the masks, and correct"):
        prepared(raw, mask_values=(7,))
    with pytest.warns(UserWarning, match=r"does not match 1 image, such as other: each counts as a patient of its own"):
        _, manifest = prepared(raw, patient_pattern="(p\\d)_")
    assert manifest["patient"].nunique() == 5
    for file in (raw / "masks").iterdir():
        save(file, np.zeros_like(LEFT, np.uint8))
    with pytest.raises(ValueError, match="scans: all masks are empty"):
        prepared(raw)


def test_eight_bit_volumes_come_as_they_are_without_a_window(raw):
    from helpers import volumes

    greys = np.clip(CHEST + 100, 0, 255)
    for name in "abc":
        volumes.write_nifti(raw / "images" / f"{name}.nii.gz", greys)
        volumes.write_nifti(raw / "masks" / f"{name}.nii.gz", LUNGS, dtype=np.uint8)
    settings, manifest = prepared(raw, volume_slices=1)
    assert manifest["id"].tolist() == ["a_020", "b_020", "c_020"]
    np.testing.assert_array_equal(pixels(settings, manifest["image"][0]), greys[20])


def test_a_window_refuses_a_set_of_eight_bit_images_and_shows_slices_in_hounsfield_units(raw):
    write_scans(raw, "abc")
    with pytest.raises(
        ValueError, match=r"scans: no image .* can be used; .*not in Hounsfield units: .* or leave window out"
    ):
        prepared(raw, window=WINDOW)
    for name in "defg":
        save(raw / "images" / f"{name}.tif", np.where(LEFT, -900, 75).astype(np.int32))
        save(raw / "masks" / f"{name}.tif", LEFT * np.uint8(255))
    settings, manifest = prepared(raw, window=WINDOW)
    assert manifest["id"].tolist() == ["d", "e", "f", "g"]
    assert len(open_prepared(settings).excluded) == 3
    assert np.abs(pixels(settings, manifest["image"][0]) - np.where(LEFT, 0, 127.5)).max() <= 0.5
    assert len(prepared(raw)[1]) == 7  # anew, for another window


@pytest.mark.parametrize(
    "change", [{"window": (-1000.0, 400.0)}, {"spacing": 1.0}, {"volume_slices": 3}, "volume", "mask"]
)
def test_volumes_are_prepared_anew_when_anything_changed(raw, change):
    from helpers import volumes

    for name in "abc":
        volumes.write_series(raw / "images" / name, CHEST, suffix="")
        volumes.write_nifti(raw / "masks" / f"{name}.nii.gz", LUNGS, dtype=np.uint8)
    changes = {"window": WINDOW, "volume_slices": 2}
    settings, first = prepared(raw, **changes)
    before = times(settings.prepared)
    assert prepared(raw, **changes)[1].equals(first)
    assert times(settings.prepared) == before
    if change == "volume":
        volumes.write_series(raw / "images" / "b", CHEST - 10, suffix="")
    elif change == "mask":
        volumes.write_nifti(raw / "masks" / "b.nii.gz", LUNGS * 0, dtype=np.uint8)
    else:
        changes |= change
    prepared(raw, **changes)
    assert times(settings.prepared) != before


@pytest.mark.parametrize(
    ("dataset", "pairs", "left_out", "side"),
    [
        ("montgomery", 138, 0, 512),
        ("chest-xray-masks-and-labels", 590, 20, 256),
        ("finding-lungs-in-ct-data", 140, 0, 512),
    ],
)
def test_real_data_sets_are_read_as_published(real, dataset, pairs, left_out, side):
    folder = real(dataset)
    settings = Settings(dataset=dataset)
    manifest = prepare_dataset(settings, progress=False)
    excluded = open_prepared(settings).excluded
    assert len(manifest) == manifest["id"].nunique() == manifest["patient"].nunique() == pairs
    assert excluded["reason"].tolist() == ["no mask of this name"] * left_out
    assert set(manifest["width"]) == set(manifest["height"]) == {side}
    counts = manifest["split"].value_counts()
    for split, share in zip(SPLITS, settings.split_fractions, strict=True):
        assert abs(counts[split] - share * pairs) < 1
    if dataset != "finding-lungs-in-ct-data":  # the films of tuberculosis
        for _, patients in manifest.groupby("split"):
            sick = (manifest["group"] == "tuberculosis").mean()
            assert (patients["group"] == "tuberculosis").mean() == pytest.approx(sick, abs=1.5 / len(patients))
    for row in manifest.iloc[:: len(manifest) // 10].to_dict("records"):
        mask = pixels(settings, row["mask"])
        assert set(np.unique(mask)) == {0, 255}
        assert 0.02 < (mask > 0).mean() < 0.6
        np.testing.assert_array_equal(pixels(settings, row["image"]), read_image(folder / row["source_image"]))
    if dataset == "montgomery":
        assert manifest["source_mask"].str.count(";").eq(1).all()  # left and right
    shutil.rmtree(settings.prepared)


def test_the_size_of_a_film_s_pixels_is_kept(raw, monkeypatch):
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    monkeypatch.setattr(reading, "LONGEST_SIDE", 15)
    write_scans(raw, "abc")
    for name in "abc":
        (raw / "images" / f"{name}.png").unlink()
        dicom(raw / "images" / f"{name}.dcm", IMAGE.astype(np.uint16), "DX", ImagerPixelSpacing=[0.2, 0.1])
    _, manifest = prepared(raw)
    assert manifest["width"].unique().tolist() == [15]
    np.testing.assert_allclose(manifest[["pixel_height_mm", "pixel_width_mm"]], [[0.4, 0.2]] * 3)


@pytest.mark.parametrize("error", [MemoryError(), OverflowError("cannot convert"), TypeError("DOE^JANE")])
def test_a_failing_pair_does_not_stop_the_others(raw, monkeypatch, error):
    write_scans(raw, [f"good{number:02}" for number in range(12)])
    read = reading.read_turned_mask

    def fail(path, values):
        if path.name == "good06.png":
            raise error
        return read(path, values)

    monkeypatch.setattr(reading, "read_turned_mask", fail)
    settings = Settings(dataset=str(raw))
    manifest = prepare_dataset(settings, progress=False)
    excluded = open_prepared(settings).excluded.set_index("file")["reason"]
    assert "good06" not in manifest["id"].tolist() and len(manifest) > 5
    assert "good06.png" in excluded["images/good06.png"] and "DOE" not in excluded["images/good06.png"]


@pytest.mark.parametrize("link", [False, True])
def test_preparing_replaces_no_folder_that_lungnb_did_not_make(home, tmp_path_factory, capsys, link):
    target = home / "data" / "prepared" / "scans"
    mine = tmp_path_factory.mktemp("mine") if link else target
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "notes.txt").write_text("mine")
    if link:
        (mine / "prepared.json").write_text("{}")
        target.parent.mkdir(parents=True)
        target.symlink_to(mine)
    raw = write_pairs(home / "scans")
    assert main(["prepare", str(raw)]) == 2
    said = "scans: is a link, which" if link else "scans: holds files that lungnb did not write"
    assert said in capsys.readouterr().err
    assert (mine / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("labels", [(127, 255), (10, 20), (100, 201)])
def test_both_lungs_of_any_labels_are_kept(raw, labels):
    write_scans(raw, "abc")
    for name in "abc":
        save(raw / "masks" / f"{name}.png", (LEFT * labels[0] + RIGHT * labels[1]).astype(np.uint8))
    settings, manifest = prepared(raw)
    for part in manifest["mask"]:
        np.testing.assert_array_equal(pixels(settings, part) > 0, LEFT | RIGHT)


def write_labelled_volumes(raw, labels):
    """Write three volumes with labels of both lungs, and of flesh if there is a third one."""
    from helpers import volumes

    flesh = labels[2] if len(labels) > 2 else 0
    organs = np.select([LUNGS == 1, LUNGS == 2, CHEST > -200], [labels[0], labels[1], flesh])
    for name in "abc":
        volumes.write_nifti(raw / "images" / f"{name}.nii.gz", CHEST)
        volumes.write_nifti(raw / "masks" / f"{name}.nii.gz", organs, dtype=np.uint8)


@pytest.mark.parametrize("labels", [(1, 2), (10, 20), (10, 13), (127, 255), (100, 201)])
def test_both_lungs_of_any_labels_of_a_volume_are_kept(raw, labels):
    write_labelled_volumes(raw, labels)
    settings, manifest = prepared(raw, volume_slices=3)
    for row in manifest.to_dict("records"):
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, LUNGS[int(row["id"][-3:])] > 0)


@pytest.mark.parametrize("labels", [(10, 13, 80), (1, 2, 3)])
def test_labels_of_other_organs_are_refused_until_those_of_lung_are_chosen(raw, labels):
    write_labelled_volumes(raw, labels)
    lungs = ",".join(map(str, labels[:2]))
    with pytest.raises(ValueError, match=rf"masks/c\.nii\.gz: has the labels .*such as mask_values={lungs}\."):
        prepared(raw)
    settings, manifest = prepared(raw, volume_slices=3, mask_values=labels[:2])
    for row in manifest.to_dict("records"):
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, LUNGS[int(row["id"][-3:])] > 0)
    one = prepared(raw, volume_slices=3, mask_values=labels[1:2])
    np.testing.assert_array_equal(pixels(one[0], one[1]["mask"][0]) > 0, LUNGS[13] == 2)


def write_turned(path, array, orientation, has_exif):
    """Write a picture that EXIF turns, as it is stored so that it looks upright; without EXIF, only as stored."""
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).transpose(back).save(path, **({"exif": exif} if has_exif else {}))


@pytest.mark.parametrize(
    ("orientation", "shape", "has_exif", "is_noted"),
    [
        (6, (20, 30), False, False), (6, (20, 20), False, True), (3, (20, 30), False, True),
        (6, (20, 30), True, False), (3, (20, 30), True, False),
    ],
)  # fmt: skip
def test_a_mask_that_exif_turns_apart_from_its_image_is_turned_or_noted(raw, orientation, shape, has_exif, is_noted):
    image, mask = IMAGE[: shape[0], : shape[1]], LEFT[: shape[0], : shape[1]] * np.uint8(255)
    for name in "abc":
        write_turned(raw / "images" / f"{name}.png", image, orientation, True)
        write_turned(raw / "masks" / f"{name}.png", mask, orientation, has_exif)
    settings, manifest = prepared(raw)
    found = pixels(settings, manifest["mask"][0])
    np.testing.assert_array_equal(pixels(settings, manifest["image"][0]), image)
    assert (found == mask).all() != is_noted
    notes = open_prepared(settings).notes
    assert ("images/a.png", "note", "turned by its EXIF data", reading.NONE_NEEDED) in notes
    assert [what for file, severity, what, _ in notes if severity == "warning"] == [reading._APART] * (3 * is_noted)


@pytest.mark.parametrize(("orientation", "is_noted"), [(3, True), (6, False)])
def test_a_mask_whose_image_has_no_exif_data_lies_as_it_is_stored(raw, orientation, is_noted):
    for name in "abc":
        write_turned(raw / "images" / f"{name}.png", IMAGE, orientation, False)
        write_turned(raw / "masks" / f"{name}.png", LEFT * np.uint8(255), orientation, True)
    settings, manifest = prepared(raw)
    stored = LEFT if is_noted else np.rot90(LEFT)
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][0]) > 0, stored)
    warnings = [what for _, severity, what, _ in open_prepared(settings).notes if severity == "warning"]
    assert warnings == [reading._APART] * (3 * is_noted)


def test_the_command_says_what_was_noted(raw, capsys):
    write_scans(raw, "abc")
    deep = IMAGE.astype(np.int32) * 16
    deep[:2, :2] = 65_535
    save(raw / "images" / "a.png", deep.astype(np.uint16))
    assert main(["prepare", str(raw)]) == 0
    assert "1 file: values outside 0 to 3712 are left out.\n" in capsys.readouterr().out


def test_the_pixel_spacing_of_a_png_comes_from_the_setting(raw, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_SIDE", 15)
    write_scans(raw, "abc")
    sizes = ["pixel_height_mm", "pixel_width_mm"]
    _, unknown = prepared(raw)
    assert unknown[sizes].isna().all(axis=None) and unknown["width"].unique().tolist() == [15]
    _, manifest = prepared(raw, pixel_mm=0.2)
    np.testing.assert_allclose(manifest[sizes], [[0.4, 0.4]] * 3)  # shrunk to half


def test_a_film_that_states_its_pixel_spacing_keeps_it(raw):
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    write_scans(raw, "abc")
    for name in "abc":
        (raw / "images" / f"{name}.png").unlink()
        dicom(raw / "images" / f"{name}.dcm", IMAGE.astype(np.uint16), "DX", ImagerPixelSpacing=[0.2, 0.1])
    _, manifest = prepared(raw, pixel_mm=0.7)
    np.testing.assert_allclose(manifest[["pixel_height_mm", "pixel_width_mm"]], [[0.2, 0.1]] * 3)


def test_a_film_that_is_no_chest_by_its_header_is_to_be_looked_at(raw):
    pytest.importorskip("pydicom")
    from helpers.films import dicom

    write_scans(raw, "abc")
    (raw / "images" / "a.png").unlink()
    dicom(raw / "images" / "a.dcm", IMAGE.astype(np.uint16), "DX", BodyPartExamined="HAND")
    settings, _ = prepared(raw)
    ((file, severity, what, advice),) = [note for note in open_prepared(settings).notes if "HAND" in note[2]]
    assert file == "images/a.dcm" and severity == "warning" and "not of a chest by its header" in what
    assert advice.startswith("look at it") and advice != reading.NONE_NEEDED


def test_a_file_is_not_a_data_set(tmp_path):
    (tmp_path / "scans.zip").write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match=r"scans\.zip: is a file\. Unpack it if it is an archive"):
        prepared(tmp_path / "scans.zip")
