import json
import shlex

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from lungnb import evaluation
from lungnb.__main__ import _parser, _settings
from lungnb.evaluation import (
    classification_table,
    command_of,
    compare,
    compare_seeds,
    evaluate,
    mean_interval,
    over_seeds,
    paired_tests,
    pooled_counts,
    read_scores,
    summarise,
    verdict,
)
from lungnb.files import write_json
from lungnb.images import read_image, read_mask
from lungnb.metrics import SCORES, Counts, score_image
from lungnb.prepare import prepare_dataset, read_manifest
from lungnb.settings import make_settings
from lungnb.training import train

COLUMNS = ["id", "patient", "split", *SCORES, "loss", "tp", "fp", "fn", "tn", "milliseconds"]


def table_of(**models):
    """A tidy table of the Dice of several models on the same images."""
    rows = [
        {"model": name, "id": f"{n:03}", "patient": f"{n:03}", "split": "test", "milliseconds": 10 + n}
        | dict.fromkeys(SCORES, value)
        for name, values in models.items()
        for n, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def store(settings, **models):
    """Write what evaluate and train would have written of models with these Dice."""
    table = table_of(**models)
    for number, (name, own) in enumerate(table.groupby("model", sort=False)):
        (settings.results / name).mkdir(parents=True)
        own.drop(columns="model").to_csv(settings.results / name / "scores.csv", index=False)
        run = {"parameters": 1000 * (number + 1), "epochs": 7, "wall_seconds": 90.0}
        write_json(settings.results / name / "run.json", run)
    return list(models)


def test_every_test_image_has_a_row_with_every_score(trained):
    table = evaluate(trained, "unet", progress=False)
    assert list(table) == COLUMNS
    manifest = read_manifest(trained).query("split == 'test'")
    assert table["id"].tolist() == manifest["id"].tolist()
    assert (table[["tp", "fp", "fn", "tn"]].sum(axis=1) == manifest["width"].iloc[0] * manifest["height"].iloc[0]).all()
    assert table[list(SCORES)].stack().between(0, 1).all()
    assert (table["milliseconds"] > 0).all()
    stored = pd.read_csv(trained.results / "unet" / "scores.csv")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)


def test_rows_are_scores_at_the_prepared_images_size(trained):
    from lungnb.inference import segment

    row = evaluate(trained, "unet", progress=False).iloc[0]
    entry = read_manifest(trained).set_index("id").loc[row["id"]]
    model = trained.results / "unet" / "model.keras"
    found = segment(trained.prepared / entry["image"], model, clean=False).mask
    expected = score_image(read_mask(trained.prepared / entry["mask"]), found)
    assert row[list(SCORES)].to_dict() == pytest.approx(expected)


def test_perfect_predictions_score_1(trained, monkeypatch):
    truth = {}
    for row in read_manifest(trained).to_dict("records"):
        mask = read_mask(trained.prepared / row["mask"])
        truth[read_image(trained.prepared / row["image"]).tobytes()] = mask.astype(np.float32)
    monkeypatch.setattr(evaluation, "predict", lambda model, image: truth[image.tobytes()])
    table = evaluate(trained, "unet", progress=False)
    assert (table[list(SCORES)] == 1).all(axis=None)
    assert (table[["fp", "fn"]] == 0).all(axis=None)
    monkeypatch.setattr(evaluation, "predict", lambda model, image: 1 - truth[image.tobytes()])
    assert (evaluate(trained, "unet", progress=False)[list(SCORES)] == 0).all(axis=None)


def test_the_loss_is_the_training_loss_at_the_prepared_images_size(trained):
    from lungnb.inference import segment

    row = evaluate(trained.replace(loss="dice"), "unet", progress=False).iloc[0]  # trained with bce_iou all the same
    entry = read_manifest(trained).set_index("id").loc[row["id"]]
    p = segment(trained.prepared / entry["image"], trained.results / "unet" / "model.keras").probability
    truth = read_mask(trained.prepared / entry["mask"])
    cross_entropy = -np.log(np.where(truth, p, 1 - p)).mean()
    both, total = p[truth].sum(), p.sum() + truth.sum()
    assert row["loss"] == pytest.approx(cross_entropy + 1 - (both + 1) / (total - both + 1), rel=1e-4)


def test_other_splits_are_scored_without_touching_the_test_scores(trained):
    table = evaluate(trained, "unet", "validation", progress=False)
    assert table["id"].tolist() == read_manifest(trained).query("split == 'validation'")["id"].tolist()
    assert not (trained.results / "unet" / "scores.csv").exists()
    assert not (trained.results / "unet" / "summary.json").exists()
    with pytest.raises(ValueError, match="split must be one of train, validation, test, not 'exam'"):
        evaluate(trained, "unet", "exam", progress=False)


def test_without_a_test_split_validation_is_scored(trained):
    settings = trained.replace(split_fractions=(0.75, 0.25, 0.0))
    prepare_dataset(settings, progress=False)
    with pytest.raises(ValueError, match="another preparation"):  # test images of then may be training images now
        evaluate(settings, "unet", progress=False)
    train(settings, "unet", progress=False)
    assert set(evaluate(settings, "unet", progress=False)["split"]) == {"validation"}
    assert set(read_scores(settings, ["unet"])["split"]) == {"validation"}
    assert json.loads((settings.results / "unet" / "summary.json").read_text())["split"] == "validation"
    assert "validation images" in verdict(settings, ["unet"]) and "test" not in verdict(settings, ["unet"])


def test_what_is_missing_is_named(trained):
    with pytest.raises(FileNotFoundError, match=r"or `lungnb train .* --model r2unet`"):
        evaluate(trained, "r2unet")
    with pytest.raises(FileNotFoundError, match="score the models"):
        compare(trained, ["unet"])


def test_the_comparison_has_a_row_a_model():
    settings = make_settings()
    names = store(settings, unet=[0.9, 0.8, 0.7], r2unet=[0.6, 0.6, 0.9])
    assert read_scores(settings, names)["model"].tolist() == ["unet"] * 3 + ["r2unet"] * 3
    table = compare(settings, names)
    assert table.index.tolist() == ["U-Net", "R2U-Net"]
    assert list(table) == [
        "images",
        *SCORES,
        "dice_low",
        "dice_high",
        "parameters",
        "multiplications",
        "epochs",
        "training_minutes",
        "milliseconds_per_image",
    ]
    assert table["dice"].tolist() == pytest.approx([0.8, 0.7])
    assert table["images"].tolist() == [3, 3]
    assert table["parameters"].tolist() == [1000, 2000]
    assert table["training_minutes"].tolist() == [1.5, 1.5]
    assert table["milliseconds_per_image"].tolist() == [11, 11]  # the median
    assert table["dice_low"].tolist() == pytest.approx([0.7, 0.6])


def test_the_interval_holds_the_mean_and_narrows_with_patients():
    rng = np.random.default_rng(0)
    widths = []
    for count in (10, 40, 160, 640):
        values = rng.normal(0.9, 0.05, count)
        low, high = mean_interval(table_of(unet=values), "dice")
        assert low < values.mean() < high
        widths.append(high - low)
        normal = 2 * 1.96 * values.std(ddof=1) / np.sqrt(count)  # for many patients, what the normal law says
        if count > 100:
            assert high - low == pytest.approx(normal, rel=0.08)
    assert widths == sorted(widths, reverse=True)


def test_the_interval_is_by_patient():
    table = table_of(unet=np.repeat([0.95, 0.9, 0.2, 0.85, 0.3], 40))
    by_image = mean_interval(table, "dice")
    table["patient"] = np.repeat(list("abcde"), 40)
    low, high = mean_interval(table, "dice")
    assert high - low > 4 * (by_image[1] - by_image[0])
    assert low < table["dice"].mean() < high
    assert mean_interval(table, "dice") == (low, high)  # the same each time
    # Patients of unequal numbers of images: the mean is over images all the same.
    uneven = table_of(unet=[0.2] * 30 + [0.8, 0.8])
    uneven["patient"] = ["a"] * 30 + ["b", "c"]
    low, high = mean_interval(uneven, "dice")
    assert (low, high) == pytest.approx((0.2, 0.8))


def test_one_patient_has_no_interval():
    table = table_of(unet=[0.9, 0.8])
    table["patient"] = "a"
    assert np.isnan(mean_interval(table, "dice")).all()


def test_pooled_counts_are_sums():
    table = pd.DataFrame({"tp": [1, 2], "fp": [3, 4], "fn": [5, 6], "tn": [7, 8]})
    assert pooled_counts(table) == Counts(3, 7, 11, 15)


def test_pairs_are_tested_as_scipy_does():
    rng = np.random.default_rng(1)
    unet, resunet, r2unet = rng.uniform([[0.8], [0.82], [0.85]], [[0.9], [0.92], [0.95]], (3, 30))
    unet[:4] = resunet[:4]  # ties are left out
    tests = paired_tests(table_of(unet=unet, resunet=resunet, r2unet=r2unet)).set_index(["first", "second"])
    pairs = {("unet", "resunet"): unet - resunet, ("unet", "r2unet"): unet - r2unet}
    pairs["resunet", "r2unet"] = resunet - r2unet
    assert set(tests.index) == set(pairs)
    for pair, difference in pairs.items():
        assert tests.loc[pair, "difference"] == pytest.approx(difference.mean())
        assert tests.loc[pair, "p"] == pytest.approx(stats.wilcoxon(difference[difference != 0]).pvalue)


def test_effect_size_by_hand():
    # Ranks 1, 2, 3 for, 4 against: (1 + 2 + 3 - 4) / 10.
    tests = paired_tests(table_of(unet=[0.51, 0.52, 0.53, 0.46], resunet=[0.5] * 4))
    assert tests["effect"].tolist() == pytest.approx([0.2])
    assert tests["difference"].tolist() == pytest.approx([0.005])


def test_holm_by_hand():
    steps = np.arange(1, 9) / 100
    tests = paired_tests(table_of(a=0.5 + steps, b=[0.5] * 8, c=[0.5] * 8)).set_index(["first", "second"])
    # Eight of eight in one direction: p = 2 / 2**8, twice; b and c are the same.
    assert tests["p"].tolist() == pytest.approx([2 / 256, 2 / 256, 1])
    assert tests["p_holm"].tolist() == pytest.approx([6 / 256, 6 / 256, 1])  # 3 * p; max(2 * p, before); 1
    assert tests["effect"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.001, 0.4], [0.8, 0.003, 0.8]),
        ([0.2, 0.9, 0.6], [0.6, 1.0, 1.0]),
    ],
)
def test_holm_by_the_book(monkeypatch, p, expected):
    given = iter(p)
    monkeypatch.setattr(stats, "wilcoxon", lambda _: type("Result", (), {"pvalue": next(given)}))
    tests = paired_tests(table_of(a=[0.9, 0.8], b=[0.7, 0.7], c=[0.5, 0.6]))
    assert tests["p_holm"].tolist() == pytest.approx(expected)


def test_one_model_makes_no_pair():
    tests = paired_tests(table_of(unet=[0.9, 0.8]))
    assert tests.empty
    assert "p_holm" in tests


@pytest.mark.parametrize(("count", "few"), [(20, True), (49, True), (50, False)])
def test_the_verdict_names_the_best_model_and_warns_of_few_images(count, few):
    settings = make_settings()
    rng = np.random.default_rng(2)
    base = rng.uniform(0.80, 0.85, count)
    unlike = base + 0.1 + rng.normal(0, 0.002, count)
    half = rng.uniform(0.01, 0.02, count // 2)
    like = unlike - 0.0006 + np.concatenate([half, -half, [0] * (count % 2)])
    text = verdict(settings, store(settings, unet=base, r2unet=unlike, resunet=like))
    sentences = text.split(". ")
    assert text.startswith(f"R2U-Net has the highest mean Dice, {unlike.mean():.3f} (95 % interval 0.9")
    assert f"on {count} test images of phantom" in text
    assert any(s.startswith("U-Net is 0.1") and "unlikely to be chance" in s for s in sentences)
    assert any(s.startswith("ResUNet is 0.00") and "chance alone could explain" in s for s in sentences)
    assert "the smallest with 1,000 parameters" in text
    assert (f"With {count} images, fewer than 50" in text) == few


def test_the_verdict_on_one_model():
    settings = make_settings()
    text = verdict(settings, store(settings, unet=[0.9, 0.8, 0.7]))
    assert text.startswith("U-Net has a mean Dice of 0.800 (95 % interval 0.7")
    assert "on 3 test images of phantom. It takes 11 ms an image on this machine and has 1,000 parameters." in text
    assert "highest" not in text and "quickest" not in text


def test_the_verdict_on_one_patient_gives_no_interval():
    settings = make_settings()
    names = store(settings, unet=[0.9, 0.8])
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file).assign(patient="a").to_csv(file, index=False)
    assert verdict(settings, names).startswith("U-Net has a mean Dice of 0.850 on 2 test images")


def test_the_summary_says_what_a_run_came_to(trained):
    table = evaluate(trained, "unet", progress=False)
    summary = json.loads((trained.results / "unet" / "summary.json").read_text())
    run = json.loads((trained.results / "unet" / "run.json").read_text())
    assert list(summary) == [
        *("recipe", "dataset", "model", "split", "n", "metrics", "command", "device", "wall_seconds"),
        "milliseconds_per_image",
    ]
    assert list(summary["metrics"]) == [*SCORES, "loss"]
    for name, values in summary["metrics"].items():
        assert values["mean"] == pytest.approx(table[name].mean())
        assert (values["low"], values["high"]) == pytest.approx(mean_interval(table, name))
    assert (summary["recipe"], summary["dataset"], summary["model"]) == (None, "scans", "unet")
    assert (summary["split"], summary["n"]) == ("test", len(table))
    assert (summary["device"], summary["wall_seconds"]) == (run["device"], run["wall_seconds"])
    assert summary["milliseconds_per_image"] == table["milliseconds"].median()
    assert summary["command"] == command_of(trained, "unet")
    assert summarise(trained, "unet", "make report")["command"] == "make report"


def test_the_summary_of_one_patient_is_json_without_an_interval(trained):
    evaluate(trained, "unet", progress=False)
    file = trained.results / "unet" / "scores.csv"
    pd.read_csv(file).assign(patient="a").to_csv(file, index=False)
    summarise(trained, "unet")
    text = (trained.results / "unet" / "summary.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["dice"]["low"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"dataset": "montgomery", "profile": "full", "epochs": 3, "flip": False},
        {"profile": "simple-unet"},
        {"profile": "ct-bmp", "split_fractions": (0.8, 0.1, 0.1), "learning_rate": 3e-5, "seed": 2},
        {"profile": "simple-unet", "dataset": "phantom", "models": ("unet", "resunet")},
        {"profile": "simple-unet", "dataset": "phantom", "split_file": "montgomery-gaal2020"},
        {"profile": "simple-unet", "split_file": None, "patient_pattern": r"^(.+?) _\d+'s$"},
        {"profile": "ct-hu-pretrained", "window": (-160.0, 240.0), "weights": None},
    ],
)
def test_the_command_gives_the_settings(arguments, home, monkeypatch):
    monkeypatch.setenv("LUNGNB_DATASET", "other")
    monkeypatch.setenv("LUNGNB_PROFILE", "full")
    settings = make_settings(**arguments)
    download, *commands = command_of(settings, "unet").split(" && ")
    assert shlex.split(download) == ["lungnb", "download", settings.dataset]
    for verb, command in zip(("prepare", "train", "evaluate"), commands, strict=True):
        options = _parser().parse_args(shlex.split(command)[1:])
        assert shlex.split(command)[:2] == ["lungnb", verb] and _settings(options) == settings
        assert verb == "prepare" or options.model == ["unet"]


def test_the_classification_table_is_that_of_the_pixels():
    rng = np.random.default_rng(3)
    truth = rng.random(2000) < 0.3
    found = np.where(rng.random(2000) < 0.1, ~truth, truth)
    table = classification_table(evaluation.count_pixels(truth, found))
    expected = precision_recall_fscore_support(truth, found)
    assert table.loc[["background", "lung"]].to_numpy().T == pytest.approx(np.array(expected))
    assert table.loc["accuracy", "f1-score"] == pytest.approx((truth == found).mean())
    assert table["support"].tolist() == [(~truth).sum(), truth.sum(), 2000, 2000, 2000]


def test_the_classification_table_of_empty_masks():
    table = classification_table(Counts(0, 0, 0, 9))
    assert table.loc["lung"].tolist() == [0, 0, 0, 0] and table.loc["accuracy", "f1-score"] == 1


def test_seeds_are_compared_model_by_model(home):
    settings = make_settings("phantom")
    store(settings, unet=[0.9, 0.8], r2unet=[0.6, 0.6])
    store(settings.replace(seed=2), unet=[0.7, 0.6], r2unet=[0.6, 0.6])
    by_seed = compare_seeds(settings, ["unet", "r2unet"], [1, 2])
    assert by_seed[["model", "seed"]].to_numpy().tolist() == [["unet", 1], ["r2unet", 1], ["unet", 2], ["r2unet", 2]]
    table = over_seeds(by_seed)
    assert table.index.tolist() == ["U-Net", "R2U-Net"]
    assert table["seeds"].tolist() == [2, 2]
    assert table["dice"].tolist() == pytest.approx([0.75, 0.6])
    assert table["dice_sd"].tolist() == pytest.approx([np.std([0.85, 0.65], ddof=1), 0])
    assert table.loc["U-Net", ["dice_low", "dice_high"]].tolist() == pytest.approx([0.65, 0.85])
    assert table["parameters"].tolist() == [1000, 2000]
    with pytest.raises(FileNotFoundError, match="score the models"):
        compare_seeds(settings, ["unet"], [3])
