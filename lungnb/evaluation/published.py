"""Read the tables of results/published, so that notebooks can show them beside the reader's own results."""

import pandas as pd

from lungnb.artefacts import PUBLISHED, series_folder
from lungnb.evaluation.differences import conclude
from lungnb.files import need
from lungnb.formats.tables import read_table
from lungnb.settings import counted

ADAPTED, RANDOM = "shipped", "random weights"  # column `start` of the tables of adapting
_FEW = 5  # images, which the guide to adapting recommends
_TESTS = {  # of U-Net, ResUNet and R2U-Net: 28 films at full size, and 138 films with three seeds on five folds
    "Montgomery, 1 training": "montgomery/paired_tests.csv",
    "Montgomery, 15 trainings": "montgomery-folds/paired_tests_again.csv",
}


def read_published(name: str) -> pd.DataFrame:
    """Return a published table, such as `adapt/curve.csv`, of the checkout or the installed package.

    Raises FileNotFoundError if there is no such table.

    Example:
        >>> len(read_published("networks/networks.csv"))
        6
    """
    return read_table(need(series_folder() / PUBLISHED / name, "name a table of results/published"))


def published_networks() -> pd.DataFrame:
    """Return the networks that were trained on Montgomery with three seeds, as in `seed_summary`: a row for each.

    Example:
        >>> round(float(published_networks()["dice"].max()), 3)
        0.973
    """
    wide = read_published("networks/compact_unet_16.csv").assign(model="Compact U-Net, 16 filters")
    return pd.concat([read_published("networks/networks.csv"), wide]).set_index("model")


def with_published(tests: pd.DataFrame, model_name: str, margin: float) -> pd.DataFrame:
    """Return the rows of `paired_tests` whose `second` network is the given one, with those of Montgomery.

    The column `source` says where each row is from: `here` or a published comparison. `margin` is in Dice.

    Example:
        >>> with_published(pd.DataFrame(), "resunet", 0.005)[["source", "first", "conclusion"]].values.tolist()[1]
        ['Montgomery, 15 trainings', 'unet', 'no relevant difference']
    """
    tables = {"here": tests} | {source: read_published(file) for source, file in _TESTS.items()}
    rows = pd.concat([table.assign(source=source) for source, table in tables.items() if len(table)])
    rows = rows[rows["second"] == model_name].sort_values("first", ascending=False, kind="stable", ignore_index=True)
    return rows.assign(conclusion=[conclude(row, margin) for _, row in rows.iterrows()])


def of_different_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the rows of `lung-ct-bmp`: finding-lungs-in-ct-data has its 89 slices, too."""
    return table[table["dataset"] != "lung-ct-bmp"]


def published_review() -> pd.DataFrame:
    """Return how many bad masks of the shipped network the column `review` found, and how many good masks it flagged.

    Each data set has a row for its images as they are, and a row for the changed images (`changed`). `below_0.85` is
    the number of masks with a Dice below 0.85. `of_them_found` is how many of these were flagged. `false_alarms` is the
    share of the other masks that were also flagged.
    """
    table = of_different_images(read_published("review/review.csv"))
    return table[table["rule"] == "review"]


def say_review(table: pd.DataFrame) -> str:
    """Say how many bad masks `review` found, one line for each kind of image. `table` has rows of `published_review`.

    Example:
        >>> table = pd.DataFrame({"changed": [False, False], "images": [104, 50], "below_0.85": [4, 0]})
        >>> print(say_review(table.assign(of_them_found=[3, 0], false_alarms=[0.02, 0.04])))
        Images as they are: review found 3 of 4 masks with a Dice below 0.85, and flagged 3% of the others.
    """
    lines = []
    for is_changed, rows in table.groupby("changed"):
        kind = "inverted, turned or otherwise changed" if is_changed else "as they are"
        others = rows["images"] - rows["below_0.85"]
        found, bad = rows["of_them_found"].sum(), rows["below_0.85"].sum()
        alarms = (rows["false_alarms"] * others).sum() / max(others.sum(), 1)
        lines.append(
            f"Images {kind}: review found {found} of {bad} masks with a Dice below 0.85, and flagged {alarms:.0%} of "
            "the others."
        )
    return "\n".join(lines)


def published_draws() -> pd.DataFrame:
    """Return the draws of corrected images that a network was adapted to: one row per data set, start, number and draw.

    `before` is the mean Dice of other images by the shipped network, `after` that by the network trained from `start`.
    """
    return read_published("adapt/curve.csv")


def published_adaptation() -> pd.DataFrame:
    """Return what adapting brought: one row per data set and number of corrected films, with means over draws of films.

    `before` and `after` are the mean Dice of other films. `after_low` and `after_high` are those of single draws.
    `helped` is the number of draws after which the Dice was higher.
    """
    drawn = published_draws().query("images > 0 and start == @ADAPTED")
    groups = drawn.assign(helped=drawn["after"] > drawn["before"]).groupby(["dataset", "images"])
    return groups.agg(
        draws=("draw", "size"), before=("before", "mean"), after=("after", "mean"),
        after_low=("after", "min"), after_high=("after", "max"), helped=("helped", "sum"),
    )  # fmt: skip


def say_curve(table: pd.DataFrame) -> str:
    """Return what a table of `published_draws` shows, as the title of its chart.

    Example:
        >>> rows = [("a", "shipped", 5, 0.9, 0.95), ("a", "random weights", 20, 0.9, 0.93)]
        >>> print(say_curve(pd.DataFrame(rows, columns=["dataset", "start", "images", "before", "after"])))
        5 corrected images improve the shipped network on 1 of 1 data set.
        From random weights, 20 images give a lower Dice than these 5 on 1 of 1.
    """
    adapted, random = (_dice_by_set(table[table["start"] == start]) for start in (ADAPTED, RANDOM))
    if adapted.empty:
        return "The shipped network was adapted to no image yet."
    few = _FEW if (adapted["images"] == _FEW).any() else int(adapted["images"].min())
    adapted = adapted[adapted["images"] == few]
    better = int((adapted["after"] > adapted["before"]).sum())
    sets, images = counted(len(adapted), "data set"), counted(few, "corrected image")
    sentence = f"{images} improve{'' if few > 1 else 's'} the shipped network on {better} of {sets}."
    if random.empty:
        return sentence
    most = int(random["images"].max())
    both = adapted.merge(random[random["images"] == most], on="dataset", suffixes=("", "_random"))
    lower = int((both["after_random"] < both["after"]).sum())
    scratch = f"From random weights, {counted(most, 'image')} give{'' if most > 1 else 's'}"
    return f"{sentence}\n{scratch} a lower Dice than these {few} on {lower} of {len(both)}."


def _dice_by_set(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means over draws: one row per number of images, from one on, and data set."""
    return table[table["images"] > 0].groupby(["images", "dataset"])[["before", "after"]].mean().reset_index()
