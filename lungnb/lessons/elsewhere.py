"""Compare networks at home and on images of another hospital for notebook 10: the loss, its causes, and remedies."""

import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lungnb.artefacts import raw_folder
from lungnb.datasets.leakage import without_seen
from lungnb.datasets.prepared import Prepared
from lungnb.engines.engines import Network
from lungnb.evaluation.scoring import score_images
from lungnb.evaluation.statistics import patient_means
from lungnb.files import written
from lungnb.formats.tables import write_table
from lungnb.metrics import LOW_DICE
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


def say_lost(lost: pd.DataFrame) -> str:
    """Return a line for each row of `lost_elsewhere`, the greatest loss first.

    Example:
        >>> row = {"trained_on": ["a"], "tested_on": ["b"], "at_home": [0.97], "elsewhere": [0.9], "lost": [0.07]}
        >>> print(say_lost(pd.DataFrame(row)))
        Trained on a: 0.970 at home, 0.900 on b. It loses 0.070.
    """
    lines = []
    for _, row in lost.sort_values("lost", ascending=False).iterrows():
        loss = f"The difference is below {EQUIVALENCE_MARGIN:g}."
        lost = round(round(row["at_home"], 3) - round(row["elsewhere"], 3), 3)  # of the numbers that are shown
        if abs(lost) >= EQUIVALENCE_MARGIN:
            loss = f"It {'loses' if lost > 0 else 'gains'} {abs(lost):.3f}."
        lines.append(
            f"Trained on {row['trained_on']}: {row['at_home']:.3f} at home, {row['elsewhere']:.3f} on "
            f"{row['tested_on']}. {loss}"
        )
    return "\n".join(lines)


def say_foreign(table: pd.DataFrame) -> str:
    """Return how far networks from elsewhere are behind the network that was trained on a data set.

    `table` is one of `train_across`; there is a line for each pair. Both networks are tested on the same images, so the
    difference comes from the training alone.

    Example:
        >>> rows = [("a", "a", 0.97), ("a", "b", 0.88), ("b", "a", 0.94), ("b", "b", 0.9)]
        >>> print(say_foreign(pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"])))
        On b: 0.900 by the network trained on b, 0.880 by the network trained on a: 0.020 lower.
        On a: 0.970 by the network trained on a, 0.940 by the network trained on b: 0.030 lower.
    """
    home = table[table["trained_on"] == table["tested_on"]].set_index("tested_on")["dice"]
    lines = []
    for _, row in table[table["trained_on"] != table["tested_on"]].iterrows():
        name = row["tested_on"]
        gap = round(round(home[name], 3) - round(row["dice"], 3), 3)  # of the numbers that are shown
        behind = f"{gap:.3f} lower" if gap >= EQUIVALENCE_MARGIN else f"less than {EQUIVALENCE_MARGIN:g} lower"
        behind = behind if gap > 0 else "not lower"
        foreign = f"{row['dice']:.3f} by the network trained on {row['trained_on']}"
        lines.append(f"On {name}: {home[name]:.3f} by the network trained on {name}, {foreign}: {behind}.")
    return "\n".join(lines)


def score_elsewhere(model: Network, tested: Prepared, trained: Prepared | None = None) -> pd.DataFrame:
    """Return `score_images` of the test images of a data set, without patients whose images are in `trained`."""
    shown = without_seen(tested, trained, progress=False) if trained else tested
    return score_images(model, shown, ["test"], progress=False)


def say_errors(scores: pd.DataFrame) -> str:
    """Return how much lung the masks miss and how much they add, from the scores of images.

    Example:
        >>> scores = pd.DataFrame({"tp": [80, 90], "fp": [10, 0], "fn": [20, 10], "dice": [0.84, 0.95]})
        >>> print(say_errors(scores))
        On average the masks miss 15% of the lung and add 5%. The lowest Dice is 0.840; 1 of 2 images are below 0.9.
    """
    lung = (scores["tp"] + scores["fn"]).clip(lower=1)
    return (
        f"On average the masks miss {(scores['fn'] / lung).mean():.0%} of the lung and add "
        f"{(scores['fp'] / lung).mean():.0%}. The lowest Dice is {scores['dice'].min():.3f}; "
        f"{(scores['dice'] < LOW_DICE).sum()} of {len(scores)} images are below {LOW_DICE:g}."
    )


def join_settings(settings: Settings, sets: Sequence[Prepared]) -> Settings:
    """Join the training and validation images of prepared data sets; return the settings to train on the joined set.

    It becomes a raw data set, named by the names of all sets with "+", whose file `split.csv` keeps the splits. An
    earlier one of this name is replaced. Test images are left out, so they can test a network that is trained on it.
    All settings stay, except for those on how to read raw images, because prepared images are grey already.
    """
    name, rows = "+".join(prepared.name for prepared in sets), []
    with written(raw_folder(name), proof="split.csv") as part:
        for folder in ("images", "masks"):
            (part / folder).mkdir(parents=True)
        for prepared in sets:
            for row in prepared.rows("train", "validation"):
                id_ = f"{prepared.name}-{row['id']}"
                for folder, file in (("images", row["image"]), ("masks", row["mask"])):
                    shutil.copyfile(prepared.folder / file, part / folder / f"{id_}.png")
                rows.append((id_, row["split"]))
        write_table(pd.DataFrame(rows, columns=["id", "split"]), part / "split.csv")
    return settings.for_dataset(name, split_file="split.csv", window=None)


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
