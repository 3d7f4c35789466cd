"""Say in words which of several networks is better, how sure that is, and what it costs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from lungnb.evaluation.evaluation import compare, read_scores, trained_settings
from lungnb.evaluation.statistics import FEW_IMAGES, MIN_PATIENTS_TO_TEST, SIGNIFICANT_P, paired_tests
from lungnb.settings import Settings, counted, title_of

_NO_GAP = 0.0005  # a smaller difference of Dice is 0.000 when it is rounded
_SAME_SPEED_RATIO = 1.2  # of the slowest to the quickest; timing them again may change as much


def verdict(settings: Settings, model_names: list[str]) -> str:
    """Return, computed from the tables, which model is better, how sure that is, and at what cost."""
    scores, comparison = read_scores(settings, model_names), compare(settings, model_names)
    ranking = comparison["dice"].sort_values(ascending=False)
    names = {title_of(name): name for name in model_names}
    text = [_best(settings, scores, comparison.loc[ranking.index[0]], is_alone=len(ranking) == 1)]
    tests = paired_tests(scores)
    for other in ranking.index[1:]:
        pair = {names[ranking.index[0]], names[other]}
        test = tests[tests["first"].isin(pair) & tests["second"].isin(pair)].iloc[0]
        text.append(_how_far_behind(other, ranking.iloc[0] - ranking[other], test))
    text += [_cost(comparison), _differences(settings, model_names)]
    images = int(comparison["images"].iloc[0])
    if images < FEW_IMAGES:
        few = f"With {counted(images, 'image')}, fewer than {FEW_IMAGES},"
        text.append(f"{few} none of this should be taken for more than a hint.")
    return " ".join(filter(None, text))


def _best(settings: Settings, scores: pd.DataFrame, best: pd.Series, is_alone: bool) -> str:
    """Return the mean Dice of the best model, given as a row of `compare`, with its interval."""
    low, high = best[["dice_low", "dice_high"]]
    interval = "" if np.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    where = f"on {counted(int(best['images']), scores['split'].iloc[0] + ' image')} of {settings.name}."
    if is_alone:
        return f"{best.name} has a mean Dice of {best['dice']:.3f}{interval} {where}"
    return f"{best.name} has the highest mean Dice, {best['dice']:.3f}{interval}, {where}"


def _how_far_behind(model: str, gap: float, test: pd.Series) -> str:
    """Return how far a model is behind the best, and how sure that is by a row of `paired_tests`."""
    behind = f"{model} is {gap:.3f} behind" if gap >= _NO_GAP else f"{model} is less than 0.001 behind"
    if test["patients"] < MIN_PATIENTS_TO_TEST:
        return f"{behind}, on too few patients to tell that from chance."
    by = f"(paired Wilcoxon, Holm-corrected p = {test['p_holm']:.2g})"
    if test["p_holm"] >= SIGNIFICANT_P:
        return f"{behind}, which chance alone could explain {by}."
    if test["difference"] * test["effect"] < 0:  # because a few images that went wrong decide the mean
        return f"{behind} in the mean and yet ahead on most images, which is unlikely to be chance {by}."
    return f"{behind}, a difference that is unlikely to be chance {by}."


def _cost(comparison: pd.DataFrame) -> str:
    """Return which model of a table of `compare` is the quickest, and which the smallest."""
    times, small = comparison["milliseconds_per_image"], comparison["parameters"].idxmin()
    quick, size = times.idxmin(), f"{comparison['parameters'].min():,} parameters"
    speed = f"{times.min():.0f} ms an image on this machine"
    if len(comparison) == 1:
        return f"It takes {speed} and has {size}."
    if times.max() <= _SAME_SPEED_RATIO * times.min():
        return f"All are about as quick, at {speed} or little more; {small} is the smallest with {size}."
    return f"{quick} is the quickest at {speed}, {small if small != quick else 'and'} the smallest with {size}."


def _differences(settings: Settings, model_names: list[str]) -> str:
    """Return in what the models' trainings differ besides the model, as a sentence, or nothing."""
    trained = [dataclasses.asdict(trained_settings(settings, name)) for name in model_names]
    values = {name: [each[name] for each in trained] for name in trained[0] if name not in ("models", "profile")}
    unlike = [f"{name} {', '.join(map(str, each))}" for name, each in values.items() if any(each[0] != v for v in each)]
    if not unlike:
        return ""
    return f"They were trained with different settings, which may explain the difference: {'; '.join(unlike)}."
