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
        {"model": model, "id": f"{n}", "split": "test"} | dict.fromkeys(SCORES, 0.9 + 0.01 * n)
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


def test_pictures_of_a_trained_model(trained):
    scores = evaluate(trained, "unet", progress=False)
    rows = plots.pick_images(scores)
    assert len(drawn(plots.prediction_grid(trained, "unet", rows))) == 3 * len(rows)
    assert len(drawn(plots.model_grid(trained, ["unet", "unet"], rows))) == 2 * len(rows)
    assert len(drawn(plots.learning_curves({"unet": read_history(trained, "unet")}))) == 2


def test_charts_of_a_comparison():
    scores = scores_of("unet", "resunet")
    assert len(drawn(plots.score_boxes(scores))) == 4
    assert len(drawn(plots.confusion_matrices({"unet": Counts(5, 1, 1, 5), "resunet": Counts(0, 0, 0, 0)}))) == 2
    costs = {"parameters": [9, 8], "training_minutes": [1.0, 2.0], "milliseconds_per_image": [5.0, 6.0]}
    table = pd.DataFrame(
        {"dice": [0.9, 0.8], "dice_low": [0.8, 0.7], "dice_high": [0.95, 0.9]} | costs, index=["a", "b"]
    )
    assert len(drawn(plots.score_against_cost(table))) == 3


def test_pick_images():
    scores = scores_of("unet", "resunet")
    assert plots.pick_images(scores)["id"].tolist() == ["0", "2", "4"]
    assert plots.pick_images(scores, "worst", 2)["id"].tolist() == ["0", "1"]
    with pytest.raises(ValueError, match="worst or spread"):
        plots.pick_images(scores, "best")
