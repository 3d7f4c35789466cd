"""Say in words which of several networks is better, how sure that is, and what it costs."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from lungnb.evaluation.differences import BETTER, EQUIVALENT, POWER, UNDECIDED, WORSE, min_patients, paired_tests
from lungnb.evaluation.statistics import (
    FEW_PATIENTS,
    decisive_patients,
    mean_interval,
    paired_by_patient,
    patient_means,
    say_p,
)
from lungnb.networks.records import settings_of
from lungnb.settings import EQUIVALENCE_MARGIN, Settings, counted, title_of

_ABOUT_MASKS = "This is about these masks only: another version or another setting of a program may reverse the order."
_NO_GAP = 0.0005  # a smaller difference of Dice is 0.000 when it is rounded
_SAME_SPEED_RATIO = 1.2  # of the slowest to the quickest; timing them again may change as much


def verdict(settings: Settings, model_names: list[str], repeated: pd.DataFrame | None = None) -> str:
    """Return, computed from the tables, which model is better, how sure that is, and at what cost.

    The first line is the answer. Each other line gives a reason for the answer, or a limit of it. If the models were
    trained with several seeds or on several folds, pass the table of `train_repeatedly` as `repeated`. Without it, the
    conclusions are about the trained networks only.
    """
    # Imported here, because it loads TensorFlow, which conclusions about masks of other programs do not need.
    from lungnb.evaluation.evaluation import compare_runs, read_scores
    from lungnb.networks.training import read_run

    scores, runs = read_scores(settings, model_names), [read_run(settings, name) for name in model_names]
    split, comparison = scores["split"].iloc[0], compare_runs(scores, runs)
    table = scores if repeated is None else repeated
    answer, reasons, warnings = _judge(table, settings.name, settings.equivalence_margin, f"{split} image")
    scope = _scope(table) if len(runs) > 1 else ""
    lines = [answer, *reasons, scope, _cost(comparison), _differences(map(settings_of, runs)), *warnings]
    return "\n".join(filter(None, lines))


def verdict_on_masks(table: pd.DataFrame, truth: str) -> str:
    """Return which program's masks are better, and how sure that is, from a table of scores of the same images.

    The first line is the answer, as in `verdict`. `truth` names the ground truth. Errors are those of `paired_tests`.
    """
    answer, reasons, warnings = _judge(table, truth, EQUIVALENCE_MARGIN, "image")
    return "\n".join([answer, *reasons, *([_ABOUT_MASKS] if table["model"].nunique() > 1 else []), *warnings])


def _judge(table: pd.DataFrame, where: str, margin: float, image: str) -> tuple[str, list[str], list[str]]:
    """Return the answer, the reasons for it, and warnings.

    `image` is the noun for an image in the sentences. For a single model, the answer is its mean Dice.
    """
    means = pd.Series({name: patient_means(rows).mean() for name, rows in table.groupby("model", sort=False)})
    best, *others = means.sort_values(ascending=False, kind="stable").index
    tests = paired_tests(table, margin)
    against = [_against(best, other, tests, margin, len(means)) for other in others]
    mean = _best(where, table[table["model"] == best], image, is_alone=not others)
    answer, reasons = (_answer(best, others, tests), [mean, *against]) if others else (mean, [])
    return answer, reasons, _warnings(table, best, others)


def _answer(best: str, others: list[str], tests: pd.DataFrame) -> str:
    """Return which models the best one is better than, which are equivalent, and which are undecided."""
    by_conclusion: dict[str, list[str]] = {}
    for other in others:
        conclusion = _pair_of(best, other, tests)["conclusion"]
        by_conclusion.setdefault(BETTER if conclusion == WORSE else conclusion, []).append(title_of(other))
    forms = {  # each with the word before the last of the others
        BETTER: ("{best} is better than {others}.", " and "),
        EQUIVALENT: ("No relevant difference between {best} and {others}.", " or "),
        UNDECIDED: ("Whether {best} is better than {others} is undecided.", " or "),
    }
    return " ".join(
        form.format(best=title_of(best), others=_listed(by_conclusion[conclusion], last_word))
        for conclusion, (form, last_word) in forms.items()
        if conclusion in by_conclusion
    )


def _listed(names: list[str], last_word: str) -> str:
    return last_word.join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _pair_of(one: str, other: str, tests: pd.DataFrame) -> pd.Series:
    """Return the row of `paired_tests` that compares two models."""
    return tests[tests["first"].isin([one, other]) & tests["second"].isin([one, other])].iloc[0]


def _best(where: str, scores: pd.DataFrame, image: str, is_alone: bool) -> str:
    """Return the mean Dice of the best model over patients, with its interval."""
    (low, high), title = mean_interval(scores, "dice"), title_of(scores["model"].iloc[0])
    mean = f"{patient_means(scores).mean():.3f}"
    interval = "" if np.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    images, patients = (scores[column].nunique() for column in ("id", "patient"))
    where = f"on {counted(images, image)} of {counted(patients, 'patient')} of {where}."
    if is_alone:
        return f"{title} has a mean Dice of {mean}{interval} {where}"
    return f"{title} has the highest mean Dice, {mean}{interval}, {where}"


def _against(best: str, other: str, tests: pd.DataFrame, margin: float, models: int) -> str:
    """Return how far a model is behind the best, and what a row of `paired_tests` concludes about both."""
    pair = _pair_of(best, other, tests)
    sign = 1 if pair["first"] == best else -1
    (low, high), (low_90, high_90) = (
        sorted(sign * pair[[f"low{level}", f"high{level}"]].to_numpy(float)) for level in ("", "_90")
    )
    gap = abs(pair["difference"])
    behind = f"{title_of(other)} is {f'{gap:.3f}' if gap >= _NO_GAP else 'less than 0.001'} behind"
    if np.isnan(low):
        return f"{behind}, on one patient, so nothing can be concluded."
    behind += f" (95 % interval {low:.3f} to {high:.3f}, {say_p(pair['p_holm'])} after Holm)"
    if pair["conclusion"] in (BETTER, WORSE):
        return f"{behind}: {title_of(best)} is better."
    if pair["conclusion"] == EQUIVALENT:
        inner = f"the 90 % interval ({low_90:.3f} to {high_90:.3f}) lies within {margin:g} of 0"
        return f"{behind}: no relevant difference, because {inner}."
    return f"{behind}: {UNDECIDED}. {_what_it_takes(pair, margin, models)}"


def _what_it_takes(test: pd.Series, margin: float, models: int) -> str:
    """Return in a sentence what a study needs to decide an undecided row of `paired_tests`."""
    is_single, needed = test["seeds"] == test["folds"] == 1, test["patients_needed"]
    if is_single and test["patients"] < (least := min_patients(models)):
        return f"With fewer than {least} patients, no test can call one of the {models} better."
    if test["patients"] < needed:
        more = "" if is_single else ", and more trainings, because trainings differ too"
        return f"To find a difference of {margin:g} (power {POWER:.0%}) takes about {needed:,.0f} patients{more}."
    if not is_single:
        return f"The patients are enough to find a difference of {margin:g}; more seeds or folds may decide."
    return f"The difference is close to the margin of {margin:g}, so only many more patients could decide."


def _scope(table: pd.DataFrame) -> str:
    """Return whether the conclusions are about trained networks or about architectures."""
    seeds, folds = (table[name].nunique() if name in table else 1 for name in ("seed", "fold"))
    if seeds == folds == 1:
        return (
            "Each network was trained once, so this is about these trained networks only. Another seed may reverse "
            "the order."
        )
    counts = [counted(number, noun) for number, noun in ((seeds, "seed"), (folds, "fold")) if number > 1]
    return f"The tests count how trainings differ ({' and '.join(counts)}), so this is about the architectures."


def _warnings(table: pd.DataFrame, best: str, others: list[str]) -> list[str]:
    """Return sentences about one patient who decides, and about failures that few patients may not show."""
    by_patient = paired_by_patient(table).groupby("patient").mean()
    series = {f"of {title_of(best)}'s Dice": by_patient[best]}
    series |= {f"of the difference to {title_of(name)}": by_patient[best] - by_patient[name] for name in others}
    text = []
    for what, values in series.items():
        if patients := decisive_patients(values):
            who = f"patient {patients[0]}" if len(patients) == 1 else _listed(patients, " and ")
            text.append(
                f"Without {who}, the interval of the mean {what} does not contain the mean of all patients. So the "
                "interval and the test are not reliable: look at these images."
            )
    if (count := len(by_patient)) < FEW_PATIENTS:
        unseen = 1 - 0.05 ** (1 / count)  # the share of failures that is absent from 5 % of such samples
        text.append(
            f"The images are of only {counted(count, 'patient')} (fewer than {FEW_PATIENTS}). A failure that up to "
            f"{unseen:.0%} of all patients have may be absent here by chance. No interval and no test counts such "
            "failures."
        )
    return text


def _cost(comparison: pd.DataFrame) -> str:
    """Return which model of a table of `compare` is the quickest, and which the smallest."""
    times, small = comparison["milliseconds_per_image"], comparison["parameters"].idxmin()
    quick, size = times.idxmin(), f"{comparison['parameters'].min():,} parameters"
    speed = f"{times.min():.0f} ms an image on this machine"
    if len(comparison) == 1:
        return f"It takes {speed} and has {size}."
    if times.max() <= _SAME_SPEED_RATIO * times.min():
        return f"All are about as quick, at {speed} or little more; {small} is the smallest with {size}."
    return f"{quick} is the quickest at {speed}, {f'{small} is' if small != quick else 'and'} the smallest with {size}."


def _differences(trainings: Iterable[Settings]) -> str:
    """Return a sentence on the settings in which the models' trainings differ, or "" if they differ in none."""
    trained = [dataclasses.asdict(settings) for settings in trainings]
    values = {name: [each[name] for each in trained] for name in trained[0] if name not in ("models", "profile")}
    unlike = [f"{name} {', '.join(map(str, each))}" for name, each in values.items() if any(each[0] != v for v in each)]
    if not unlike:
        return ""
    return f"They were trained with different settings, which may explain the difference: {'; '.join(unlike)}."
