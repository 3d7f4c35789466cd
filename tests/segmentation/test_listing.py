import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.networks import BLOCKS
from lungnb.formats.images import write_png
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.listing import list_images
from lungnb.segmentation.predict import segment


def test_names_that_meet_do_not_overwrite_each_other(tmp_path, model):
    files = [tmp_path / name for name in ("1/a.png", "x/1/a.png", "y/1/a.png", "1_a.png", "1/a.jpg", "A.png")]
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
    with pytest.raises(ValueError, match="in an empty list"):
        segment_files([], tmp_path / "out", model)


def test_one_file_can_be_named_alone(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    for paths in (tmp_path / "a.png", str(tmp_path / "a.png"), iter([tmp_path / "a.png"])):
        assert len(segment_files(paths, tmp_path / "out", model, progress=False)) == 1


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


def test_masks_beside_the_images_are_not_taken_for_images_later(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    for _ in range(2):
        table = segment_files(tmp_path, tmp_path, model, overlays=True, progress=False)
        assert table["file"].tolist() == [str(tmp_path / "a.png")]


def test_masks_that_are_not_lungnb_s_are_never_overwritten(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    write_png(tmp_path / "a_mask.png", BLOCKS > 100)
    truth = (tmp_path / "a_mask.png").read_bytes()
    with pytest.raises(ValueError, match=r"a_mask\.png: is not of an earlier run of lungnb\. Name another folder"):
        segment_files(tmp_path / "a.png", tmp_path, model, progress=False)
    assert (tmp_path / "a_mask.png").read_bytes() == truth


def test_a_table_that_is_not_lungnb_s_is_never_overwritten(tmp_path, model):
    write_png(tmp_path / "a.png", BLOCKS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "segmentation.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"segmentation\.csv: is not of an earlier run of lungnb"):
        segment_files(tmp_path / "a.png", tmp_path / "out", model, progress=False)
    assert (tmp_path / "out" / "segmentation.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "inputs"),
    [("masks", "images"), ("masks", "."), ("labelsTr", "images"), ("Lung_Mask", "images/a.png"), ("drawn", "images")],
)
def test_the_masks_of_a_data_set_get_no_files(tmp_path, model, out, inputs):
    """This holds even if their names differ from those that lungnb writes. The last masks are named like the images."""
    write_png(tmp_path / "images" / "a.png", BLOCKS)
    write_png(tmp_path / out / ("a.png" if out == "drawn" else "left/b.png"), BLOCKS > 100)
    with pytest.raises(ValueError, match=r"(a|b)\.png: is not of an earlier run of lungnb"):
        segment_files(tmp_path / inputs, tmp_path / out, model, progress=False)
    assert not [*(tmp_path / out).rglob("*_mask.png")]


def test_a_folder_of_other_pictures_may_get_masks(tmp_path, model):
    write_png(tmp_path / "images" / "a.png", BLOCKS)
    write_png(tmp_path / "home" / "chart.png", BLOCKS)
    (tmp_path / "masks").mkdir()
    for out in (tmp_path / "home", tmp_path / "masks", tmp_path / "masks"):
        assert len(segment_files(tmp_path / "images", out, model, progress=False)) == 1
    Image.fromarray(BLOCKS).save(tmp_path / "images" / "a.jpg")
    assert len(segment_files(tmp_path / "images" / "a.png", tmp_path / "images", model, progress=False)) == 1


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


def test_masks_of_an_earlier_run_among_the_films_are_not_taken_for_films(tmp_path, model):
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


@pytest.mark.parametrize(("name", "target"), [("x.png", "y" * 300), ("x_mask.png", "x_mask.png"), ("x.png", "gone")])
def test_a_broken_link_does_not_stop_other_films(tmp_path, model, name, target):
    write_png(tmp_path / "films" / "a.png", BLOCKS)
    (tmp_path / "films" / name).symlink_to(target)
    table = segment_files(tmp_path / "films", tmp_path / "out", model, progress=False).set_index("file")
    assert table.loc[str(tmp_path / "films" / "a.png"), "status"] == "ok"
    assert str(tmp_path / "films" / name) in table.loc[str(tmp_path / "films" / name), "error"]


def test_masks_that_are_named_are_taken(tmp_path, model):
    """`browse` shows the files that lungnb wrote, too."""
    write_png(tmp_path / "a.png", BLOCKS)
    segment_files(tmp_path / "a.png", tmp_path / "masks", model, progress=False)
    mask = tmp_path / "masks" / "a_mask.png"
    assert list_images(mask) == list_images(tmp_path / "masks") == [mask]
    assert segment_files(mask, tmp_path / "out", model, progress=False)["file"].tolist() == [str(mask)]
