import numpy as np
import pandas as pd
import pytest

from helpers.tables import table_of
from lungnb.evaluation.differences import BETTER, EQUIVALENT, UNDECIDED, paired_tests
from lungnb.evaluation.readable_tables import TEST_COLUMNS, readable
from lungnb.evaluation.scoring import comparison_table
from lungnb.lessons.comparison import (
    say_area,
    say_choice,
    say_epochs,
    say_failures,
    say_generalisation,
    say_pairs,
    say_pixels,
    say_spread,
)
from lungnb.metrics import Counts


def pair(conclusion, low, high, difference=0.004, p=0.01, names=("unet", "resunet")):
    limits = {"low": low, "high": high, "low_90": low / 2, "high_90": high / 2, "difference": difference}
    return dict(zip(("first", "second"), names, strict=True)) | limits | {"p_holm": p, "conclusion": conclusion}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair(BETTER, 0.004, 0.009, 0.006), "does not contain 0, and the difference is at least the margin"),
        (pair(EQUIVALENT, -0.002, 0.003), "The 90 % interval lies within the margin."),
        (pair(UNDECIDED, -0.002, 0.02), "contains 0, and the 90 % interval reaches beyond the margin"),
        (pair(UNDECIDED, 0.002, 0.006), "does not contain 0, but the difference is smaller than the margin"),
        (pair(UNDECIDED, 0.002, 0.02, 0.008, p=0.06), "but the corrected p is not below 0.05"),
        (pair(UNDECIDED, np.nan, np.nan), "contains 0"),
    ],
)
def test_each_conclusion_has_its_reason(row, reason):
    text = say_pairs(pd.DataFrame([row]), 0.005)
    name = "U-Net is better" if row["conclusion"] == BETTER else row["conclusion"]
    assert text.startswith(f"U-Net and ResUNet: {name}. ") and reason in text


def test_one_network_has_no_pair():
    table = table_of(unet=[0.9, 0.8])
    tests = paired_tests(table)
    assert say_pairs(tests, 0.005) == "One network alone has no pair to compare."
    assert say_choice(tests, comparison_table(table)) == "With one network, there is nothing to choose."
    assert readable(tests, TEST_COLUMNS).empty


def history(dice, val_dice):
    return pd.DataFrame({"dice": [0.1, dice], "val_dice": [0.1, val_dice], "val_loss": [0.9, 0.2]})


def test_a_network_that_is_far_lower_on_unseen_images_overfits():
    scores = table_of(unet=[0.9, 0.92], resunet=[0.95, 0.95])
    histories = {"unet": history(0.99, 0.92), "resunet": history(0.96, 0.95)}
    lines = say_generalisation(histories, scores).splitlines()
    assert lines[0] == "U-Net: Dice 0.990 in training, 0.920 in validation, 0.910 on test images."
    assert lines[2] == "U-Net is 0.080 lower on test images than in training: a sign of overfitting."
    alike = say_generalisation({"resunet": histories["resunet"]}, scores)
    assert alike.endswith("No network is more than 0.02 lower on test images than in training: no sign of overfitting.")


def test_failures_are_counted_and_the_worst_is_named():
    scores = table_of(unet=[0.5, 0.9, 0.8, 0.95, 0.96], resunet=[0.9, 0.4, 0.8, 0.95, 0.96])
    lines = say_failures(scores).splitlines()
    assert lines[0] == "2 of 10 masks failed: the Dice is below 0.7."
    assert lines[1].startswith(
        "The lowest Dice is 0.400: ResUNet on 001. It misses 0.0% of the lung and adds 1.0% outs"
    )
    assert lines[2] == "Of the 3 hardest images of each network, 3 are the same for all networks."
    good = say_failures(table_of(unet=[0.9, 0.95]))
    assert good.startswith("None of 2 masks failed: every Dice is at least 0.7.") and len(good.splitlines()) == 2


def test_areas_have_the_limits_of_agreement():
    scores = pd.DataFrame({"model": "unet", "tp": [100, 100, 0], "fp": [10, 20, 0], "fn": [0, 0, 0]})
    gaps = np.array([200 * 10 / 210, 200 * 20 / 220])
    low, high = gaps.mean() + np.array([-1.96, 1.96]) * gaps.std(ddof=1)
    assert say_area(scores) == (
        f"U-Net: the lungs are {gaps.mean():.1f} % larger on average, and larger in 2 of 2 images. 2 are between the "
        f"limits {low:+.1f} % and {high:+.1f} %."
    )
    assert "0.0 % smaller" not in say_area(scores.assign(fp=0, fn=[10, 20, 0])) and "smaller" in say_area(
        scores.assign(fp=0, fn=[10, 20, 0])
    )
    assert say_area(scores.head(1)) == "One image has no limits of agreement."


def test_the_quickest_of_the_equally_good_is_chosen():
    table = pd.DataFrame(
        {"dice": [0.95, 0.949, 0.9], "milliseconds_per_image": [30.0, 20.0, 10.0]},
        index=["U-Net", "ResUNet", "R2U-Net"],
    )
    tests = [pair(EQUIVALENT, -0.001, 0.002), pair(BETTER, 0.04, 0.06, 0.05, names=("unet", "r2unet"))]
    tests += [pair(EQUIVALENT, -0.001, 0.002, names=("resunet", "r2unet"))]  # not with the best
    chosen = say_choice(pd.DataFrame(tests), table)
    assert chosen == (
        "No relevant difference to U-Net: ResUNet. Of these networks, ResUNet is the quickest, with 20.0 ms per image."
    )
    assert say_choice(pd.DataFrame(tests[1:]), table).startswith("No network is shown to be as good as U-Net")


def test_each_network_s_wrong_pixels_spread_and_epochs_are_a_line():
    counts = {"unet": Counts(9, 5, 1, 85), "resunet": Counts(9, 1, 1, 89)}
    assert say_pixels(counts) == (
        "U-Net misses 1 pixel of lung and adds 5: it draws the lungs too large.\n"
        "ResUNet misses 1 pixel of lung and adds 1: it draws the lungs as often too small as too large."
    )
    histories = {name: pd.DataFrame({"val_loss": loss}) for name, loss in (("unet", [2, 1]), ("resunet", [1, 2]))}
    assert say_epochs(histories) == (
        "U-Net keeps epoch 2 of 2, the last, so more epochs may help.\n"
        "ResUNet keeps epoch 1 of 2: later epochs were no better."
    )
    empty = say_spread(pd.DataFrame({"model": "unet", "id": ["a", "b"], "dice": [1.0, 1.0], "hd95": [0.0, 0.0]}))
    assert empty.endswith("the lowest is 1.000 (a).")
