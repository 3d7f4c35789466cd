import numpy as np
import pandas as pd
import pytest

from helpers.figures import drawn
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.evaluation.evaluation import evaluate
from lungnb.figures import pictures
from lungnb.formats.images import write_png
from lungnb.segmentation.predict import Segmentation


def test_grids_of_images():
    cells = [pictures.Cell(str(value), np.full((20, 30), value, np.uint8)) for value in range(7)]
    assert len(drawn(pictures.outline_grid(cells))) == 7


def test_a_legend_takes_other_names():
    mask = np.pad(np.ones((8, 8), bool), 4)
    figure = pictures.outline_grid([pictures.Cell("a", mask * 255, mask, mask)], names=("mask to check", "network"))
    assert [text.get_text() for text in figure.legends[0].texts] == ["mask to check", "network"]


def test_pictures_of_a_prepared_set(prepared):
    manifest = read_manifest(prepared)
    assert len(drawn(pictures.image_grid(open_prepared(prepared), manifest))) == 9


def test_pictures_of_a_trained_model(trained):
    scores = evaluate(trained, "unet", progress=False)
    rows = pictures.pick_images(scores)
    alone = pictures.model_grid(trained, ["unet"], rows)
    first = rows.iloc[0]
    titles = [first["id"], "ground truth", f"prediction of U-Net, Dice {first['dice']:.3f}"]
    assert [axis.get_title() for axis in alone.axes[:3]] == titles
    assert len(drawn(pictures.prediction_grid(trained, "unet", rows))) == 3 * len(rows)
    both = pictures.model_grid(trained, ["unet", "unet"], rows)
    assert len(drawn(both)) == 2 * len(rows)
    assert both.axes[0].get_title().replace("\n", " ") == f"U-Net, Dice {first['dice']:.3f} ({first['id']})"
    assert [text.get_text() for text in both.legends[0].get_texts()] == ["ground truth", "prediction"]
    worst = pictures.pick_images(scores, "worst", 9)
    titles = [axis.get_title() for axis in drawn(pictures.failure_gallery(trained, "unet", worst)) if axis.get_title()]
    assert titles == [f"{row.id}, Dice {row.dice:.3f}" for row in worst.itertuples()]


def test_pick_images():
    scores = pd.DataFrame([{"id": f"{n}", "split": "test", "dice": 0.9 + 0.01 * n} for n in range(5)] * 2)
    assert pictures.pick_images(scores)["id"].tolist() == ["0", "2", "4"]
    assert pictures.pick_images(scores, "worst", 2)["id"].tolist() == ["0", "1"]
    with pytest.raises(ValueError, match="worst or spread"):
        pictures.pick_images(scores, "best")


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_what_segment_found_is_drawn(shape):
    mask = np.zeros(shape, bool)
    mask[..., 5:15, 5:12] = True
    found = Segmentation(np.full(shape, 90, np.uint8), mask, mask.astype(np.float32))
    titles = [axis.get_title() for axis in drawn(pictures.show_segmentation(found))]
    assert titles == ["image", "overlay", "lungs"]
    assert len(drawn(pictures.show_segmentation(found, found))) == 6


def test_masks_of_tables_are_drawn_a_row_a_network(tmp_path):
    image, mask = np.full((20, 30), 9, np.uint8), np.eye(20, 30, dtype=bool)
    for name in ("images/a.png", "truth/a.png", "before/a_mask.png", "after/a_mask.png"):
        write_png(tmp_path / name, image if name.startswith("images") else mask)
    files = [str(tmp_path / "images" / name) for name in ("a.png", "b.nii", "c.png")]
    table = pd.DataFrame({"file": files, "mask": ["a_mask.png", "b_mask.nii.gz", None]})
    figure = pictures.mask_grid(tmp_path, {"before": table, "after": table}, tmp_path / "truth")
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["before: a", "after: a"]
    assert len(figure.axes[0].collections) == 2  # contours of both masks
    assert len(pictures.mask_grid(tmp_path, {"before": table}).axes[0].collections) == 1


def test_a_network_is_drawn_on_images_of_another_set(prepared):
    opened = open_prepared(prepared)
    row = opened.rows("train")[0]
    figure = pictures.elsewhere_grid(opened, None, pd.DataFrame([row | {"dice": 0.5}]))
    assert figure.axes[0].get_title() == f"{row['id']}, Dice 0.500"
