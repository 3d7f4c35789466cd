"""Test networks on images of another kind: other data sets, patients after phantoms, and a few real images more."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from lungnb.artefacts import MODEL, PRETRAINED, RUN, SPLIT_FILE, raw_folder
from lungnb.datasets.fetch import download
from lungnb.datasets.leakage import without_seen
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import Prepared, open_prepared
from lungnb.engines.engines import Network, engine_of, load_model
from lungnb.evaluation.scoring import score_images
from lungnb.evaluation.statistics import mean_interval, patient_means
from lungnb.formats.tables import write_table
from lungnb.metrics import LOW_DICE
from lungnb.networks.pretraining import fetch_weights
from lungnb.networks.training import train
from lungnb.phantoms.frame import Wild
from lungnb.phantoms.make import write_phantoms
from lungnb.segmentation.predict import load_pretrained
from lungnb.settings import EQUIVALENCE_MARGIN, SHIPPED, SPLITS, Settings, counted, title_of

UNTRAINED_TITLE = "comes with lungnb"  # in the table of `compare_untrained`
_FINE_TUNING = 0.1  # of the learning rate, if a network starts with trained weights
_MAX_EPOCHS_OF_FEW = 10  # of `few_shot`, each with as many steps as its number of steps allows
_MIN_STEPS_PER_EPOCH = 3  # so that an epoch is worth its validation
STARTS = {"phantom": "from phantom weights", "scratch": "from scratch"}


def train_across(runs: Sequence[Settings], model_name: str = "unet", progress: bool = True) -> pd.DataFrame:
    """Train a model on each data set and test it on every one; return one row per pair.

    `dice` is the mean over the test patients, and `dice_low` and `dice_high` bound its 95 % interval. Finished
    preparations and trainings are not repeated. A test patient whose image the network has seen in its own data set is
    left out (`without_seen`), because published sets share images.

    Raises ValueError if a data set comes twice, or with `folds`, because each data set deals its patients separately.
    """
    if any(run.folds for run in runs):
        raise ValueError("folds would put a patient of two data sets into training and test: set folds to 0.")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"name each data set once, not {', '.join(names)}.")
    for run in runs:
        download(run.dataset, progress)
        prepare_dataset(run, progress)
        fetch_weights(run, progress)
        train(run, model_name, progress)
    rows = []
    for source, target in product(runs, runs):
        model, title = load_model(source.results / model_name / MODEL), f"{source.name} on {target.name}"
        tested = open_prepared(target)
        if source is not target:
            tested = without_seen(tested, open_prepared(source), progress)
        table = score_images(model, tested, ["test"], title=title, progress=progress)
        rows.append((source.name, target.name, len(table), patient_means(table).mean(), *mean_interval(table, "dice")))
    return pd.DataFrame(rows, columns=["trained_on", "tested_on", "images", "dice", "dice_low", "dice_high"])


def score_untrained(
    settings: Settings, model: "Network | None" = None, progress: bool = True, splits: Sequence[str] = SPLITS
) -> pd.DataFrame:
    """Score the network that lungnb ships, or another, on all images of a prepared data set: one row per image.

    Clean the masks up as `segment` does. The shipped network's scores are written to results/<dataset>/pretrained.csv.
    """
    network = model or load_pretrained()
    table = score_images(network, open_prepared(settings), splits, title=settings.name, progress=progress)
    if model is None:
        write_table(table, settings.results / PRETRAINED)
    return table


def compare_untrained(settings: Settings, model_names: Sequence[str], progress: bool = True) -> pd.DataFrame:
    """Score the network that lungnb ships and trained models on the same images, all with masks cleaned up.

    Return one row per network, the shipped one first, with the columns of `dataset_summary`, on the `scoring_split`.
    """
    prepared, files = open_prepared(settings), {UNTRAINED_TITLE: SHIPPED}
    files |= {title_of(name): settings.results / name / MODEL for name in model_names}
    splits, tables = [prepared.scoring_split()], {}
    for title, file in files.items():
        tables[title] = score_images(load_model(file), prepared, splits, title=title, progress=progress)
    return dataset_summary(tables).rename_axis("network")


def untrained_sentence(table: pd.DataFrame) -> str:
    """Return in words, from a table of `compare_untrained`, whether the shipped network beats the trained ones."""
    dice = table["dice"].round(3)
    shipped, trained = dice.iloc[0], dice.iloc[1:]
    listed = ", ".join(f"{name} {value:.3f}" for name, value in trained.items())
    beaten = ", ".join(trained[trained < shipped - EQUIVALENCE_MARGIN].index)
    said = (
        f"The network that comes with lungnb has not been trained on these data. Its mean Dice on these "
        f"{counted(int(table['images'].iloc[0]), 'image')} is {shipped:.3f}. Trained on these data: {listed}."
    )
    if beaten:
        said += f" It is ahead of {beaten} by more than {EQUIVALENCE_MARGIN:g}: use it, or train it further"
        said += " (weights=phantom)."
    return said


def dataset_summary(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per data set from tables of scores: means, the interval of Dice, and the worst image.

    Means are over patients. `below_0.9` is the share of images with a Dice below 0.9, `worst` the id of the worst one.
    """
    rows = {}
    for name, table in tables.items():
        low, high = mean_interval(table, "dice")
        worst = table.iloc[table["dice"].argmin()]
        rows[name] = {
            "images": len(table), "dice": patient_means(table).mean(), "dice_low": low, "dice_high": high,
            "iou": patient_means(table, "iou").mean(), "median_dice": table["dice"].median(),
            "below_0.9": (table["dice"] < LOW_DICE).mean(), "worst": worst["id"], "worst_dice": worst["dice"],
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("dataset")


def few_shot(
    settings: Settings, counts: Sequence[int], seeds: Sequence[int], steps: int = 1000, progress: bool = True
) -> pd.DataFrame:
    """Train a network on a few real images, from phantom weights and from scratch; return one row per training.

    Each network is like the shipped one. It is trained for `steps` batches on training images drawn with the seed, and
    scored on the test split with masks cleaned up. The validation images choose the epoch, so the network has seen them
    too. The row of 0 images is the shipped network. Finished trainings are not repeated.
    """
    epochs = min(settings.epochs, _MAX_EPOCHS_OF_FEW, max(steps // _MIN_STEPS_PER_EPOCH, 1))
    shipped = json.loads(SHIPPED.with_name(RUN).read_text(encoding="utf-8"))["plan"]
    prepared = open_prepared(settings)
    name, size = shipped["model"], {key: shipped["settings"][key] for key in ("image_size", "filters", "depth")}
    rows = [("phantom", 0, seed, _test_dice(None, prepared)) for seed in seeds[:1]]
    for seed, count, start in product(seeds, counts, STARTS):
        batches = -(-count // settings.batch_size)
        changed = settings.replace(
            **size, models=(name,), encoder=None, frozen_epochs=0, train_images=count, seed=seed, epochs=epochs,
            repeats=max(round(steps / epochs / batches), 1), schedule="cosine", stop_patience=epochs,
            weights="phantom" if start == "phantom" else None,
            learning_rate=settings.learning_rate * (_FINE_TUNING if start == "phantom" else 1),
        )  # fmt: skip
        folder = settings.results / "few_shot" / f"{start}_{count}_seed{seed}"
        train(changed, name, progress, folder)
        rows.append((start, count, seed, _test_dice(folder / MODEL, prepared)))
    return pd.DataFrame(rows, columns=["start", "images", "seed", "dice"])


def leave_one_out(
    settings: Settings, targets: dict[str, Settings], count: int, parts: Sequence[str] = Wild._fields,
    progress: bool = True, splits: Sequence[str] = SPLITS, kind: str = "wild", seeds: Sequence[int] = (),
) -> pd.DataFrame:  # fmt: skip
    """Train a network on phantoms of a kind, then on phantoms without one of `parts` each; score all on real images.

    The network is the first of the settings' `models`. Each training has the same settings and `count` phantoms. All
    trainings are repeated with each of `seeds`, by default with the settings' own only. `targets` are prepared data
    sets by name; their `splits` are scored with masks cleaned up.

    Return the mean Dice: one row per training, by what was left out, with its `seed` and one column per data set.
    Groups of patients, if they are known, have columns such as `montgomery, tuberculosis`.
    """
    model_name = settings.models[0]
    rows = []
    for seed, field in product(seeds or (settings.seed,), (None, *parts)):
        name = f"phantom-{kind}-without-{field}" if field else f"phantom-{kind}-all"
        folder = raw_folder(f"{name}-{count}")
        if not folder.exists():
            write_phantoms(folder, count, size=settings.image_size, kind=kind, without=field, progress=progress)
        run = settings.for_dataset(folder.name, split_file=SPLIT_FILE, window=None, seed=seed)
        prepare_dataset(run, progress)
        fetch_weights(run, progress)
        train(run, model_name, progress)
        engine = engine_of(load_model(run.results / model_name / MODEL))
        tables = {title: score_untrained(target, engine, progress, splits) for title, target in targets.items()}
        means = {name: patient_means(part).mean() for name, part in _with_groups(tables)}
        rows.append({"left out": field or "nothing", "seed": seed} | means)
    return pd.DataFrame(rows).set_index("left out")


def _with_groups(tables: dict[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each table of scores with its name, and its known groups of patients with theirs."""
    for title, table in tables.items():
        yield title, table
        for group, part in table.groupby("group") if "group" in table else ():
            if group:
                yield ", ".join((title, str(group))), part


def few_shot_sentence(table: pd.DataFrame) -> str:
    """Return a sentence on how many real images a network from scratch needs to reach the shipped one (`few_shot`)."""
    shipped = table.loc[table["images"] == 0, "dice"].iloc[0]
    scratch = table[table["start"] == "scratch"].groupby("images")["dice"].mean()
    reached = scratch.index[scratch >= shipped]
    count = reached[0] if len(reached) else scratch.index[-1]
    verb = ("is" if count == 1 else "are") + ("" if len(reached) else " not")
    needed = f"from scratch, {counted(count, 'image')} {verb} enough for that"
    return f"Without any of these images the shipped network has a Dice of {shipped:.3f}; {needed}."


def _test_dice(file: Path | None, prepared: Prepared) -> float:
    """Return the mean Dice of a model, or of the shipped one, on the test split, with masks cleaned up."""
    table = score_images(load_model(file), prepared, ["test"], progress=False)
    return float(patient_means(table).mean())
