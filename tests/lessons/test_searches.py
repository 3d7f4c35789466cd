import numpy as np
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
    assert said.startswith("The best Dice of the 5 random trials is 0.900, of 2 later trials 0.970.")
    one = trials(validation_dice=dice[:6], state=["complete"] * 5 + ["pruned"])
    said = lesson.say_search(one)
    assert "of 1 later trial 0.950. Pruned among the later ones: 1. A pruned trial has the Dice of an early" in said


def test_only_a_hyper_parameter_that_explains_more_than_chance_matters():
    dice = [0.80, 0.85, 0.88, 0.9, 0.91, 0.92, 0.91, 0.9, 0.88, 0.86, 0.82, 0.78]  # best in the middle
    table = trials(validation_dice=dice, filters=[4, 8, 16, 16, 8, 4] * 2, augmentation=[1, 0, 2] * 4)
    table = table.assign(learning_rate=np.geomspace(1e-4, 1e-2, 12), loss=["bce", "iou"] * 6)
    first, *others = lesson.say_matters(table).splitlines()
    assert first.startswith("learning_rate: 9") and first.endswith("(p = 0.002). It matters.")
    assert len(others) == 3 and all(line.endswith("This may be chance.") for line in others)
    assert lesson.say_matters(table.head(2)).count("This may be chance.") == 4


def test_the_chance_of_four_tests_is_that_of_all_together():
    """One in five tables without any effect has a hyper-parameter below 0.05, and one in twenty after Holm."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(40):
        columns = {"filters": rng.choice([4, 8, 16], 12), "loss": rng.choice(["bce", "iou"], 12)}
        rates = {"learning_rate": rng.uniform(1e-4, 1e-2, 12), "augmentation": rng.uniform(0, 2, 12)}
        found += "It matters." in lesson.say_matters(trials(validation_dice=rng.random(12), **columns, **rates))
    assert found <= 4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dice", [[0.0] * 6, [0.9], [np.nan] * 3])
def test_trials_of_one_dice_have_nothing_to_explain(dice):
    said = lesson.say_matters(trials(validation_dice=dice, filters=8, loss="bce"))
    assert said == "All trials have the same Dice, so there is nothing for a hyper-parameter to explain."


def test_noise_is_that_of_complete_trials_without_the_best_itself():
    table = trials(validation_dice=[0.9, 0.95, 0.9, 0.8], state=["complete", "pruned", "complete", "complete"])
    said = lesson.say_noise(table, [0.85, 0.88])
    assert "With the seed of the search, it has 0.900.\nSeeds alone change the Dice by up to 0.050." in said
    assert said.endswith("from the best: 1 of 2.")
    assert lesson.say_noise(table, [0.9, 0.9]).endswith("from the best: 1 of 2.")  # one is as good
    assert lesson.say_noise(table.tail(1), [0.8]).endswith("from the best: 0 of 0.")


def test_settings_are_trained_again_with_other_seeds(tmp_path, monkeypatch):
    seeds = []

    def train(run, name, progress, folder):
        seeds.append(run.seed)
        return pd.DataFrame({"val_dice": [0.5, 0.8 + run.seed / 100]})

    monkeypatch.setattr(lesson, "train", train)
    assert lesson.train_again(Settings(), "unet", 2) == pytest.approx([0.82, 0.83]) and seeds == [2, 3]
    seeds.clear()
    lesson.train_again(Settings(seed=2**32 - 2), "unet")
    assert seeds == [2**32 - 1, 0, 1]  # none is that of the search


def test_the_best_hyper_parameters_are_options_of_the_command_line():
    assert "--set filters=8 --set learning_rate=0.002" in lesson.options_of(Settings(learning_rate=0.002, filters=8))
