"""Search a known function for notebook 12, to show what a search learns; interpret a search of real trainings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lungnb.evaluation.search import MAX_AUGMENTATION, RANDOM_TRIALS, import_optuna, suggest
from lungnb.settings import Settings, counted

# An invented network: the highest validation Dice, the hyper-parameters that reach it, and the Dice that others lose.
BEST_DICE = 0.96
BEST: dict[str, Any] = {"learning_rate": 2e-3, "loss": "bce_iou", "filters": 16, "augmentation": 0.8}
_FALL_OF_RATE, _FALL_OF_AUGMENTATION = 0.15, 0.03  # of Dice, per squared decade and per squared unit
_LOSS_COSTS = {"bce_iou": 0.0, "bce_dice": 0.001, "bce": 0.006, "dice": 0.008}
_OTHER_LOSS_COSTS = 0.011
_HALF_THE_FILTERS_COST = 0.008
RATE, FILTERS = 1e-3, 8  # the search tries values around them
NOISE = 0.003  # SD; another seed changes a Dice by up to 0.003 (results/published/montgomery-seeds)
SAMPLERS = {"random": "random search", "tpe": "TPE (learns)"}
_MANY_TRIALS = 30
_NEAR = 3  # a learning rate at most so many times as large or as small as the best one is near it
_EDGE = 0.1  # of the range; if the best trial is nearer to an end, search again


def known_dice(learning_rate: float, loss: str, filters: int, augmentation: float) -> float:
    """Return the validation Dice of the invented network with these hyper-parameters.

    Example:
        >>> known_dice(**BEST), round(known_dice(**BEST | {"learning_rate": 2e-2}), 3)
        (0.96, 0.81)
    """
    fall = _FALL_OF_RATE * np.log10(learning_rate / BEST["learning_rate"]) ** 2
    fall += _FALL_OF_AUGMENTATION * (augmentation - BEST["augmentation"]) ** 2
    fall += _HALF_THE_FILTERS_COST * np.log2(BEST["filters"] / filters)
    return float(BEST_DICE - fall - _LOSS_COSTS.get(loss, _OTHER_LOSS_COSTS))


def search_known(sampler: str, trials: int, seed: int) -> pd.DataFrame:
    """Search the hyper-parameters of the invented network as `search_settings` does, one row per trial.

    `sampler` is one of `SAMPLERS`. `dice` is the true value. `measured` is the true value with noise, as a training
    would measure it; the search uses only this value. `measured_best` and `true_best` are both values of the trial with
    the highest measured Dice so far. Raises ValueError without Optuna.
    """
    optuna, rng = import_optuna(), np.random.default_rng(seed)
    samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    options = {"n_startup_trials": RANDOM_TRIALS} if sampler == "tpe" else {}
    study, rows = optuna.create_study(direction="maximize", sampler=samplers[sampler](seed=seed, **options)), []
    best = (0.0, 0.0)
    for number in range(1, trials + 1):
        trial = study.ask()
        dice = known_dice(**suggest(trial, RATE, FILTERS))
        measured = dice + rng.normal(0, NOISE)
        study.tell(trial, measured)
        best = max(best, (measured, dice))
        rows.append({"number": number, **trial.params, "dice": dice, "measured": measured})
        rows[-1] |= {"measured_best": best[0], "true_best": best[1]}
    return pd.DataFrame(rows)


def repeat_searches(trials: int = 30, seeds: Sequence[int] = range(20)) -> pd.DataFrame:
    """Search the invented network with each sampler and seed; return all trials, with columns `sampler` and `seed`."""
    return pd.concat(
        [search_known(name, trials, seed).assign(sampler=name, seed=seed) for name in SAMPLERS for seed in seeds],
        ignore_index=True,
    )


def say_samplers(searches: pd.DataFrame) -> str:
    """Return the mean Dice of both samplers, and what learning saves, from `repeat_searches`.

    A learning rate is near the best one if it is at most three times as large or as small.
    """
    means = searches.groupby(["sampler", "number"])["true_best"].mean()
    random, tpe = means["random"], means["tpe"]
    count = len(random)
    earlier = tpe.index[tpe >= random.iloc[-1]]
    saved = f"TPE is as good after {earlier[0]} trials" if len(earlier) else "TPE is never as good"
    later = searches[searches["number"] > RANDOM_TRIALS]
    is_near = np.log10(later["learning_rate"] / BEST["learning_rate"]).abs() <= np.log10(_NEAR)
    near = is_near.groupby(later["sampler"]).mean()
    return (
        f"After {RANDOM_TRIALS} trials: random search {random[RANDOM_TRIALS]:.4f}, TPE {tpe[RANDOM_TRIALS]:.4f}; both "
        f"were random so far.\nAfter {count} trials: random search {random.iloc[-1]:.4f}, TPE {tpe.iloc[-1]:.4f}; the "
        f"best possible is {BEST_DICE}.\n{saved} as random search after {count}.\nAfter the first "
        f"{RANDOM_TRIALS}, {near['tpe']:.0%} of the trials of TPE have a learning rate within {_NEAR} times the best "
        f"one; of the random trials, {near['random']:.0%}."
    )


def say_optimism(searches: pd.DataFrame) -> str:
    """Return by how much the measured Dice of the chosen trials exceeds the true Dice, from `repeat_searches`."""
    last = searches[searches["number"] == searches["number"].max()]
    gap = last["measured_best"] - last["true_best"]
    return (
        f"The measured Dice of the chosen trial is too high by {gap.mean():.4f} on average, and it is too high in "
        f"{(gap > 0).mean():.0%} of the searches."
    )


def say_search(table: pd.DataFrame) -> str:
    """Return the best and the lowest Dice of a `search_settings` table, and whether the sampler had begun to learn.

    Example:
        >>> trials = {"number": [1, 2], "state": "complete", "learning_rate": [1e-3, 1e-2], "augmentation": [1.0, 0.5]}
        >>> print(say_search(pd.DataFrame(trials | {"validation_dice": [0.8, 0.9]})))
        Best validation Dice 0.900 in trial 2, lowest 0.800.
        All 2 trials were drawn at random, because the sampler learns from 5 trials on. They cannot show that it learns.
    """
    ranked = table.dropna(subset="validation_dice").sort_values("validation_dice")
    best, learned = ranked.iloc[-1], len(table) - RANDOM_TRIALS
    first = (
        f"Best validation Dice {best['validation_dice']:.3f} in trial {best['number']}, lowest "
        f"{ranked['validation_dice'].iloc[0]:.3f}."
    )
    if learned <= 0:
        return (
            f"{first}\nAll {len(table)} trials were drawn at random, because the sampler learns from {RANDOM_TRIALS} "
            "trials on. They cannot show that it learns."
        )
    is_random = table["number"] <= RANDOM_TRIALS
    medians = [table.loc[part, "validation_dice"].median() for part in (is_random, ~is_random)]
    return (
        f"{first}\nThe median of the {RANDOM_TRIALS} random trials is {medians[0]:.3f}, of the {learned} later ones "
        f"{medians[1]:.3f}."
    )


def options_of(best: Settings) -> str:
    """Return the hyper-parameters of `best_settings` as options of `lungnb train` and `lungnb report`.

    Example:
        >>> options_of(Settings(learning_rate=0.00040791)).partition(" --set rotation")[0]
        '--set loss=bce_iou --set filters=16 --set learning_rate=0.000408'
    """
    names = ("learning_rate", "rotation", "zoom", "contrast")
    numbers = [f"--set {name}={getattr(best, name):.3g}" for name in names]
    return " ".join([f"--set loss={best.loss} --set filters={best.filters}", *numbers])


def say_edges(table: pd.DataFrame, learning_rate: float, filters: int) -> str:
    """Return whether the best complete trial is near an end of the ranges, around `learning_rate` and `filters`."""
    best = table[table["state"] == "complete"].nlargest(1, "validation_dice").iloc[0]
    decade = np.log10(best["learning_rate"] / learning_rate)  # -1 to 1, a tenth to ten times the rate
    places = {"learning_rate": (decade + 1) / 2, "augmentation": best["augmentation"] / MAX_AUGMENTATION}
    near = [
        f"the {'lower' if place < _EDGE else 'upper'} end of {name}"
        for name, place in places.items()
        if not _EDGE <= place <= 1 - _EDGE
    ]
    if best["filters"] in (max(filters // 2, 1), 2 * filters):
        near.append(f"the {'lower' if best['filters'] < filters else 'upper'} end of filters")
    if near:
        return f"The best trial is near {' and '.join(near)}: search again around it."
    few = " A few trials cannot show that the ranges are wide enough." if len(table) < _MANY_TRIALS else ""
    return f"The best of these {counted(len(table), 'trial')} is not near an end.{few}"
