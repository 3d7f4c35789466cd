"""A model on a split to a table with one row an image; a comparison of models from such tables.

Masks are the probabilities, resized to the prepared image's size, above 0.5; nothing is cleaned up and nothing is
chosen on the test images.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from lungnb.backend import keras
from lungnb.files import need, write_json, written
from lungnb.images import read_image, read_mask
from lungnb.inference import THRESHOLD, load_model, predict
from lungnb.losses import get_loss
from lungnb.metrics import SCORES, Counts, count_pixels, scores
from lungnb.prepare import read_manifest
from lungnb.settings import PROFILES, RECIPES, SPLITS, Settings, title_of
from lungnb.training import data_digest, read_run

FEW = 50  # images, under which an interval or a test says little


def evaluate(settings: Settings, model_name: str, split: str = "test", progress: bool = True) -> pd.DataFrame:
    """Score a trained model on a split: a row an image with the counts of pixels, every score, loss, and milliseconds.

    The loss is the one that the model was trained with, of the probabilities at the prepared image's size against its
    mask; training takes it at the network's size. The milliseconds are those of one image at a time, resizing included,
    reading and writing left out. For the test split, `scores.csv` and `summary.json` are written beside the model. A
    data set prepared without a test split is scored on validation.

    Raises ValueError when the data set was prepared anew after training: its training images may stand in the test
    split now.
    """
    if read_run(settings, model_name)["plan"]["data"] != data_digest(settings):
        raise ValueError(f"{model_name} was trained on another preparation of {settings.name}; train it again first.")
    model = load_model(settings.results / model_name / "model.keras")
    loss = get_loss(trained_settings(settings, model_name).loss)
    manifest = read_manifest(settings)
    if split == "test" and not (manifest["split"] == "test").any():
        split = "validation"
    rows = manifest[manifest["split"] == split].to_dict("records")
    if not rows:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {split!r}.")
    predict(model, read_image(settings.prepared / rows[0]["image"]))  # the first call compiles
    table = []
    for row in tqdm(rows, f"Scoring {model_name}", unit="image", file=sys.stdout, disable=not progress):
        image, truth = read_image(settings.prepared / row["image"]), read_mask(settings.prepared / row["mask"])
        started = time.perf_counter()
        probability = predict(model, image)
        prediction = probability > THRESHOLD
        milliseconds = 1000 * (time.perf_counter() - started)
        counts = count_pixels(truth, prediction)
        known = {key: row[key] for key in ("id", "patient", "split")}
        lost = {"loss": _loss_of_image(loss, truth, probability)}
        table.append(known | scores(counts) | lost | counts._asdict() | {"milliseconds": round(milliseconds, 2)})
    table = pd.DataFrame(table)
    if split == "test" or not (manifest["split"] == "test").any():
        with written(settings.results / model_name / "scores.csv") as temporary:
            table.to_csv(temporary, index=False)
        summarise(settings, model_name)
    return table


def _loss_of_image(loss: object, truth: np.ndarray, probability: np.ndarray) -> float:
    """Return a training loss of one image from its mask and its probabilities, `(height, width)`."""
    as_batch = (keras.ops.convert_to_tensor(array[None, :, :, None], "float32") for array in (truth, probability))
    return float(loss(*as_batch)[0])


def trained_settings(settings: Settings, model_name: str) -> Settings:
    """Return the settings that a model was trained with, as its `run.json` has them."""
    stored = read_run(settings, model_name)["plan"]["settings"]
    return Settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()})


def summarise(settings: Settings, model_name: str, command: str = "") -> dict:
    """Return what a scored model came to, and write it as `summary.json` beside it.

    `metrics` holds the mean of each score and of the loss over the `n` images of `split`, with the 95 % interval of
    `mean_interval` (null where a single patient leaves it undefined); `command` is by default that of `command_of`;
    `device` and `wall_seconds` are those of training, `milliseconds_per_image` is the median.
    """
    own, run = read_scores(settings, [model_name]), read_run(settings, model_name)
    trained = trained_settings(settings, model_name)
    metrics = {}
    for name in (*SCORES, "loss"):
        low, high = (None if np.isnan(bound) else bound for bound in mean_interval(own, name))
        metrics[name] = {"mean": float(own[name].mean()), "low": low, "high": high}
    summary = {
        "recipe": trained.profile if trained.profile in RECIPES else None,
        "dataset": settings.name,
        "model": model_name,
        "split": own["split"].iloc[0],
        "n": len(own),
        "metrics": metrics,
        "command": command or command_of(trained, model_name),
        "device": run["device"],
        "wall_seconds": run["wall_seconds"],
        "milliseconds_per_image": float(own["milliseconds"].median()),
    }
    write_json(settings.results / model_name / "summary.json", summary)
    return summary


def command_of(settings: Settings, model_name: str) -> str:
    """Return the terminal's command that downloads, prepares, trains and scores with these settings.

    What differs from the profile or the recipe is given as `--set NAME=VALUE`; LUNGNB_SET is not to be set besides.

    Example: `command_of(make_settings(profile="simple-unet", seed=2), "unet")` ends in
    `lungnb evaluate montgomery --recipe simple-unet --set seed=2 --model unet`.
    """
    recipe = settings.profile in RECIPES
    base = RECIPES[settings.profile].settings if recipe else Settings(**PROFILES[settings.profile])
    if settings.dataset != base.dataset:
        base = base.replace(split_file=None)  # as make_settings does
    words = [settings.dataset, "--recipe" if recipe else "--profile", settings.profile]
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name not in ("dataset", "profile") and value != getattr(base, field.name):
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += ["--set", f"{field.name}={text}"]
    options, model = shlex.join(words), f"--model {model_name}"
    steps = [f"download {shlex.quote(settings.dataset)}", f"prepare {options}", f"train {options} {model}"]
    return " && ".join(f"lungnb {step}" for step in [*steps, f"evaluate {options} {model}"])


def read_scores(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return the `scores.csv` of several models as one tidy table, with a column `model`."""
    step = "score the models (notebook 06, or `lungnb evaluate`)"
    tables = {name: pd.read_csv(need(settings.results / name / "scores.csv", step)) for name in model_names}
    return pd.concat(tables, names=["model"]).reset_index(level=0).reset_index(drop=True)


def compare(settings: Settings, model_names: list[str]) -> pd.DataFrame:
    """Return a row a model: mean scores over images, the 95 % interval of the Dice, and what the model costs."""
    table = read_scores(settings, model_names)
    rows = []
    for name in model_names:
        own, run = table[table["model"] == name], read_run(settings, name)
        low, high = mean_interval(own, "dice")
        rows.append(
            {"model": title_of(name), "images": len(own)}
            | own[list(SCORES)].mean().to_dict()
            | {"dice_low": low, "dice_high": high}
            | {"parameters": run["parameters"], "multiplications": run.get("multiplications")}
            | {"epochs": run["epochs"], "training_minutes": run["wall_seconds"] / 60}
            | {"milliseconds_per_image": own["milliseconds"].median()}
        )
    return pd.DataFrame(rows).set_index("model")


def compare_seeds(settings: Settings, model_names: list[str], seeds: Sequence[int]) -> pd.DataFrame:
    """Return the row of `compare` of each model and seed, with the columns `model` (its name) and `seed`.

    The models must have been trained and scored with each of the seeds, all else as `settings` says.
    """
    tables = [compare(settings.replace(seed=seed), model_names).assign(model=model_names, seed=seed) for seed in seeds]
    return pd.concat(tables, ignore_index=True)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return, from a table of `compare_seeds`, a row a model: mean Dice and IoU, how far seeds differ, and the cost.

    `dice_sd` is the standard deviation of a seed's mean Dice over seeds: what another run of the same would change,
    where the interval of `compare` is what other patients would. `dice_low` and `dice_high` are the lowest and the
    highest seed's.
    """
    groups = table.groupby("model", sort=False)
    columns = {
        "seeds": groups.size(),
        "dice": groups["dice"].mean(),
        "dice_sd": groups["dice"].std(),
        "dice_low": groups["dice"].min(),
        "dice_high": groups["dice"].max(),
        "iou": groups["iou"].mean(),
    }
    costs = ["parameters", "multiplications", "training_minutes", "milliseconds_per_image"]
    return pd.DataFrame(columns).join(groups[costs].median()).rename(index=title_of)


def mean_interval(table: pd.DataFrame, score: str) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a score's mean, resampled by patient."""
    by_patient = [group.to_numpy() for _, group in table.groupby("patient")[score]]
    sums, counts = np.array([group.sum() for group in by_patient]), np.array([len(group) for group in by_patient])
    if len(sums) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=5000,
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def pooled_counts(table: pd.DataFrame) -> Counts:
    """Return the confusion matrix of a whole set: the sums of its images' counts."""
    return Counts(*(int(table[name].sum()) for name in Counts._fields))


def classification_table(counts: Counts) -> pd.DataFrame:
    """Return scikit-learn's classification report of pooled counts: a row a class and average, support in pixels.

    The row `accuracy` has the accuracy in the column of F1, as scikit-learn prints it.
    """
    from sklearn.metrics import classification_report

    report = classification_report(
        [1, 0, 1, 0], [1, 1, 0, 0], sample_weight=list(counts), target_names=["background", "lung"],
        output_dict=True, zero_division=0,
    )  # fmt: skip
    report["accuracy"] = {"f1-score": report["accuracy"], "support": sum(counts)}
    return pd.DataFrame(report).T.astype({"support": int}).rename_axis("class")


def paired_tests(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each pair of models, the paired Wilcoxon signed-rank test of their Dice over images.

    Columns: the two models, the mean difference of first minus second, the effect size (matched-pairs rank-biserial
    correlation, -1 to 1), and the p value, corrected after Holm for the number of pairs.
    """
    wide = table.pivot(index="id", columns="model", values="dice")
    rows = []
    for first, second in combinations(table["model"].unique(), 2):
        difference = (wide[first] - wide[second]).to_numpy()
        nonzero = difference[difference != 0]
        p = stats.wilcoxon(nonzero).pvalue if len(nonzero) else 1.0
        ranks = stats.rankdata(np.abs(nonzero))
        effect = float((np.sign(nonzero) * ranks).sum() / ranks.sum()) if len(nonzero) else 0.0
        rows.append({"first": first, "second": second, "difference": difference.mean(), "effect": effect, "p": p})
    tests = pd.DataFrame(rows, columns=["first", "second", "difference", "effect", "p"])
    # Holm: the smallest p is multiplied by the number of pairs, the next by one less; never falling.
    order = tests["p"].sort_values().index
    factors = np.arange(len(order), 0, -1)
    tests.loc[order, "p_holm"] = np.minimum(np.maximum.accumulate(tests.loc[order, "p"] * factors), 1.0)
    return tests


def verdict(settings: Settings, model_names: list[str]) -> str:
    """Return, computed from the tables, which model is better, how sure that is, and at what cost."""
    scored, table = read_scores(settings, model_names), compare(settings, model_names)
    ranking = table["dice"].sort_values(ascending=False)
    best, count = ranking.index[0], int(table["images"].iloc[0])
    low, high = table.loc[best, ["dice_low", "dice_high"]]
    interval = "" if np.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    where = f"on {count} {scored['split'].iloc[0]} images of {settings.name}."
    if len(ranking) > 1:
        text = [f"{best} has the highest mean Dice, {ranking.iloc[0]:.3f}{interval}, {where}"]
    else:
        text = [f"{best} has a mean Dice of {ranking.iloc[0]:.3f}{interval} {where}"]
    names = {title_of(name): name for name in model_names}
    for other in ranking.index[1:]:
        tests = paired_tests(scored).set_index(["first", "second"])
        pair = (names[best], names[other])
        p = tests.loc[pair if pair in tests.index else pair[::-1], "p_holm"]
        gap = ranking.iloc[0] - ranking[other]
        sure = "a difference that is unlikely to be chance" if p < 0.05 else "which chance alone could explain"
        text.append(f"{other} is {gap:.3f} behind, {sure} (paired Wilcoxon, Holm-corrected p = {p:.2g}).")
    quick, small = table["milliseconds_per_image"].idxmin(), table["parameters"].idxmin()
    speed = f"{table.loc[quick, 'milliseconds_per_image']:.0f} ms an image on this machine"
    size = f"{table.loc[small, 'parameters']:,} parameters"
    if len(ranking) > 1:
        text.append(
            f"{quick} is the quickest at {speed}, {small if small != quick else 'and'} the smallest with {size}."
        )
    else:
        text.append(f"It takes {speed} and has {size}.")
    if count < FEW:
        text.append(f"With {count} images, fewer than {FEW}, none of this should be taken for more than a hint.")
    return " ".join(text)
