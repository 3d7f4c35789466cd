import numpy as np
import pandas as pd
import pytest

from helpers.figures import drawn
from helpers.tables import table_of
from lungnb.figures import plots
from lungnb.figures.theme import COLORS
from lungnb.metrics import OVERLAP_SCORES, Counts
from lungnb.networks.training import read_history


def scores_of(*models):
    rows = [
        {"model": model, "id": f"{n}", "patient": f"{n}", "split": "test"}
        | dict.fromkeys((*OVERLAP_SCORES, "loss"), 0.9 + 0.01 * n)
        for model in models
        for n in range(5)
    ]
    return pd.DataFrame(rows)


def test_charts_of_a_comparison():
    scores = scores_of("unet", "resunet")
    assert len(drawn(plots.score_boxes(scores))) == 4
    assert len(drawn(plots.confusion_matrices({"unet": Counts(5, 1, 1, 5), "resunet": Counts(0, 0, 0, 0)}))) == 2
    costs = {"parameters": [9, 8], "training_minutes": [1.0, 2.0], "milliseconds_per_image": [5.0, 6.0]}
    table = pd.DataFrame(
        {"dice": [0.9, 0.8], "dice_low": [0.8, 0.7], "dice_high": [0.95, 0.9]} | costs, index=["a", "b"]
    )
    assert len(drawn(plots.score_against_cost(table))) == 3
    counted = drawn(plots.score_against_cost(table.assign(multiplications=1e6), last="multiplications"))
    assert [axis.get_xlabel() for axis in counted][2] == "multiply-accumulates per image"


def test_limits_of_agreement_by_hand():
    """Areas 10 % too large and 10 % too small: a mean gap of about 0, and limits 1.96 deviations away."""
    rows = [("a", 100, 10, 0), ("b", 90, 0, 10), ("empty", 0, 0, 0)]
    scores = pd.DataFrame(rows, columns=["id", "tp", "fp", "fn"]).assign(tn=900, model="unet")
    axis = plots.bland_altman(scores).axes[0]
    gaps = np.array([200 * 10 / 210, -200 * 10 / 190])
    assert np.allclose(axis.collections[0].get_offsets()[:, 1], gaps)
    assert np.allclose(axis.collections[0].get_offsets()[:, 0], [100 / 1010, 100 / 1000])
    levels = [0, *(gaps.mean() + np.array([0, -1.96, 1.96]) * gaps.std(ddof=1))]  # where both are the same, and these
    assert np.allclose([line.get_ydata()[0] for line in axis.lines], levels)


def test_one_image_has_no_limits_of_agreement():
    scores = pd.DataFrame({"model": ["unet"], "tp": [100], "fp": [10], "fn": [0], "tn": [900]})
    axis = plots.bland_altman(scores).axes[0]
    assert [text.get_text() for text in axis.texts] == ["+9.5"]
    assert len(axis.lines) == 2  # where both areas are the same, and the mean
    nothing = plots.bland_altman(scores.assign(tp=0, fp=0)).axes[0]
    assert not nothing.texts and len(nothing.lines) == 1


def test_the_diamond_is_the_mean_over_patients():
    scores = scores_of("unet").assign(dice=0.9)
    scores["patient"] = ["a"] + ["b"] * (len(scores) - 1)
    scores.loc[scores.index[0], "dice"] = 0.1
    diamond = next(line for line in plots.score_boxes(scores).axes[0].lines if line.get_marker() == "D")
    assert diamond.get_ydata() == pytest.approx([0.5])


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
    for axis in (whole.axes[1], singles["loss_validation"].axes[0]):  # one dash per model
        assert len(axis.lines) == len(models) == len({line.get_linestyle() for line in axis.lines})
        for line, history in zip(axis.lines, histories.values(), strict=True):
            np.testing.assert_allclose(line.get_ydata(), history["val_loss"])
    assert whole.axes[0].get_ylim() == whole.axes[1].get_ylim()
    assert len(whole.axes[2].get_xticks()) == len(models)


def test_a_network_has_the_same_colour_in_every_figure():
    both, alone = (plots.learning_curves(histories_of(*names)) for names in (("unet", "r2unet"), ("r2unet",)))
    colours = [
        [line.get_color() for line in figure.axes[1].lines if line.get_alpha() is None] for figure in (both, alone)
    ]
    assert colours[0][1] == colours[1][0] != colours[0][0]


def test_charts_name_the_split_that_was_scored():
    for split in ("test", "validation"):
        figure = plots.score_boxes(scores_of("unet").assign(split=split))
        assert figure.get_suptitle() == f"Scores of each of 5 {split} images"


def test_learning_curves_of_a_trained_model(trained):
    assert len(drawn(plots.learning_curves({"unet": read_history(trained, "unet")}))) == 3


def test_seeds_are_drawn_as_differences_from_the_mean_of_the_first_network():
    table = pd.DataFrame({"model": ["unet", "r2unet"] * 3, "seed": [1, 1, 2, 2, 3, 3]})
    table["dice"] = [0.9, 0.8, 0.8, 0.7, 0.7, 0.9]
    first, second = drawn(plots.seed_scores({"quick": table, "published": table[table["model"] == "unet"]}))
    assert [text.get_text() for text in first.get_yticklabels()] == ["U-Net", "R2U-Net"]
    means, points = ([line for line in first.lines if line.get_linestyle() == dash] for dash in ("-", "None"))
    assert [line.get_xdata()[0] for line in means] == pytest.approx([0, 0])
    assert [sorted(line.get_xdata()) for line in points] == [pytest.approx([-0.1, 0, 0.1])] * 2
    band = first.patches[0].get_bbox()
    assert [band.x0, band.x1] == pytest.approx([-0.1, 0.1]) and second.get_title() == "published"
    (alone,) = drawn(plots.seed_scores(table))  # as in 0.1.0
    assert len(alone.lines) == len(first.lines) and not alone.get_title()


def test_one_image_has_a_gap_and_no_limits():
    scores = pd.DataFrame({"id": ["a"], "tp": [100], "fp": [10], "fn": [0], "tn": [900], "model": ["unet"]})
    axis = plots.bland_altman(scores).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert texts == ["+9.5"] and not any("nan" in text for text in texts)
    assert not plots.bland_altman(scores.assign(tp=0, fp=0)).axes[0].texts  # no lung in both masks


@pytest.mark.parametrize(
    ("unit", "axis_label", "tolerance"), [("mm", "mm", "2 mm"), ("%", "% of the longer side", "0.5 %")]
)
def test_distances_are_drawn_with_their_unit_and_without_a_mean(unit, axis_label, tolerance):
    table = table_of(unet=[0.9, 0.5, 0.8], resunet=[0.9, 0.9, 0.9]).assign(unit=unit)
    figure = plots.distance_boxes(table)
    hd95, assd, nsd = figure.axes
    assert hd95.get_ylabel() == assd.get_ylabel() == axis_label and tolerance in nsd.get_ylabel()
    assert [axis.get_title() for axis in figure.axes] == ["HD95", "ASSD", "NSD"]
    assert "failed masks: U-Net 1, ResUNet 0" in figure.get_suptitle()
    assert not any(line.get_marker() == "D" for line in hd95.lines)  # the diamond of a mean


def test_a_network_has_its_colour_whichever_networks_are_beside_it():
    histories = histories_of("compact_unet", "unet")
    lines = plots.learning_curves(histories).axes[1].lines
    assert [line.get_color() for line in lines[:2]] == [COLORS[5], COLORS[0]]
    table = pd.DataFrame({"model": ["transunet"] * 2, "seed": [2, 3], "dice": [0.9, 0.91]})
    markers = [line for line in plots.seed_scores({"": table}).axes[0].lines if line.get_linestyle() == "None"]
    assert {line.get_color() for line in markers} == {COLORS[4]}


def test_more_networks_than_colours_are_drawn():
    names = [f"net_{number}" for number in range(len(COLORS) + 1)]
    curves = plots.learning_curves(histories_of(*names)).axes[1].lines[: len(names)]
    assert curves[0].get_color() == curves[-1].get_color() != curves[1].get_color()
