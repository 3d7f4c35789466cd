import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from lungnb import plots
from lungnb.evaluation import evaluate
from lungnb.metrics import SCORES, Counts
from lungnb.models import build_model
from lungnb.prepare import read_manifest
from lungnb.training import read_history


def scores_of(*models):
    rows = [
        {"model": model, "id": f"{n}", "split": "test"} | dict.fromkeys((*SCORES, "loss"), 0.9 + 0.01 * n)
        for model in models
        for n in range(5)
    ]
    return pd.DataFrame(rows)


def drawn(figure):
    """Render a figure; return its axes that show something."""
    assert isinstance(figure, Figure) and not plt.get_fignums()  # or a notebook would show it twice
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.has_data()]


def test_grids_of_images():
    images = [np.full((20, 30), value, np.uint8) for value in range(7)]
    assert len(drawn(plots.show_images(images, [str(n) for n in range(7)]))) == 7
    batch = np.random.default_rng(0).random((4, 16, 16, 1))
    assert len(drawn(plots.batch_grid(batch, batch > 0.5))) == 4


def test_pictures_of_a_prepared_set(prepared):
    manifest = read_manifest(prepared)
    assert len(drawn(plots.image_grid(prepared, manifest))) == 9
    assert len(drawn(plots.data_overview(prepared, manifest))) == 4


@pytest.mark.parametrize("name", ["unet", "resunet", "r2unet"])
def test_architecture_has_a_box_a_stage_and_a_skip_a_level(name):
    axis = plots.architecture(build_model(name, size=32, filters=4, depth=2)).axes[0]
    assert len(axis.patches) == 2 * 2 + 1
    texts = [text.get_text() for text in axis.texts]
    assert [text for text in texts if text.isdecimal()] == ["4", "8", "16", "8", "4"]


def test_architecture_with_an_encoder_of_another_network_goes_down_and_up():
    model = build_model("unet", size=32, filters=4, depth=3, encoder="mobilenetv2")
    texts = [text.get_text() for text in plots.architecture(model).axes[0].texts]
    assert [text for text in texts if text.endswith("²")] == ["32²", "16²", "8²", "4²", "8²", "16²", "32²"]


def test_pictures_of_a_trained_model(trained):
    scores = evaluate(trained, "unet", progress=False)
    rows = plots.pick_images(scores)
    alone = plots.model_grid(trained, ["unet"], rows)
    assert [axis.get_title() for axis in alone.axes[:3]] == ["image", "true mask", "U-Net finds"]
    assert len(drawn(plots.prediction_grid(trained, "unet", rows))) == 3 * len(rows)
    assert len(drawn(plots.model_grid(trained, ["unet", "unet"], rows))) == 2 * len(rows)
    assert len(drawn(plots.learning_curves({"unet": read_history(trained, "unet")}))) == 3


def test_charts_of_a_comparison():
    scores = scores_of("unet", "resunet")
    assert len(drawn(plots.score_boxes(scores))) == 4
    assert len(drawn(plots.confusion_matrices({"unet": Counts(5, 1, 1, 5), "resunet": Counts(0, 0, 0, 0)}))) == 2
    costs = {"parameters": [9, 8], "training_minutes": [1.0, 2.0], "milliseconds_per_image": [5.0, 6.0]}
    table = pd.DataFrame(
        {"dice": [0.9, 0.8], "dice_low": [0.8, 0.7], "dice_high": [0.95, 0.9]} | costs, index=["a", "b"]
    )
    assert len(drawn(plots.score_against_cost(table))) == 3


def histories_of(*models):
    columns = [prefix + score for prefix in ("", "val_") for score in ("loss", "accuracy", "dice", "iou")]
    return {
        model: pd.DataFrame({"epoch": range(4)} | {column: np.linspace(0.1, 0.8, 4) + n / 10 for column in columns})
        for n, model in enumerate(models)
    }


@pytest.mark.parametrize("models", [("unet",), ("unet", "resunet", "r2unet")])
@pytest.mark.parametrize(("split", "last"), [("test", "test"), ("validation", "validation_images")])
def test_nine_panels_of_loss_iou_and_dice(models, split, last):
    histories, scores = histories_of(*models), scores_of(*models).assign(split=split)
    whole = plots.split_panels(histories, scores)
    assert len(drawn(whole)) == 9
    singles = plots.single_panels(histories, scores)
    assert list(singles) == [f"{s}_{c}" for s in ("loss", "iou", "dice") for c in ("train", "validation", last)]
    assert all(len(drawn(figure)) == 1 for figure in singles.values())
    titles = [axis.get_title() for axis in whole.axes]
    assert titles[:3] == ["Loss, training", "Loss, validation", f"Loss, {split}"]
    assert [figure.axes[0].get_title() for figure in singles.values()] == titles
    for axis in (whole.axes[1], singles["loss_validation"].axes[0]):  # a line a model, told apart without colours
        assert len(axis.lines) == len(models) == len({line.get_linestyle() for line in axis.lines})
        for line, history in zip(axis.lines, histories.values(), strict=True):
            np.testing.assert_allclose(line.get_ydata(), history["val_loss"])
    assert whole.axes[0].get_ylim() == whole.axes[1].get_ylim()
    assert len(whole.axes[2].get_xticks()) == len(models)


def test_charts_name_the_split_that_was_scored():
    for split in ("test", "validation"):
        figure = plots.score_boxes(scores_of("unet").assign(split=split))
        assert figure.get_suptitle() == f"Scores of each of 5 {split} images"


def test_pick_images():
    scores = scores_of("unet", "resunet")
    assert plots.pick_images(scores)["id"].tolist() == ["0", "2", "4"]
    assert plots.pick_images(scores, "worst", 2)["id"].tolist() == ["0", "1"]
    with pytest.raises(ValueError, match="worst or spread"):
        plots.pick_images(scores, "best")
