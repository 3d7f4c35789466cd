import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers.scans import IMAGE, LEFT, RIGHT, pixels, prepared, save, write_scans
from lungnb.datasets.prepared import open_prepared
from lungnb.formats.folders import stem_of
from lungnb.settings import make_settings


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "scans"


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/{}.png", ["masks/{}.png"]),
        ("images/{}.bmp", ["masks/{}.bmp"]),
        ("images/{}.BMP", ["masks/{}.png"]),
        ("images/{}.tif", ["masks/{}_mask.png"]),
        ("CXR_png/{}.png", ["masks/{}_mask.png"]),
        ("Set/CXR_png/{}.png", ["Set/ManualMask/leftMask/{}.png", "Set/ManualMask/rightMask/{}.png"]),
        ("Montgomery/img/{}.png", ["Montgomery/mask/{}.png"]),
        ("2d_images/{}.tif", ["2d_masks/{}.tif"]),
        ("images/{}.png", ["labels/{}.png"]),
        ("{}.png", ["{}_mask.png"]),
        ("scans of lungs/images/{}.png", ["scans of lungs/masks/{}-label.png"]),
    ],
)
def test_layouts(raw, image, masks):
    names = [f"case-{n}" for n in range(6)]
    lungs = [LEFT, RIGHT] if len(masks) == 2 else [LEFT | RIGHT]
    for name in names:
        save(raw / image.format(name), IMAGE)
        for mask, lung in zip(masks, lungs, strict=True):
            save(raw / mask.format(name), lung * np.uint8(255))
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == names
    assert manifest["patient"].tolist() == names
    assert open_prepared(settings).excluded.empty
    for row in manifest.to_dict("records"):
        np.testing.assert_array_equal(pixels(settings, row["image"]), IMAGE)
        np.testing.assert_array_equal(pixels(settings, row["mask"]), np.where(LEFT | RIGHT, 255, 0))
        assert row["source_image"] == image.format(row["id"])
        assert row["source_mask"] == ";".join(mask.format(row["id"]) for mask in masks)


def test_names_that_repeat_in_several_folders_belong_to_those_folders(raw):
    counts = {"patient1": 4, "patient2": 1, "patient10": 2}
    for number, (patient, count) in enumerate(counts.items()):
        for n in range(count):
            save(raw / patient / "images" / f"{n:03}.png", IMAGE)
            save(raw / patient / "masks" / f"{n:03}.png", np.roll(LEFT, number, axis=1))
    settings, manifest = prepared(raw)
    # Also 002 and 003, which occur once: they are patient1's all the same, and must go into its split.
    assert manifest["patient"].value_counts().to_dict() == counts
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    assert (manifest["id"].str.rpartition("_")[0] == manifest["patient"]).all()
    for row in manifest.to_dict("records"):
        expected = np.roll(LEFT, list(counts).index(row["patient"]), axis=1)
        np.testing.assert_array_equal(pixels(settings, row["mask"]) > 0, expected)


def test_folders_within_images_and_masks_are_told_apart_too(raw):
    for number, patient in enumerate(("anna", "bert", "carl")):
        save(raw / "images" / patient / "1.png", IMAGE)
        save(raw / "masks" / patient / "1.png", np.roll(LEFT, number, axis=0))
    settings, manifest = prepared(raw)
    assert manifest["patient"].tolist() == ["anna", "bert", "carl"]
    for number, part in enumerate(manifest["mask"]):
        np.testing.assert_array_equal(pixels(settings, part) > 0, np.roll(LEFT, number, axis=0))


def test_a_patient_pattern_of_ones_own_goes_before_folders(raw):
    for folder in ("normal", "ill"):
        for n in range(4):
            save(raw / folder / "images" / f"p{n}_{folder[0] if n else 'x'}.png", IMAGE)  # px repeats
            save(raw / folder / "masks" / f"p{n}_{folder[0] if n else 'x'}.png", LEFT)
    _, manifest = prepared(raw, patient_pattern=r"(p\d+)_")
    assert manifest["patient"].value_counts().to_dict() == {"p0": 2, "p1": 2, "p2": 2, "p3": 2}


@pytest.mark.parametrize("layout", [{}, {"images/a.png": IMAGE}, {"masks/a.png": LEFT}])
def test_no_pair_at_all_is_an_error_that_says_what_to_do(raw, layout):
    raw.mkdir()
    for name, array in layout.items():
        save(raw / name, array)
    with pytest.raises(ValueError, match=r"scans: no image with a mask found; put images in images/"):
        prepared(raw)
    assert not make_settings(str(raw)).prepared.exists()


def test_a_pattern_that_is_none_is_named(raw):
    write_scans(raw, "abc")
    with pytest.raises(ValueError, match="patient_pattern is not a regular expression"):
        prepared(raw, patient_pattern="(p")


def test_of_the_masks_of_several_organs_those_of_lungs_are_taken(raw):
    write_scans(raw, "abcdef")
    shutil.rmtree(raw / "masks")
    organs = {"left lung": LEFT, "right lung": RIGHT, "heart": ~(LEFT | RIGHT)}
    for name in "abcdef":
        for organ, mask in organs.items():
            save(raw / "masks" / organ / f"{name}.gif", mask * np.uint8(255))
    settings, manifest = prepared(raw)
    np.testing.assert_array_equal(pixels(settings, manifest["mask"][0]) > 0, LEFT | RIGHT)
    excluded = open_prepared(settings).excluded
    assert set(excluded["reason"]) == {"another organ's"} and len(excluded) == 6
    assert excluded["file"].str.startswith("masks/heart/").all()


def test_the_folder_nearest_to_a_file_says_whether_it_is_a_mask(raw):
    write_scans(raw / "labeled", "abc")
    assert len(prepared(raw)[1]) == 3


def test_what_stands_after_a_dot_may_be_part_of_a_name(raw):
    write_scans(raw, ["1.2.840.1", "1.2.840.2", "1.2.840.3"])
    assert prepared(raw)[1]["id"].tolist() == ["1.2.840.1", "1.2.840.2", "1.2.840.3"]
    for name in ("1.2.840.1", "_a", "a", "A.tar.GZ"):
        assert stem_of(Path(name)) == name
    assert [stem_of(Path(name)) for name in ("a.b.PNG", "c.NII.gz", "d.nii", "e.dcm")] == ["a.b", "c", "d", "e"]


def test_a_name_that_begins_with_a_line_is_another_name(raw):
    write_scans(raw, ["a", "_a", "b"])
    assert set(prepared(raw)[1]["id"]) == {"a", "_a", "b"}


def test_folders_behind_links_are_read_and_loops_are_not(raw, tmp_path):
    write_scans(tmp_path / "disk", "abcd")
    raw.mkdir()
    for name in ("images", "masks"):
        (raw / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "images" / "again").symlink_to(raw)
    assert prepared(raw)[1]["id"].tolist() == [*"abcd"]


def test_a_link_to_nothing_is_left_out(raw):
    write_scans(raw, "abcd")
    (raw / "images" / "d.png").unlink()
    (raw / "images" / "d.png").symlink_to("gone.png")
    settings, manifest = prepared(raw)
    assert manifest["id"].tolist() == [*"abc"]
    assert open_prepared(settings).excluded["file"].tolist() == ["images/d.png"]


def test_files_of_another_kind_are_named_where_nothing_else_is(raw):
    for folder in ("images", "masks"):
        (raw / folder).mkdir(parents=True)
        (raw / folder / "a.mha").touch()
    with pytest.raises(ValueError, match=r"2 files are \.mha, which is not read"):
        prepared(raw)
