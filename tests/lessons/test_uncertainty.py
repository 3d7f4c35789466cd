import numpy as np
import pandas as pd
import pytest

from helpers.tables import examined
from lungnb.evaluation.probabilities import best_temperature
from lungnb.evaluation.review import review_gain
from lungnb.lessons import uncertainty as lesson


def bins(probability, observed):
    return pd.DataFrame({"probability": probability, "observed": observed, "share": 1 / len(probability)})


def calibration(**columns):
    plain = {"temperature": 2.0, "calibration_error": 0.1, "corrected_error": 0.02, "best_threshold": 0.4}
    plain |= {"dice": 0.95, "dice_at_best": 0.951, "augmented_dice": 0.949}
    return pd.DataFrame(plain | columns, index=["U-Net"])


def test_invented_networks_have_the_confidence_that_they_are_named_after():
    said = {name: lesson.say_confidence(table) for name, table in lesson.confidence_examples().items()}
    assert all(f"It is {name}" in sentence for name, sentence in said.items())


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ([0.105, 0.895], "calibrated"),
        ([0.3, 0.7], "over-confident"),
        ([0.0, 1.0], "under"),
        ([0.3, 1.0], "too low on both"),
        ([0.0, 0.7], "too high on both"),
    ],
)
def test_confidence_is_said_of_both_sides(observed, expected):
    assert expected in lesson.say_confidence(bins([0.1, 0.9], observed))[:30]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "U-Net: T = 2.00, towards 0.5. The error falls: 0.100 to 0.020."),
        (
            {"temperature": 0.5, "corrected_error": 0.2},
            "away from 0.5. The error rises: 0.100 to 0.200. T cannot correct it.",
        ),
        ({"corrected_error": 0.099}, "The error hardly changes: 0.100 to 0.099. T cannot"),
    ],
)
def test_the_sentence_on_a_temperature_agrees_with_it(columns, expected):
    assert expected in lesson.say_temperature(calibration(**columns))


def test_a_gain_below_the_margin_is_too_little():
    said = lesson.say_thresholds(calibration(), margin=0.005)
    assert "changes its Dice by at most 0.0010," in said and "by at most 0.0010: too little to matter." in said
    assert "changes of 0.005 and more matter." in lesson.say_thresholds(calibration(dice_at_best=0.96), margin=0.005)


def test_an_order_without_a_trend_may_be_chance():
    images = examined(dice=[0.8, 0.9, 0.7, 0.95], disagreement=[0.1, 0.2, 0.3, 0.4]).assign(patient=[*"abcd"])
    assert "This may be chance: U-Net" in lesson.say_order({"unet": images})
    alike = examined(dice=[0.8, 0.9, 0.7]).assign(patient=[*"abc"])  # all disagree alike
    assert "This may be chance: U-Net" in lesson.say_order({"unet": alike})


def test_many_images_of_few_patients_are_no_trend():
    """Twenty images in order have p < 0.001, but they are of three patients."""
    steps = np.arange(20) / 100
    images = examined(dice=0.9 - steps, disagreement=0.1 + steps).assign(patient=[*"a" * 8, *"b" * 8, *"cccc"])
    said = lesson.say_order({"unet": images})
    assert "over 3 patients" in said and "This may be chance: U-Net" in said


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.5, 0.9, 0.9, 0.95], "much better than chance"),
        ([0.8, 0.5, 0.9, 0.95], "no better than chance: it misses the worst mask"),
        (
            [0.97, 0.96, 0.98, 0.99],
            "no bad mask to find.\nEven a perfect choice would raise the lowest Dice by only 0.010.",
        ),
    ],
)
def test_a_gain_is_compared_with_chance(dice, expected):
    gains = pd.DataFrame({"unet": review_gain(examined(dice=dice), 0.25)}).T
    assert expected in lesson.say_gain(gains)


def test_a_difference_from_chance_is_shown_with_enough_digits():
    gain = {"images": 17, "looked_at": 2, "worst": 0.8752, "worst_left": 0.8752, "worst_ideal": 0.98}
    assert "worst Dice is 0.8752.\nChance would leave 0.8754" in lesson.say_gain(
        pd.DataFrame({"unet": gain | {"worst_by_chance": 0.8754}}).T
    )


def test_networks_with_one_verdict_share_a_line():
    images = examined(dice=[0.97, 0.96, 0.98, 0.99]).assign(patient=[*"abcd"])
    reviewed = {"unet": images, "resunet": images}
    gains = pd.DataFrame({name: review_gain(images, 0.25) for name in reviewed}).T
    assert lesson.say_gain(gains).startswith("U-Net, ResUNet: no Dice is below 0.9")
    assert len(lesson.say_order(reviewed).splitlines()) == 2


def test_a_temperature_corrects_the_over_confident_example():
    logits = np.array([-2.0, 2.0])
    border = pd.DataFrame({"logit": 2 * logits, "lung": 1 / (1 + np.exp(-logits)), "pixels": 1})
    assert best_temperature(border.assign(other=1 - border["lung"])) == pytest.approx(2, abs=0.01)


def test_damaged_images_are_worse_and_uncertain(trained):
    images = lesson.examine_damaged(trained, "unet", every=2, progress=False)
    assert images["damaged"].tolist() == [index % 2 == 0 for index in range(len(images))]
