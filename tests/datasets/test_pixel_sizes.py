import numpy as np
import pytest

from helpers.scans import prepared, save, write_scans
from lungnb.datasets.prepared import open_prepared


@pytest.fixture
def raw(tmp_path):
    write_scans(tmp_path / "scans", "abcd")
    return tmp_path / "scans"


def with_table(raw, content, **changes):
    file = raw.parent / "list.csv"
    file.write_text(content)
    settings, manifest = prepared(raw, patient_file=str(file), **changes)
    return settings, manifest[["pixel_height_mm", "pixel_width_mm"]].to_numpy().tolist()


def test_each_image_has_the_pixel_size_of_its_row(raw):
    settings, sizes = with_table(raw, "id;patient;Pixel_mm\na;1;0.2\nb;2; 0.3 \nc;3;1\nd;4;0.2\n")
    assert sizes == [[0.2, 0.2], [0.3, 0.3], [1, 1], [0.2, 0.2]]
    assert open_prepared(settings).has_pixel_size


def test_height_and_width_may_differ(raw):
    rows = "".join(f"{name},{name},0.2,0.4\n" for name in "abcd")
    assert with_table(raw, f"id,patient,pixel_width_mm,pixel_height_mm\n{rows}")[1] == [[0.4, 0.2]] * 4


def test_an_empty_cell_leaves_the_size_to_the_setting(raw):
    content = "id,patient,pixel_mm\na,1,0.2\nb,2,\nc,3,0.2\nd,4,0.2\n"
    settings, sizes = with_table(raw, content)
    assert np.isnan(sizes[1]).all() and not open_prepared(settings).has_pixel_size
    assert with_table(raw, content, pixel_mm=0.5)[1] == [[0.2, 0.2], [0.5, 0.5], [0.2, 0.2], [0.2, 0.2]]


def test_shrunk_images_have_larger_pixels(tmp_path):
    for name in "abc":
        save(
            tmp_path / "scans" / "images" / f"{name}.png",
            np.arange(2048 * 512, dtype=np.uint32).reshape(2048, 512).astype(np.uint8),
        )
        save(tmp_path / "scans" / "masks" / f"{name}.png", np.eye(2048, 512, dtype=np.uint8) * np.uint8(255))
    rows = "".join(f"{name},{name},0.1\n" for name in "abc")
    assert with_table(tmp_path / "scans", f"id,patient,pixel_mm\n{rows}")[1] == [[0.2, 0.2]] * 3


@pytest.mark.parametrize("text", ["wide", "0", "-0.2", "nan", "inf", "200", '"0,2"'])
def test_a_cell_without_a_valid_pixel_size_is_named(raw, text):
    message = r"list\.csv: pixel_mm of b must be a number of mm from 0\.001 to 100, such as 0\.2, not "
    with pytest.raises(ValueError, match=message):
        with_table(raw, f"id,patient,pixel_mm\na,1,0.2\nb,2,{text}\nc,3,0.2\nd,4,0.2\n")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("pixel_width_mm", "has pixel_width_mm. Give the pixel size as pixel_mm alone, or as"),
        ("pixel_mm,pixel_width_mm,pixel_height_mm", "has pixel_mm and pixel_width_mm and pixel_height_mm. Give"),
        ("pixel_mm,Pixel_mm", "has the column pixel_mm more than once"),
    ],
)
def test_columns_that_are_unclear_are_named(raw, columns, message):
    rows = "".join(f"{name},{name}{',0.2' * len(columns.split(','))}\n" for name in "abcd")
    with pytest.raises(ValueError, match=rf"list\.csv: {message}"):
        with_table(raw, f"id,patient,{columns}\n{rows}")


def test_one_image_with_two_sizes_is_an_error(raw):
    with pytest.raises(ValueError, match="a has more than one pixel_mm; keep one of its rows only"):
        with_table(raw, "id,patient,pixel_mm\na,1,0.2\na,1,0.3\nb,2,0.2\n")


def test_a_manifest_used_as_a_table_gives_no_sizes(raw):
    """Its sizes are of prepared images, which may be smaller than the raw ones."""
    settings, manifest = prepared(raw, pixel_mm=0.2)
    content = (settings.prepared / "manifest.csv").read_text()
    assert manifest["pixel_width_mm"].tolist() == [0.2] * 4
    assert with_table(raw, content, pixel_mm=0.3)[1] == [[0.3, 0.3]] * 4
