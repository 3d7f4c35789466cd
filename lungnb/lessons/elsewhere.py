"""Compare networks at home and on images of another hospital for notebook 10: the loss, its causes, and remedies."""

import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lungnb.artefacts import SPLIT_FILE, raw_folder
from lungnb.datasets.leakage import without_seen
from lungnb.datasets.prepared import Prepared
from lungnb.engines.engines import Network
from lungnb.evaluation.probabilities import BORDER_SHARE, near_border
from lungnb.evaluation.scoring import score_images
from lungnb.evaluation.statistics import patient_means
from lungnb.figures.pictures import Cell
from lungnb.files import written
from lungnb.formats.tables import write_table
from lungnb.metrics import LOW_DICE, dice
from lungnb.segmentation.predict import segment
from lungnb.settings import EQUIVALENCE_MARGIN, Settings


def appearance(sets: Sequence[Prepared]) -> pd.DataFrame:
    """Return how data sets look: a row for each set, with means over its training images.

    `lung` and `rest` are the mean greys, 0 to 255, of lung and of all other pixels. `contrast` is `rest` minus `lung`
    within an image, and `contrast_sd` its standard deviation. `lung_share` is the share of lung in the image.
    """
    rows = {}
    for prepared in sets:
        pairs = [prepared.pair(row) for row in prepared.rows("train")]
        lung, rest = (np.array([image[mask == part].mean() for image, mask in pairs]) for part in (True, False))
        rows[prepared.name] = {
            "lung": lung.mean(), "rest": rest.mean(), "contrast": (rest - lung).mean(),
            "contrast_sd": (rest - lung).std(), "lung_share": np.mean([mask.mean() for _, mask in pairs]),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index")


def say_appearance(table: pd.DataFrame) -> str:
    """Return how the other data sets of an `appearance` table differ from the first one.

    Example:
        >>> columns = {"contrast": [28.0, 3.0], "contrast_sd": [18.0, 30.0], "lung_share": [0.26, 0.23]}
        >>> print(say_appearance(pd.DataFrame(columns, index=["a", "b"])))
        b: the contrast is 3 grey values, in a 28. It varies more (SD 30 against 18). Lung covers 23%, in a 26%.
    """
    (name, first), *others = table.iterrows()
    return "\n".join(
        f"{other}: the contrast is {row['contrast']:.0f} grey values, in {name} {first['contrast']:.0f}. It varies "
        f"{'more' if row['contrast_sd'] > first['contrast_sd'] else 'less'} (SD {row['contrast_sd']:.0f} against "
        f"{first['contrast_sd']:.0f}). Lung covers {row['lung_share']:.0%}, in {name} {first['lung_share']:.0%}."
        for other, row in others
    )


def lost_elsewhere(table: pd.DataFrame) -> pd.DataFrame:
    """Return how much Dice each network loses on each foreign data set, from a table of `train_across`.

    Columns: `trained_on`, `tested_on`, the Dice `at_home` and `elsewhere`, and their difference `lost`.

    Example:
        >>> rows = [("a", "a", 0.97), ("a", "b", 0.9), ("b", "a", 0.95), ("b", "b", 0.96)]
        >>> lost_elsewhere(pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"]))["lost"].round(2).tolist()
        [0.07, 0.01]
    """
    is_home = table["trained_on"] == table["tested_on"]
    home = table[is_home].set_index("trained_on")["dice"]
    away = table[~is_home].assign(home=table["trained_on"].map(home))
    away = away.assign(lost=away["home"] - away["dice"]).rename(columns={"home": "at_home", "dice": "elsewhere"})
    return away[["trained_on", "tested_on", "at_home", "elsewhere", "lost"]].reset_index(drop=True)


def say_lost(table: pd.DataFrame) -> str:
    """Return what each network loses elsewhere, and how far it is behind the network from there, the largest gap first.

    `table` is one of `train_across`. Both networks are tested on the same images, so the gap comes from the training
    alone. The rest of the loss comes from images that are harder or easier.

    Example:
        >>> rows = [("a", "a", 0.97), ("a", "b", 0.88), ("b", "b", 0.9)]
        >>> print(say_lost(pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"])))
        Trained on a: 0.970 at home, 0.880 on b. It loses 0.090.
        The network trained on b has 0.900 there: it is 0.020 better on the same images.
    """
    lost = lost_elsewhere(table).round(3)
    home = table[table["trained_on"] == table["tested_on"]].set_index("tested_on")["dice"].round(3)
    gaps = (lost["tested_on"].map(home) - lost["elsewhere"]).round(3)
    lines = []
    for _, row in lost.assign(gap=gaps).sort_values("gap", ascending=False).iterrows():
        source, place, at_home, away, _, gap = row
        change = f"{'loses' if away < at_home else 'gains'} {abs(at_home - away):.3f}"
        better = f"{gap:.3f} better on the same images"
        if gap < EQUIVALENCE_MARGIN:
            better = f"less than {EQUIVALENCE_MARGIN:g} better, or not better, on the same images"
        lines += [
            f"Trained on {source}: {at_home:.3f} at home, {away:.3f} on {place}. "
            f"It {change if away != at_home else 'loses nothing'}.",
            f"The network trained on {place} has {home[place]:.3f} there: it is {better}.",
        ]
    return "\n".join(lines)


def score_elsewhere(model: Network, tested: Prepared, trained: Prepared | None = None) -> pd.DataFrame:
    """Return `score_images` of the test images of a data set, without patients whose images are in `trained`."""
    shown = without_seen(tested, trained, progress=False) if trained else tested
    return score_images(model, shown, ["test"], progress=False)


def find_causes(model: Network, tested: Prepared, trained: Prepared, scores: pd.DataFrame) -> pd.DataFrame:
    """Predict scored images again, with the grey values of the images that the network was trained on.

    `scores` are those of `score_elsewhere`. Columns: `id`, `dice`, `dice_with_greys`, `wrong` and `far`. `wrong` counts
    the wrong pixels, and `far` those of them that are not near the true border. `cells` has the two pictures, for
    `outline_grid`.
    """
    pairs, causes = [trained.pair(row) for row in trained.rows("train")], []
    greys = np.sort(np.concatenate([image.ravel() for image, _ in pairs]))
    for row in (row for row in tested.rows("test") if row["id"] in {*scores["id"]}):
        image, truth = tested.pair(row)
        shown = (image, with_greys(image, greys))
        masks = [segment(each, model).mask for each in shown]
        values = [dice(truth, mask) for mask in masks]
        wrong = masks[0] != truth
        titles = (f"{row['id']}, Dice {values[0]:.3f}", f"greys of {trained.name}, Dice {values[1]:.3f}")
        cells = [Cell(title, each, truth, mask) for title, each, mask in zip(titles, shown, masks, strict=True)]
        causes.append((row["id"], *values, wrong.sum(), (wrong & ~near_border(truth)).sum(), cells))
    return pd.DataFrame(causes, columns=["id", "dice", "dice_with_greys", "wrong", "far", "cells"])


def with_greys(image: np.ndarray, greys: np.ndarray) -> np.ndarray:
    """Return a uint8 image with the same order of its grey values, distributed as in `greys`, which are sorted.

    Example:
        >>> with_greys(np.array([[10, 20], [30, 40]], np.uint8), np.array([0, 100, 200, 250], np.uint8)).tolist()
        [[0, 100], [200, 250]]
    """
    _, places, counts = np.unique(image, return_inverse=True, return_counts=True)
    shares = (counts.cumsum() - counts / 2) / image.size
    return np.asarray(greys[(shares * len(greys)).astype(int)][places].reshape(image.shape))


def say_causes(causes: pd.DataFrame) -> str:
    """Return how many masks of `find_causes` are bad, whether grey values help, and how much is wrong in whole regions.

    Example:
        >>> print(say_causes(pd.DataFrame({"dice": [0.8], "dice_with_greys": [0.9], "wrong": [200], "far": [150]})))
        The lowest Dice is 0.800; 1 of 1 images are below 0.9.
        Grey values: with those of the training images, the mean Dice of the images is 0.900 instead of 0.800.
        Regions: 75% of the wrong pixels are further than 3% of the side from the true border, 75% in the worst images.
    """
    dices, worst = causes["dice"], causes.nsmallest(3, "dice")
    far, far_in_worst = (rows["far"].sum() / max(rows["wrong"].sum(), 1) for rows in (causes, worst))
    return (
        f"The lowest Dice is {dices.min():.3f}; {(dices < LOW_DICE).sum()} of {len(dices)} images are below "
        f"{LOW_DICE:g}.\nGrey values: with those of the training images, the mean Dice of the images is "
        f"{causes['dice_with_greys'].mean():.3f} instead of {dices.mean():.3f}.\nRegions: {far:.0%} of the wrong "
        f"pixels are further than {BORDER_SHARE:.0%} of the side from the true border, {far_in_worst:.0%} in the worst "
        "images."
    )


def join_settings(settings: Settings, sets: Sequence[Prepared]) -> Settings:
    """Join the training and validation images of prepared data sets; return the settings to train on the joined set.

    It becomes a raw data set, named by the names of all sets with "+", whose file `split.csv` keeps the splits. An
    earlier one of this name is replaced. Test images are left out, so they can test a network that is trained on it.
    All settings stay, except for those on how to read raw images, because prepared images are grey already.
    """
    name, rows = "+".join(prepared.name for prepared in sets), []
    with written(raw_folder(name), proof=SPLIT_FILE) as part:
        for folder in ("images", "masks"):
            (part / folder).mkdir(parents=True)
        for prepared in sets:
            for row in prepared.rows("train", "validation"):
                id_ = f"{prepared.name}-{row['id']}"
                for folder, file in (("images", row["image"]), ("masks", row["mask"])):
                    shutil.copyfile(prepared.folder / file, part / folder / f"{id_}.png")
                rows.append((id_, row["split"]))
        write_table(pd.DataFrame(rows, columns=["id", "split"]), part / SPLIT_FILE)
    return settings.for_dataset(name, split_file=SPLIT_FILE, window=None)


def remedies(table: pd.DataFrame, others: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return the mean Dice by training set (rows) and test set (columns), and the lowest Dice of each row.

    `table` is one of `train_across`. `others` has the scores of other networks, by network and data set.
    """
    wide = table.pivot(index="trained_on", columns="tested_on", values="dice")
    wide = wide.loc[table["trained_on"].unique(), table["tested_on"].unique()]
    more = {
        name: {data: patient_means(scores).mean() for data, scores in of_sets.items()}
        for name, of_sets in others.items()
    }
    wide = pd.concat([wide, pd.DataFrame.from_dict(more, orient="index")]).rename_axis("trained_on")
    return wide.assign(lowest=wide.min(axis=1))


def say_remedies(table: pd.DataFrame) -> str:
    """Return which row of a `remedies` table has the highest and which the lowest Dice on its worst data set.

    Example:
        >>> table = pd.DataFrame({"a": [0.97, 0.96], "b": [0.9, 0.95], "lowest": [0.9, 0.95]}, index=["a", "both"])
        >>> print(say_remedies(table))
        Each row has a worst data set. The Dice on it is highest in the row both, 0.950, and lowest in the row a, 0.900.
    """
    lowest = table["lowest"]
    return (
        f"Each row has a worst data set. The Dice on it is highest in the row {lowest.idxmax()}, {lowest.max():.3f}, "
        f"and lowest in the row {lowest.idxmin()}, {lowest.min():.3f}."
    )


def say_varied(shipped: pd.DataFrame, table: pd.DataFrame) -> str:
    """Return the Dice of the network that comes with lungnb and of networks from one hospital, on the same data sets.

    `shipped` is results/published/phantom/zero_patient.csv, `table` one of `train_across`.
    """
    away = lost_elsewhere(table)
    lines = []
    for _, row in shipped[shipped["dataset"].isin(away["tested_on"])].iterrows():
        others = away.loc[away["tested_on"] == row["dataset"], ["elsewhere", "trained_on"]].to_numpy()
        listed = ", ".join(f"{dice:.3f} trained on {name}" for dice, name in others)
        lines.append(f"{row['dataset']}: {row['dice']:.3f} by the network that comes with lungnb; {listed}.")
    return "\n".join(lines)
