"""Interpret what notebooks 03 to 05 show, in sentences that are computed from the reader's own trainings."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lungnb.artefacts import MODEL
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation.differences import WORSE
from lungnb.evaluation.runs import trained
from lungnb.lessons.text import signed
from lungnb.networks.callbacks import MONITOR
from lungnb.networks.losses import get_loss
from lungnb.networks.records import RunRecord
from lungnb.networks.training import read_history, read_run
from lungnb.segmentation.predict import segment
from lungnb.settings import Settings, counted, title_of

LESSON_LOSSES = ("bce", "dice", "iou", "bce_iou")
_SIDE, _RADIUS = 128, 24  # of the picture and of the disk, px
_CONFIDENCE = 0.95  # probability inside the shifted disk; 1 - this outside
GOOD_DICE = 0.95  # the table counts the epochs up to this validation Dice
MEETING = 0.01  # curves of Dice that are nearer than this meet
_OVERFITTING = 1.2  # a validation loss above this multiple of the training loss is a sign of overfitting


def disk(shift_px: int = 0) -> np.ndarray:
    """Return a mask `(128, 128)` of a disk of radius 24 px, moved to the right.

    Example:
        >>> bool((disk(8)[:, 8:] == disk()[:, :-8]).all())
        True
    """
    y, x = np.indices((_SIDE, _SIDE)) - _SIDE // 2
    return np.asarray(y**2 + (x - shift_px) ** 2 <= _RADIUS**2)


def shift_losses(shifts_px: Sequence[int] = range(0, 49, 2)) -> pd.DataFrame:
    """Return the losses of a disk that is predicted too far to the right with probability 0.95, one row per shift."""
    probabilities = [np.where(disk(shift), _CONFIDENCE, 1 - _CONFIDENCE) for shift in shifts_px]
    return _losses(probabilities, pd.Index(shifts_px, name="shift_px"))


def confidence_losses(confidences: Sequence[float] = (0.55, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)) -> pd.DataFrame:
    """Return the losses of a perfect mask, one row per confidence (of lung inside, of background outside).

    The Dice of all these masks is 1, because a mask holds the pixels with a probability above 0.5.
    """
    probabilities = [np.where(disk(), confidence, 1 - confidence) for confidence in confidences]
    return _losses(probabilities, pd.Index(confidences, name="confidence"))


def _losses(probabilities: Sequence[np.ndarray], index: pd.Index) -> pd.DataFrame:
    predicted = np.stack(probabilities).astype("float32")[..., None]
    truth = np.broadcast_to(disk()[None, ..., None], predicted.shape).astype("float32")
    return pd.DataFrame({name: np.asarray(get_loss(name)(truth, predicted)) for name in LESSON_LOSSES}, index=index)


def say_learning(history: pd.DataFrame) -> str:
    """Return what a history, one row per epoch, shows: the kept epoch, whether more epochs may help, and overfitting.

    Example:
        >>> epochs = {"epoch": [0, 1], "loss": [0.9, 0.5], "val_loss": [0.8, 0.4], "val_dice": [0.9, 0.95]}
        >>> print(say_learning(pd.DataFrame(epochs)))
        Epoch 2 of 2 is kept: validation loss 0.400, validation Dice 0.950.
        The validation loss was lowest in the last epoch, so more epochs may lower it further.
        In the kept epoch the training loss is 0.500: no sign of overfitting.
    """
    kept = int(history[MONITOR].argmin())
    row = history.iloc[kept]
    trend = "No later epoch lowered the validation loss."
    if kept == len(history) - 1:
        trend = "The validation loss was lowest in the last epoch, so more epochs may lower it further."
    is_overfitted = row[MONITOR] > _OVERFITTING * row["loss"]
    gap = "much lower, a sign of overfitting" if is_overfitted else "no sign of overfitting"
    return (
        f"Epoch {int(row['epoch']) + 1} of {len(history)} is kept: validation loss {row[MONITOR]:.3f}, validation Dice "
        f"{row['val_dice']:.3f}.\n{trend}\nIn the kept epoch the training loss is {row['loss']:.3f}: {gap}."
    )


def say_scores(scores: pd.DataFrame) -> str:
    """Return the mean Dice of a table of `evaluate`, its range, and what is wrong in the worst image."""
    worst = scores.sort_values("dice").iloc[0]
    lung = max(worst["tp"] + worst["fn"], 1)
    return (
        f"Mean Dice {scores['dice'].mean():.3f} over {len(scores)} images; the lowest is {scores['dice'].min():.3f}, "
        f"the highest {scores['dice'].max():.3f}.\nIn the worst image, {worst['id']}, the network misses "
        f"{worst['fn'] / lung:.1%} of the lung and adds {worst['fp'] / lung:.1%} outside it."
    )


def say_loss(scores: pd.DataFrame) -> str:
    """Return how much of the mean loss in a table of `evaluate` the errors of the masks explain."""
    overlap = 1 - scores["iou"].mean()
    return (
        f"The mean loss is {scores['loss'].mean():.3f}. The masks themselves are wrong by 1 - IoU = {overlap:.3f} and "
        f"1 - Dice = {1 - scores['dice'].mean():.3f}."
    )


def say_skips(with_skips: pd.DataFrame, without: pd.DataFrame) -> str:
    """Return the gain by skip connections in validation Dice, from two histories, after the same number of epochs."""
    epochs = min(len(with_skips), len(without))
    dice, dice_without = (float(history["val_dice"].iloc[epochs - 1]) for history in (with_skips, without))
    return (
        f"After {epochs} epochs the validation Dice is {dice:.3f} with skip connections and {dice_without:.3f} "
        f"without them: a difference of {signed(round(dice, 3) - round(dice_without, 3))}."
    )


def training_table(settings: Settings, model_names: Sequence[str]) -> pd.DataFrame:
    """Return a row for each of these networks that is trained on the prepared data: how good it is, and what it costs.

    `dice` and `loss` are those of the validation images at the kept epoch, before masks are cleaned. `epochs_to_good`
    is the first epoch with a validation Dice of at least 0.95, or missing. `seconds_per_epoch` is a median.
    Multiply-accumulates are of one image.
    """
    histories = read_histories(settings, model_names)
    rows = {name: _training_row(read_run(settings, name), history) for name, history in histories.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def read_histories(settings: Settings, model_names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the histories of those networks that are trained on the prepared data, by name."""
    return {name: read_history(settings, name) for name in trained(settings, model_names)}


def _training_row(run: RunRecord, history: pd.DataFrame) -> dict[str, object]:
    best, good = history.iloc[int(history[MONITOR].argmin())], history[history["val_dice"] >= GOOD_DICE]
    return {
        "dice": best["val_dice"], "loss": best[MONITOR], "epochs": len(history),
        "epochs_to_good": good["epoch"].iloc[0] + 1 if len(good) else np.nan,
        "seconds_per_epoch": history["seconds"].median(),
        "parameters": run["parameters"], "multiplications": run.get("multiplications"),
    }  # fmt: skip


def say_differences(table: pd.DataFrame, model_name: str) -> str:
    """Return two sentences on a network of a `training_table` against each of the others.

    Example:
        >>> columns = {"dice": [0.98, 0.97], "parameters": [100, 110], "seconds_per_epoch": [2, 3]}
        >>> table = pd.DataFrame(columns | {"epochs_to_good": [4, 5]}, index=["unet", "resunet"])
        >>> print(say_differences(table, "resunet"))
        ResUNet against U-Net: validation Dice -0.0100, 1.10 times the parameters, 1.5 times the seconds per epoch.
        A Dice of 0.95 was reached: ResUNet after epoch 5, U-Net after epoch 4.
    """
    rows = {str(name): row for name, row in table.iterrows()}
    first = rows.pop(model_name)
    if not rows:
        return f"Only {title_of(model_name)} is trained yet. To compare, run notebook 03 and then this cell again."
    return "\n".join(_say_difference(first, row, title_of(model_name), title_of(name)) for name, row in rows.items())


def _say_difference(first: pd.Series, second: pd.Series, title: str, other: str) -> str:
    ratio, gap = first / second, first["dice"] - second["dice"]
    epochs = (row["epochs_to_good"] for row in (first, second))
    good = ["never" if np.isnan(epoch) else f"after epoch {epoch:.0f}" for epoch in epochs]
    return (
        f"{title} against {other}: validation Dice {signed(gap, 4)}, {ratio['parameters']:.2f} times the parameters, "
        f"{ratio['seconds_per_epoch']:.1f} times the seconds per epoch.\nA Dice of {GOOD_DICE} was reached: {title} "
        f"{good[0]}, {other} {good[1]}."
    )


def say_answer(tests: pd.DataFrame) -> str:
    """Return the differences of the second network in a table of `with_published`, and what the most trainings answer.

    A network has a training for each seed and fold.

    Example:
        >>> table = pd.DataFrame({"source": ["here", "there"], "first": "unet", "second": "resunet", "seeds": [1, 3]})
        >>> table = table.assign(folds=1, difference=[0.004, -0.006], conclusion=["undecided", WORSE])
        >>> print(say_answer(table))
        ResUNet against U-Net: -0.004 (here), +0.006 (there).
        The answer of the most trainings (there): yes, ResUNet is better than U-Net.
    """
    title, lines = title_of(tests["second"].iloc[0]), []
    source = tests["source"].iloc[(tests["seeds"] * tests["folds"]).argmax()]
    for first, rows in tests.groupby("first", sort=False):
        said = [f"{signed(-row['difference'])} ({row['source']})" for _, row in rows.iterrows()]
        lines.append(f"{title} against {title_of(str(first))}: {', '.join(said)}.")
    most = tests[tests["source"] == source]
    beaten, others = ([*map(title_of, rows["first"])] for rows in (most[most["conclusion"] == WORSE], most))
    answer = f"no, {title} is not shown to be better than {' or '.join(others)}"
    if beaten:
        answer = f"yes, {title} is better than {' and '.join(beaten)}"
    return "\n".join([*lines, f"The answer of the most trainings ({source}): {answer}."])


def say_meeting(histories: Mapping[str, pd.DataFrame]) -> str:
    """Return from which epoch on the validation Dice of all networks is nearly the same, from their histories.

    Example:
        >>> dice = {"unet": [0.5, 0.9, 0.97, 0.98], "resunet": [0.8, 0.85, 0.975, 0.98]}
        >>> say_meeting({name: pd.DataFrame({"val_dice": values}) for name, values in dice.items()})
        'From epoch 3 on, the validation Dice of these networks differ by at most 0.01.'
    """
    if len(histories) < 2:
        return "Only one network is trained yet, so there are no curves to compare."
    dice = pd.DataFrame({name: history["val_dice"] for name, history in histories.items()}).dropna()
    gaps = dice.max(axis=1) - dice.min(axis=1)
    apart = int((gaps > MEETING).to_numpy().nonzero()[0].max(initial=-1)) + 1  # the last epoch with a larger gap
    if apart == len(dice):
        return f"The validation Dice of these networks still differ by {gaps.iloc[-1]:.3f} in epoch {apart}."
    return f"From epoch {apart + 1} on, the validation Dice of these networks differ by at most {MEETING:g}."


def say_shared_errors(settings: Settings, model_names: Sequence[str], rows: pd.DataFrame) -> str:
    """Return how many of the last network's wrong pixels the others get wrong, too, in the images of `rows`."""
    prepared, last = open_prepared(settings), title_of(model_names[-1])
    others = " and ".join(title_of(name) for name in model_names[:-1])
    if not others:
        return f"Only {last} is trained yet, so there are no errors to compare."
    engines = [engine_of(load_model(settings.results / name / MODEL)) for name in model_names]
    wrong = shared = 0
    for row in rows.to_dict("records"):
        image, truth = prepared.pair(row)
        *of_others, of_last = (segment(image, engine).mask != truth for engine in engines)
        wrong += int(of_last.sum())
        shared += int((of_last & np.all(of_others, axis=0)).sum())
    return (
        f"{shared / max(wrong, 1):.0%} of the pixels that {last} gets wrong in {counted(len(rows), 'image')} are also "
        f"wrong in the masks of {others}."
    )
