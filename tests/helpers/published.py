"""The tables in results/published, and what rows of the README quote from them."""

import json

import pandas as pd

from helpers.paths import ROOT
from lungnb.evaluation.differences import paired_tests
from lungnb.evaluation.statistics import patient_means
from lungnb.lessons.searches import effects_of

PUBLISHED = ROOT / "results" / "published"
SETS = ("montgomery", "shenzhen", "finding-lungs-in-ct-data", "lung-ct-bmp")


def table(name, index=None):
    rows = pd.read_csv(PUBLISHED / name)
    return rows.set_index(index) if index else rows


def summary(recipe):
    return json.loads((PUBLISHED / recipe / "summary.json").read_text(encoding="utf-8"))["metrics"]


def spread(metric, *names):
    """Return the mean and the bounds of the interval from a row or a metric of `summary.json`."""
    return [metric[name] for name in names or ("dice", "dice_low", "dice_high")]


def percent(share):
    return 100 * share


SHIPPED = {name: table(f"phantom/pretrained_{name}.csv", "id") for name in SETS}
ZERO = table("phantom/zero_patient.csv", "dataset")
CHANGED = table("phantom/changed.csv").set_index("Unnamed: 0")
FEW_DRAWS = table("phantom/few_shot.csv", ["start", "images"])["dice"]
FEW = FEW_DRAWS.groupby(level=[0, 1]).mean()
FULL = table("montgomery/comparison.csv", "model")
FOLDS = table("montgomery-folds/variation.csv", "model")
SEEDS = table("montgomery-seeds/variation.csv", "model")
FOLDS_TESTS = table("montgomery-folds/paired_tests_again.csv", ["first", "second"])
FOLDS_LEAD = FOLDS_TESTS["difference"]
FOLDS_SCORES = table("montgomery-folds/all_scores.csv")
BORDERS = FOLDS_SCORES.assign(dice=FOLDS_SCORES["nsd"])  # paired_tests compares the column `dice`
BORDER_TESTS = paired_tests(BORDERS).set_index(["first", "second"])
REPEATED = [f"MCUCXR_{number}" for number in ("0053", "0142", "0162", "0170", "0313", "0316")]  # persons seen before
ONCE = FOLDS_SCORES[~FOLDS_SCORES["patient"].isin(REPEATED)]
AWAY = table("montgomery-seeds/generalisation.csv", ["trained_on", "tested_on"])
NETWORKS = table("networks/networks.csv", "model")
SEARCHED = table("search/search.csv")
SEARCH_EFFECTS = effects_of(SEARCHED)
SEARCHED_AGAIN = table("search/search_again.csv")
COMPACT_16 = table("networks/compact_unet_16.csv", "model")
NETWORKS_TESTS = table("networks/networks_tests.csv", ["first", "second"])
FULL_PAIRS = table("montgomery/paired_tests.csv", ["first", "second"])
THREE = table("montgomery-three/comparison.csv", "model")
THREE_PAIRS = table("montgomery-three/paired_tests.csv", ["first", "second"])
DICE_OF_THREE = {
    name: table(f"montgomery-three/{name}/scores.csv", "id")["dice"] for name in ("unet", "resunet", "r2unet")
}
QUICK = table("quick/comparison.csv", ["dataset", "model"])
PHANTOM = table("phantom/comparison.csv", "model")
CT, BMP, FILMS = SHIPPED["finding-lungs-in-ct-data"]["dice"], SHIPPED["lung-ct-bmp"]["dice"], SHIPPED["montgomery"]
WRONG = ["ID_0052_Z_0108", "ID_0079_Z_0072", "ID_0134_Z_0137"]  # the CT masks of which `lungnb check` warns
TEST = FILMS[FILMS["split"] == "test"]
FULL_DICE = pd.DataFrame(
    {name: table(f"montgomery/{name}/scores.csv", "id")["dice"] for name in ("r2unet", "unet", "resunet")}
)
FULL_TEST, FULL_OTHERS = FILMS.loc[FULL_DICE.index], FILMS.drop(FULL_DICE.index)
TUBERCULOSIS = FILMS.index.str.endswith("_1")
SHIFT_PERCENT = 5  # of the image, of the rows "shifted 5 %"
MISMATCH = table("mismatch/mismatch.csv", ["dataset", "change"])
REVIEW = table("review/review.csv").query("rule == 'review'")
REVIEW_CHANGED = REVIEW[REVIEW["changed"] & (REVIEW["dataset"] != "lung-ct-bmp")]  # whose slices are in the other set
REVIEW_BMP = REVIEW[REVIEW["changed"]].set_index("dataset").loc["lung-ct-bmp"]
REVIEW = REVIEW[~REVIEW["changed"]].set_index("dataset")
WRONG_INPUT = table("wrong_input/wrong_input_images.csv")
REAL_FILES = len(WRONG_INPUT[~WRONG_INPUT["must be flagged"]].drop_duplicates(["images", "id"]))
WRONG_INPUT = WRONG_INPUT.groupby("must be flagged")["flagged"].agg(["mean", "size"])
ON_THEIR_HEAD = table("wrong_input/wrong_input.csv").query("change == 'turned by 180 degrees'")
ON_THEIR_HEAD = ON_THEIR_HEAD.set_index("images")["flagged"]
WRONGLY_ALIKE = table("benchmarks/coverage.csv").dropna(subset="equivalent")  # percent, in simulations
WRONGLY_ALIKE = WRONGLY_ALIKE.assign(percent=100 * WRONGLY_ALIKE["equivalent"])
SKEWED = WRONGLY_ALIKE["population"].str.endswith("Shenzhen") & (WRONGLY_ALIKE["patients"] >= 20)
WRONGLY_ALIKE_REPEATED = 100 * table("benchmarks/type_one_error.csv").query("seeds > 1 or folds > 1")["equivalent"]
CALIBRATION = table("montgomery-seeds/calibration.csv", "model")
LEFT = table("montgomery-seeds/usefulness.csv", "model").loc[["unet", "resunet", "r2unet"]]
INFERENCE = table("benchmarks/inference.csv")
INFERENCE = INFERENCE.set_index(INFERENCE["engine"].str.split(" ").str[0])
SEGMENT = table("benchmarks/segment.csv", "engine")
CLUSTER = table("benchmarks/cluster.csv", "workers")
DRAWN = table("benchmarks/phantom.csv", "kind")["images_s"]
PREPARE = table("benchmarks/prepare.csv", "what")["seconds"]
TRAINING = table("benchmarks/training.csv", "what")["images_s"]
FRAMEWORKS = table("benchmarks/frameworks.csv", ["network", "framework"])["train_images_s"]
ADDITIONS = table("phantom/additions.csv", "left out")[["montgomery", "shenzhen", "finding-lungs-in-ct-data"]]
GPU = table("gpu/gpu.csv", ["what", "batch"])
GPU_DICE = json.loads((PUBLISHED / "gpu" / "unet" / "summary.json").read_text())["metrics"]["dice"]
GPU_EPOCHS = table("gpu/unet/history.csv")["seconds"]
CURVE = table("adapt/curve.csv").groupby(["start", "images", "dataset"])["after"].agg(["mean", "min", "max"])
ADAPTING_SECONDS = table("adapt/curve.csv").groupby("images")["seconds"].min()
ONE_FILM = table("adapt/share.csv").query("images == 1").groupby("share")[["before", "after"]].agg(["mean", "min"])
ONE_FILM_LOSS = -table("adapt/share.csv").query("images == 1 and share == 0.35").eval("after - before").min()
DELIVERED = table("adapt/delivered.csv", ["dataset", "draw"])
ORDER = (
    table("adapt/order.csv", ["dataset", "order", "draw"])
    .assign(
        gain=lambda rows: rows["after"] - rows["before"],
        hard_gain=lambda rows: rows["hard_after"] - rows["hard_before"],
    )
    .sort_index()
)
CORRECTED = ("montgomery", "shenzhen")
ENGINES = ["openvino", "onnx", "keras", "model.predict"]


def shipped_row(name):
    row = ZERO.loc[name]
    return [row["images"], *spread(row), row["median_dice"], percent(row["below_0.9"])]


def false_alarms(*names):
    """Return the share that `review` flags of the images with a Dice of 0.85 and more, over data sets."""
    rows = REVIEW.loc[[*names]]
    good = rows["images"] - rows["below_0.85"]
    return (rows["false_alarms"] * good).sum() / good.sum()


def curve_row(images, start="shipped", *, columns=("mean", "min", "max")):
    sets = ("montgomery", "shenzhen", "finding-lungs-in-ct-data", "lung-ct-bmp")
    return [CURVE.loc[(start, images, name), column] for name in sets for column in columns]


def gain_of(rows, before, after):
    return (rows[after] - rows[before]).item()


def order_mean(dataset, order, column):
    return ORDER.loc[(dataset, order), column].mean()


def fold_row(model):
    return [
        *spread(FOLDS.loc[model], "dice", "low", "high"),
        *FOLDS.loc[model, ["patients_sd", "seeds_sd", "folds_sd"]],
    ]


def mean_of(scores, model):
    return patient_means(scores[scores["model"] == model]).mean()


def full_row(model):
    row = FULL.loc[model]
    return [*spread(row), row["iou"], row["epochs"], row["parameters"]]


def network_row(row):
    return [*spread(row), row["dice_sd"], row["multiplications"] / 1e9, row["milliseconds_per_image"]]


def quick_row(dataset):
    rows = PHANTOM if dataset == "phantom" else QUICK.loc[dataset]
    return [
        rows["images"].iloc[0],
        *(value for model in ("U-Net", "ResUNet", "R2U-Net") for value in spread(rows.loc[model])),
    ]


def recipe(name):
    metrics = summary(name)
    return [metrics[score][key] for score in ("dice", "iou") for key in ("mean", "low", "high")]


def three_row():
    dice = [value for model in THREE.index for value in spread(THREE.loc[model])]
    scores = {
        name: json.loads((PUBLISHED / "montgomery-three" / name / "summary.json").read_text()) for name in DICE_OF_THREE
    }
    return dice + [scores[name]["metrics"]["iou"][key] for name in scores for key in ("mean", "low", "high")]


def found(change, column="listed"):
    row = MISMATCH.loc[("shenzhen", change)]
    return percent(row[column] / row["masks"])
