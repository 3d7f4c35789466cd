import pandas as pd
import pytest

from lungnb.lessons import searches as lesson
from lungnb.networks.losses import LOSSES
from lungnb.settings import Settings


def trials(**columns):
    plain = {"state": "complete", "learning_rate": 1e-3, "augmentation": 1.0}
    return pd.DataFrame({"number": range(1, len(columns["validation_dice"]) + 1)} | plain | columns)


@pytest.mark.parametrize(
    "change", [{"learning_rate": 2e-4}, {"learning_rate": 2e-2}, {"augmentation": 0.0}, {"filters": 8}]
)
def test_the_invented_network_is_best_at_its_stated_optimum(change):
    assert lesson.known_dice(**lesson.BEST | change) < lesson.known_dice(**lesson.BEST) == lesson.BEST_DICE


def test_every_loss_of_lungnb_has_a_price_and_the_best_one_none():
    costs = {loss: lesson.BEST_DICE - lesson.known_dice(**lesson.BEST | {"loss": loss}) for loss in LOSSES}
    assert min(costs, key=costs.get) == lesson.BEST["loss"] and sorted(costs.values())[1] > 0


def test_tpe_learns_what_random_search_does_not():
    searches = lesson.repeat_searches(trials=20, seeds=range(8))
    means = searches.groupby(["sampler", "number"])["true_best"].mean()
    assert means["tpe"][5] == means["random"][5]  # the same seeds, as long as both are random
    assert means["tpe"][20] > means["random"][20] > means["random"][5]
    last = searches[searches["number"] == 20]
    assert (last["measured_best"] - last["true_best"]).mean() > 0  # luck is chosen, too
    assert "TPE is as good after" in lesson.say_samplers(searches)
    assert "too high by 0.00" in lesson.say_optimism(searches)


def test_few_trials_are_called_random_and_more_are_compared():
    dice = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97]
    assert "All 5 trials were drawn at random" in lesson.say_search(trials(validation_dice=dice[:5]))
    said = lesson.say_search(trials(validation_dice=dice))
    assert "The median of the 5 random trials is 0.700, of the 2 later ones 0.960." in said
    assert "Best validation Dice 0.970 in trial 7, lowest 0.500." in said


@pytest.mark.parametrize(
    ("rate", "augmentation", "expected"),
    [
        (1e-3, 1.0, "is not near an end"),
        (1.1e-4, 1.0, "near the lower end of learning_rate:"),
        (9e-3, 1.95, "near the upper end of learning_rate and the upper end of augmentation:"),
    ],
)
def test_a_best_trial_at_an_end_is_named(rate, augmentation, expected):
    table = trials(validation_dice=[0.9, 0.8], learning_rate=[rate, 1e-3], augmentation=[augmentation, 1.0], filters=8)
    assert expected in lesson.say_edges(table, learning_rate=1e-3, filters=8)


def test_the_best_number_of_filters_may_be_an_end_and_few_trials_show_little():
    table = trials(validation_dice=[0.9, 0.8], learning_rate=1e-3, augmentation=1.0, filters=[16, 8])
    assert "near the upper end of filters: search" in lesson.say_edges(table, learning_rate=1e-3, filters=8)
    table = table.assign(filters=8)
    assert "A few trials cannot show" in lesson.say_edges(table, learning_rate=1e-3, filters=8)


def test_the_best_hyper_parameters_are_options_of_the_command_line():
    assert "--set filters=8 --set learning_rate=0.002" in lesson.options_of(Settings(learning_rate=0.002, filters=8))
