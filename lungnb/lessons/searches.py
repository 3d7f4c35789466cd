"""Search a known function for notebook 12, to show what a search learns; interpret a search of real trainings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lungnb.evaluation.differences import holm
from lungnb.evaluation.search import PARAMETERS, RANDOM_TRIALS, import_optuna, suggest
from lungnb.evaluation.statistics import say_p
from lungnb.files import remove
from lungnb.metrics import ROUNDING
from lungnb.networks.training import train
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
_SHUFFLES, _SURE = 2000, 0.05  # a share with a higher p may be chance


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
    """Return the mean Dice of both samplers, and what learning saves, from `repeat_searches`."""
    means = searches.groupby(["sampler", "number"])["true_best"].mean()
    random, tpe = means["random"], means["tpe"]
    count = len(random)
    earlier = tpe.index[tpe >= random.iloc[-1]]
    saved = f"TPE is as good after {earlier[0]} trials" if len(earlier) else "TPE is never as good"
    return (
        f"After {RANDOM_TRIALS} trials: random search {random[RANDOM_TRIALS]:.4f}, TPE {tpe[RANDOM_TRIALS]:.4f}; both "
        f"were random so far.\nAfter {count} trials: random search {random.iloc[-1]:.4f}, TPE {tpe.iloc[-1]:.4f}; the "
        f"best possible is {BEST_DICE}.\n{saved} as random search after {count}."
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
    """Return whether the sampler of a `search_settings` table had begun to learn, and what that brought.

    Example:
        >>> print(say_search(pd.DataFrame({"number": [1, 2], "validation_dice": [0.8, 0.9]})))
        All 2 trials were drawn at random, because the sampler learns from 5 trials on. They cannot show that it learns.
    """
    is_random = table["number"] <= RANDOM_TRIALS
    if is_random.all():
        return (
            f"All {len(table)} trials were drawn at random, because the sampler learns from {RANDOM_TRIALS} trials on. "
            "They cannot show that it learns."
        )
    random, later = table[is_random], table[~is_random]
    pruned = (later["state"] == "pruned").sum()
    return (
        f"The best Dice of the {RANDOM_TRIALS} random trials is {random['validation_dice'].max():.3f}, of "
        f"{counted(len(later), 'later trial')} {later['validation_dice'].max():.3f}. Pruned among the later ones: "
        f"{pruned}. A pruned trial has the Dice of an early epoch."
    )


def train_again(settings: Settings, model_name: str, count: int = 3) -> list[float]:
    """Return the validation Dice of `count` trainings with the next seeds, such as those of `best_settings`."""
    dices, folder = [], settings.results / "search" / "again"
    for more in range(1, count + 1):
        again = settings.replace(seed=(settings.seed + more) % 2**32)  # because NumPy takes no larger seed
        dices.append(float(train(again, model_name, False, folder)["val_dice"].max()))
        remove(folder)
    return dices


def say_noise(table: pd.DataFrame, again: Sequence[float]) -> str:
    """Return how far other seeds move the best trial, from `train_again`, and how many trials are within this range.

    Only complete trials of `search_settings` are compared, because the Dice of a pruned one is of an early epoch.

    Example:
        >>> table = pd.DataFrame({"validation_dice": [0.8, 0.9, 0.88], "state": "complete"})
        >>> print(say_noise(table, [0.87, 0.89]))
        The best trial with other seeds: 0.870 to 0.890. With the seed of the search, it has 0.900.
        Seeds alone change the Dice by up to 0.030. Other complete trials no further than that from the best: 1 of 2.
    """
    best, *others = table.loc[table["state"] == "complete", "validation_dice"].sort_values(ascending=False)
    spread = max(best, *again) - min(best, *again)
    near = sum(best - dice <= spread for dice in others)
    return (
        f"The best trial with other seeds: {min(again):.3f} to {max(again):.3f}. With the seed of the search, it has "
        f"{best:.3f}.\nSeeds alone change the Dice by up to {spread:.3f}. Other complete trials no further than that "
        f"from the best: {near} of {len(others)}."
    )


def say_best_trial(trainings: pd.DataFrame) -> str:
    """Return what a search brought: the Dice of its best trial (first column) and of other settings, by seed.

    Example:
        >>> print(say_best_trial(pd.DataFrame({"best trial": [0.9, 0.92, 0.88], "defaults": [0.87, 0.9, 0.89]})))
        best trial: mean Dice 0.900 over 3 seeds (0.880 to 0.920)
        defaults: mean Dice 0.887 over 3 seeds (0.870 to 0.900)
        The best trial is better with 2 of 3 seeds. Its mean is 0.013 higher.
    """
    count = counted(len(trainings), "seed")
    lines = [
        f"{name}: mean Dice {dices.mean():.3f} over {count} ({dices.min():.3f} to {dices.max():.3f})"
        for name, dices in trainings.items()
    ]
    gains = trainings.iloc[:, 0] - trainings.iloc[:, 1]
    change = f"{abs(gains.mean()):.3f} {'higher' if gains.mean() > 0 else 'lower'}"
    lines.append(f"The best trial is better with {(gains > 0).sum()} of {count}. Its mean is {change}.")
    return "\n".join(lines)


def effects_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much each hyper-parameter explains of the Dice of the trials of `search_settings`, the most first.

    `share` is the share of the variance of the ranks of the Dice that a parabola explains, or for the loss its groups.
    `p` is the share of shuffles of the ranks, 2,000 and the one that was found, that explain as much. It is corrected
    by the method of Holm, because each hyper-parameter has a test.

    Example:
        >>> table = pd.DataFrame({"validation_dice": np.arange(12), "learning_rate": np.geomspace(1e-4, 1e-2, 12)})
        >>> others = {"loss": ["bce", "iou"] * 6, "filters": [4, 8, 16, 16, 8, 4] * 2, "augmentation": [1, 0, 2] * 4}
        >>> effects_of(table.assign(**others)).round(3).loc["learning_rate"].to_dict()
        {'share': 1.0, 'p': 0.002}
    """
    shown = table.dropna(subset="validation_dice")
    ranks = stats.zscore(shown["validation_dice"].rank().to_numpy())
    rng, shares, chances = np.random.default_rng(0), {}, {}
    shuffled = np.array([ranks, *(rng.permutation(ranks) for _ in range(_SHUFFLES))]).T
    for name in PARAMETERS:
        if name == "loss":
            terms = pd.get_dummies(shown[name]).to_numpy(float)
        else:
            numbers = shown[name] if name == "augmentation" else np.log(shown[name])
            terms = np.vander(numbers, 3)
        explained = terms @ np.linalg.pinv(terms) @ shuffled
        every = (explained**2).mean(axis=0)
        shares[name], chances[name] = every[0], np.mean(every >= every[0] - ROUNDING)
    effects = pd.DataFrame({"share": pd.Series(shares), "p": holm(pd.Series(chances))})
    return effects.sort_values("share", ascending=False, kind="stable")


def say_matters(table: pd.DataFrame) -> str:
    """Return a line for each hyper-parameter of a table of `search_settings`: what it explains, and if it matters.

    Example:
        >>> print(say_matters(pd.DataFrame({"validation_dice": [0.9, 0.9]})))
        All trials have the same Dice, so there is nothing for a hyper-parameter to explain.
    """
    if table["validation_dice"].nunique() < 2:
        return "All trials have the same Dice, so there is nothing for a hyper-parameter to explain."
    return "\n".join(
        f"{name}: {share:.0%} of the variance ({say_p(p)}). {'It matters.' if p < _SURE else 'This may be chance.'}"
        for name, share, p in effects_of(table).itertuples()
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
