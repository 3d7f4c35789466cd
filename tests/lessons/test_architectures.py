import numpy as np
import pandas as pd
import pytest

from helpers.tables import assert_readable
from lungnb.evaluation.published import published_networks, read_published
from lungnb.lessons import architectures
from lungnb.networks import build_model


def curve_of(dice, cost):
    """Return a history whose epochs cost the same computing."""
    epochs = pd.Series(range(len(dice)))
    return pd.DataFrame({"epoch": epochs, "val_dice": dice, "computed": (epochs + 1) * cost})


def summary_of(**networks):
    """Return a table as `seed_summary` gives it, from the Dice of each seed."""
    return pd.DataFrame(
        {
            "dice": map(np.mean, networks.values()),
            "dice_low": map(min, networks.values()),
            "dice_high": map(max, networks.values()),
        },
        index=[*networks],
    )


def test_equal_computing_gives_the_cheap_network_more_epochs():
    curves = {"unet": curve_of([0.5, 0.7, 0.9], 3), "compact_unet": curve_of([0.4, 0.6, 0.8], 1)}
    table = architectures.at_equal_computing(curves)
    assert_readable(table.rename_axis("model"))
    assert table["epochs"].to_dict() == {"unet": 1, "compact_unet": 3}
    assert table["dice"].to_dict() == {"unet": 0.5, "compact_unet": 0.8}
    said = architectures.say_budgets(table).splitlines()
    assert "U-Net is ahead in this training: validation Dice 0.900." in said[0]
    assert said[1].endswith("Compact U-Net is ahead: 0.800 after 3 epochs.")


def test_a_network_too_large_for_the_budget_has_no_dice():
    curves = {"unet": curve_of([0.5, 0.7], 1), "transunet": curve_of([0.9, 0.95], 5)}
    table = architectures.at_equal_computing(curves)
    assert table.loc["transunet", "epochs"] == 0 and np.isnan(table.loc["transunet", "dice"])
    assert "U-Net is ahead: 0.700 after 2 epochs" in architectures.say_budgets(table)


def test_networks_with_overlapping_seeds_are_listed_apart_from_lower_ones():
    said = architectures.say_chance(summary_of(A=[0.97, 0.98], B=[0.96, 0.972], C=[0.94, 0.95])).splitlines()
    assert said[0].startswith("A has the highest mean Dice, 0.975,")
    assert said[1] == "Some seeds are as good: B (mean 0.009 lower)."
    assert said[2] == "Every seed is lower: C (mean 0.030 lower)."


def test_one_network_has_no_others():
    assert len(architectures.say_chance(summary_of(A=[0.9, 0.91])).splitlines()) == 1


def test_conclusions_are_counted_whichever_network_comes_first():
    rows = [
        ("unet", "a", "first is better"),
        ("b", "unet", "undecided"),
        ("b", "c", "undecided"),
        ("d", "unet", "second is better"),
    ]
    tests = pd.DataFrame(rows, columns=["first", "second", "conclusion"])
    said = architectures.say_tests(tests, "unet")
    verdicts = "better than 2 of them, not relevantly different from 0, undecided for 1."
    assert said == f"U-Net against 3 other networks: {verdicts}"


def test_the_published_networks_in_words():
    """On these films, no network with attention is better than the U-Net, as notebook 08 says."""
    films = published_networks()
    first, *_ = said = architectures.say_chance(films).splitlines()
    assert first.startswith("Compact U-Net, 16 filters has the highest mean Dice, 0.973")
    as_good = next(line for line in said if line.startswith("Some seeds are as good"))
    assert all(name in as_good for name in ("TransUNet", "Attention U-Net", "R2U-Net", "ResUNet", ": U-Net ("))
    assert architectures.say_price(films, 0.005).startswith("The best, Compact U-Net, 16 filters (0.973), is also the")
    tests = read_published("networks/networks_tests.csv")
    assert "better than 1 of them, not relevantly different from 3, undecided for 1" in architectures.say_tests(
        tests, "unet"
    )


def test_gates_are_between_0_and_1_at_half_the_side_of_their_level():
    network = build_model("attention_unet", size=32, filters=2)
    openings = architectures.gate_openings(network, np.random.default_rng(1).random((32, 32)))
    assert {level: opening.shape for level, opening in openings.items()} == {
        1: (16, 16),
        2: (8, 8),
        3: (4, 4),
        4: (2, 2),
    }
    assert all(0 <= opening.min() and opening.max() <= 1 for opening in openings.values())


def test_open_gates_in_words():
    truth = np.zeros((8, 8), bool)
    truth[:4] = True
    opening = np.repeat([[0.8], [0.2]], 2, axis=1)
    said = "Level 1: mean α 0.80 inside the lungs, 0.20 outside. It opens more inside."
    assert architectures.say_gates({1: opening}, truth) == said
    closed = architectures.say_gates({1: np.full((2, 2), 0.5)}, truth)
    assert closed.endswith("0.50 inside the lungs, 0.50 outside. It hardly tells lung from background.")
    assert "not among" in architectures.say_gates({}, truth)


def test_gates_that_do_not_vary_open_by_the_sigmoid():
    network = build_model("attention_unet", size=32, filters=2)
    for layer in network.layers:
        if layer.name.endswith("_gate"):
            layer.set_weights([0 * weight for weight in layer.get_weights()])
    openings = architectures.gate_openings(network, np.ones((32, 32)))
    assert all(opening == pytest.approx(0.5) for opening in openings.values())


def test_the_channel_that_is_most_like_the_lungs_is_found_at_each_stage():
    network = build_model("unet", size=32, filters=2, depth=2)
    image, truth = np.random.default_rng(1).random((32, 32)), np.zeros((32, 32), bool)
    truth[8:24, 8:24] = True
    channels = architectures.lung_channels(network, image, truth)
    assert [*channels] == ["encoder_1", "encoder_2", "bridge", "decoder_2", "decoder_1", "lung"]
    assert channels["bridge"].values.shape == (8, 8) and channels["lung"].values.shape == (32, 32)
    assert all(-1 <= channel.correlation <= 1 for channel in channels.values())


def test_a_channel_that_equals_the_mask_has_a_correlation_of_1():
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    channels = np.stack([np.zeros((2, 2)), [[5.0, 5.0], [1.0, 1.0]], [[1.0, 1.0], [5.0, 5.0]]], axis=-1)
    found = architectures._most_like(channels, truth)
    assert found.correlation == pytest.approx(1) and found.values[0, 0] == 5
