import numpy as np
import pandas as pd
import pytest

from helpers.tables import assert_readable, table_of
from lungnb.datasets.prepared import open_prepared
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.published import with_published
from lungnb.lessons import trainings
from lungnb.networks.training import read_history
from lungnb.settings import EQUIVALENCE_MARGIN


def history_of(val_loss, loss, val_dice=None):
    columns = {"epoch": range(len(val_loss)), "loss": loss, "val_loss": val_loss}
    return pd.DataFrame(columns | {"val_dice": val_dice or [0.9] * len(val_loss)})


def test_losses_grow_with_the_shift_up_to_where_the_disks_part():
    table = trainings.shift_losses(range(0, 45, 4))
    assert (table.diff().iloc[1:] > 0).all(axis=None)
    np.testing.assert_allclose(table["bce"] + table["iou"], table["bce_iou"], rtol=1e-5)
    assert (table["iou"] >= table["dice"]).all() and 0.9 < table["dice"].iloc[-1] < 1


def test_the_loss_of_a_shift_by_hand():
    both, area = (trainings.disk() & trainings.disk(16)).sum(), trainings.disk().sum()
    wrong, pixels = 2 * (area - both), trainings.disk().size
    assert trainings.shift_losses([16])["bce"].iloc[0] == pytest.approx(
        -(wrong * np.log(0.05) + (pixels - wrong) * np.log(0.95)) / pixels, rel=1e-3
    )


def test_a_perfect_mask_has_a_loss_as_long_as_the_network_is_unsure():
    table = trainings.confidence_losses()
    assert (table.diff().iloc[1:] < 0).all(axis=None)
    assert table["bce_iou"].iloc[0] - table["bce_iou"].iloc[-1] > 1  # as notebook 03 says
    assert table.loc[0.8, "bce"] == pytest.approx(-np.log(0.8), rel=1e-3)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (history_of([0.8, 0.4], [0.9, 0.5]), ["Epoch 2 of 2 is kept", "more epochs may lower", "no sign"]),
        (history_of([0.4, 0.8, 0.9], [0.5, 0.4, 0.3]), ["Epoch 1 of 3", "No later epoch lowered", "no sign"]),
        (history_of([0.8, 0.4], [0.9, 0.2]), ["Epoch 2 of 2", "more epochs", "a sign of overfitting"]),
    ],
)
def test_the_sentence_on_learning_agrees_with_the_history(history, expected):
    lines = trainings.say_learning(history).splitlines()
    assert len(lines) == 3
    assert all(part in line for part, line in zip(expected, lines, strict=True))


def test_scores_and_losses_in_words():
    rows = [("a", 0.9, 0.82, 80, 10, 20, 0.3), ("b", 0.8, 0.67, 50, 5, 50, 0.5)]
    scores = pd.DataFrame(rows, columns=["id", "dice", "iou", "tp", "fp", "fn", "loss"])
    said = trainings.say_scores(scores)
    assert "Mean Dice 0.850 over 2 images; the lowest is 0.800, the highest 0.900." in said
    assert "worst image, b, the network misses 50.0% of the lung and adds 5.0% outside it." in said
    assert (
        "loss is 0.400. The masks themselves are wrong by 1 - IoU = 0.255 and 1 - Dice = 0.150."
        in trainings.say_loss(scores)
    )


def test_skips_are_compared_after_the_same_number_of_epochs():
    longer, shorter = history_of([1, 1, 1], [1, 1, 1], [0.5, 0.9, 0.99]), history_of([1, 1], [1, 1], [0.4, 0.8])
    assert "After 2 epochs the validation Dice is 0.900 with skip connections and 0.800" in trainings.say_skips(
        longer, shorter
    )


def test_only_trained_networks_are_in_the_table(trained):
    table = trainings.training_table(trained, ["unet", "resunet"])
    history = read_history(trained, "unet")
    assert_readable(table)
    assert [*table.index] == ["unet"] == trainings.trained(trained, ["resunet", "unet"])
    assert table.loc["unet", "dice"] == history["val_dice"][history["val_loss"].argmin()]
    assert [*trainings.read_histories(trained, ["resunet", "unet"])] == ["unet"]
    alone = trainings.say_differences(table, "unet")
    assert alone == "Only U-Net is trained yet. To compare, run notebook 03 and then this cell again."


def test_a_network_of_data_prepared_anew_is_not_compared(trained):
    manifest = trained.prepared / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("case_00", "case_99"))
    assert trainings.trained(trained, ["unet"]) == []


def test_differences_in_words():
    columns = {
        "dice": [0.98, 0.978],
        "parameters": [100, 200],
        "seconds_per_epoch": [2.0, 2.0],
        "epochs_to_good": [4.0, np.nan],
    }
    said = trainings.say_differences(pd.DataFrame(columns, index=["unet", "resunet"]), "resunet")
    assert "validation Dice -0.0020, 2.00 times the parameters" in said
    assert "A Dice of 0.95 was reached: ResUNet never, U-Net after epoch 4." in said


def test_the_rows_with_the_most_trainings_answer():
    here = paired_tests(table_of(unet=[0.9, 0.8, 0.7], resunet=[0.8, 0.7, 0.6], r2unet=[0.9, 0.9, 0.9]))
    said = trainings.say_answer(with_published(here, "r2unet", EQUIVALENCE_MARGIN)).splitlines()
    assert said[0].startswith("R2U-Net against U-Net: +0.100 (here), +0.000 (Montgomery, 1 training), -0.003 (")
    assert said[1].startswith("R2U-Net against ResUNet: +0.200 (here), +0.002 (Montgomery, 1 training), -0.002 (")
    assert said[2].endswith("(Montgomery, 15 trainings): no, R2U-Net is not shown to be better than U-Net or ResUNet.")
    many = with_published(here.assign(seeds=4, folds=5), "r2unet", EQUIVALENCE_MARGIN)
    for rows in (many, many[::-1]):
        assert "The answer of the most trainings (here): " in trainings.say_answer(rows)


def test_curves_that_do_not_meet_are_called_so():
    apart = {"unet": pd.DataFrame({"val_dice": [0.9, 0.9]}), "resunet": pd.DataFrame({"val_dice": [0.9, 0.95]})}
    assert trainings.say_meeting(apart) == "The validation Dice of these networks still differ by 0.050 in epoch 2."
    assert trainings.say_meeting({"unet": apart["unet"]}).startswith("Only one network is trained yet")


def test_a_network_shares_all_errors_with_itself(trained):
    rows = open_prepared(trained).manifest.head(2)
    said = trainings.say_shared_errors(trained, ["unet", "unet"], rows)
    assert said == "100% of the pixels that U-Net gets wrong in 2 images are also wrong in the masks of U-Net."
    assert "no errors to compare" in trainings.say_shared_errors(trained, ["unet"], rows)
