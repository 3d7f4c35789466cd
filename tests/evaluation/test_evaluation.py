import json
import shlex

import numpy as np
import pandas as pd
import pytest

from helpers.tables import store_scores
from lungnb.commands.actions import _settings
from lungnb.commands.parser import make_parser
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.engines.engines import engine_of, load_model
from lungnb.evaluation import scoring
from lungnb.evaluation.evaluation import compare, evaluate, read_scores, summarise
from lungnb.evaluation.repeats import compare_seeds, seed_summary
from lungnb.evaluation.scoring import distance_summary
from lungnb.evaluation.statistics import mean_interval, patient_means
from lungnb.formats.images import read_image, read_mask
from lungnb.formats.tables import read_table
from lungnb.metrics import OVERLAP_SCORES, SURFACE_SCORES, count_pixels, scores, surface_scores
from lungnb.networks.records import code_digest
from lungnb.networks.training import read_run, train
from lungnb.presets import command_of, make_settings

ALL = [*OVERLAP_SCORES, *SURFACE_SCORES]
PARTS = ["right_dice", "left_dice", "costophrenic", "raw_dice", "raw_hd95"]
COLUMNS = ["id", "patient", "split", "group", "unit", *ALL, *PARTS, "loss", "tp", "fp", "fn", "tn", "milliseconds"]


def test_every_test_image_has_a_row_with_every_score(trained):
    table = evaluate(trained, "unet", progress=False)
    assert list(table) == COLUMNS
    manifest = read_manifest(trained).query("split == 'test'")
    assert table["id"].tolist() == manifest["id"].tolist()
    assert (table[["tp", "fp", "fn", "tn"]].sum(axis=1) == manifest["width"].iloc[0] * manifest["height"].iloc[0]).all()
    assert table[[*OVERLAP_SCORES, "nsd"]].stack().between(0, 1).all()
    assert table[["hd95", "assd"]].stack().ge(0).all()
    assert (table["milliseconds"] > 0).all()
    stored = read_table(trained.results / "unet" / "scores.csv")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)


def test_rows_are_scores_at_the_prepared_images_size(trained):
    from lungnb.segmentation.predict import segment

    row = evaluate(trained, "unet", progress=False).iloc[0]
    entry = read_manifest(trained).set_index("id").loc[row["id"]]
    model = trained.results / "unet" / "model.keras"
    found = segment(trained.prepared / entry["image"], model).mask
    truth = read_mask(trained.prepared / entry["mask"])
    assert row["unit"] == "%"
    assert row[ALL].to_dict() == pytest.approx(scores(count_pixels(truth, found)) | surface_scores(truth, found))


def test_perfect_predictions_score_1(trained, monkeypatch):
    truth = {}
    for row in read_manifest(trained).to_dict("records"):
        mask = read_mask(trained.prepared / row["mask"])
        truth[read_image(trained.prepared / row["image"]).tobytes()] = mask.astype(np.float32)
    monkeypatch.setattr(scoring, "predict", lambda model, image: truth[image.tobytes()])
    table = evaluate(trained, "unet", progress=False)
    assert (table[list(OVERLAP_SCORES)] == 1).all(axis=None)
    assert (table[["fp", "fn", "hd95", "assd"]] == 0).all(axis=None) and (table["nsd"] == 1).all()
    monkeypatch.setattr(scoring, "predict", lambda model, image: 1 - truth[image.tobytes()])
    assert (evaluate(trained, "unet", progress=False)["raw_dice"] == 0).all()


def test_probabilities_that_are_not_numbers_are_named(trained, monkeypatch):
    monkeypatch.setattr(scoring, "predict", lambda model, image: np.full(image.shape, np.nan, np.float32))
    first = read_manifest(trained).query("split == 'test'")["id"].iloc[0]
    with pytest.raises(ValueError, match=f"unet gives probabilities of {first} that are not numbers"):
        evaluate(trained, "unet", progress=False)
    assert not (trained.results / "unet" / "scores.csv").exists()


def test_distances_are_in_millimetres_where_a_pixels_size_is_known(trained):
    percent = evaluate(trained, "unet", progress=False)
    file = trained.prepared / "manifest.csv"
    pd.read_csv(file).assign(pixel_height_mm=0.5, pixel_width_mm=0.5).to_csv(file, index=False)
    train(trained, "unet", progress=False)  # for the manifest is another
    mm = evaluate(trained, "unet", progress=False)
    assert set(mm["unit"]) == {"mm"}
    np.testing.assert_allclose(mm[["hd95", "assd"]], percent[["hd95", "assd"]] * 64 / 100 / 2)
    assert (mm["nsd"] >= percent["nsd"]).all()  # 2 mm are 4 px, and 0.5 % a third of one
    assert json.loads((trained.results / "unet" / "summary.json").read_text())["unit"] == "mm"


def test_tables_that_do_not_belong_together_are_named():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9, 0.8, 0.7], r2unet=[0.6, 0.6, 0.9])
    file = settings.results / "r2unet" / "scores.csv"
    table = pd.read_csv(file, dtype={"id": str})
    table.head(2).to_csv(file, index=False)
    with pytest.raises(ValueError, match="r2unet has no dice of 002"):
        compare(settings, names)
    for old in (table.drop(columns="raw_hd95"), table.assign(unit="px")):
        old.to_csv(file, index=False)
        with pytest.raises(ValueError, match=r"r2unet was scored by an earlier lungnb.*in pixels: score the models"):
            compare(settings, names)


def test_the_loss_is_the_training_loss_at_the_prepared_images_size(trained):
    from lungnb.segmentation.inference import predict

    row = evaluate(trained.replace(loss="dice"), "unet", progress=False).iloc[0]  # trained with bce_iou all the same
    entry = read_manifest(trained).set_index("id").loc[row["id"]]
    engine = engine_of(load_model(trained.results / "unet" / "model.keras"))  # has no temperature
    p = predict(engine, read_image(trained.prepared / entry["image"]))
    truth = read_mask(trained.prepared / entry["mask"])
    cross_entropy = -np.log(np.where(truth, p, 1 - p)).mean()
    both, total = p[truth].sum(), p.sum() + truth.sum()
    assert row["loss"] == pytest.approx(cross_entropy + 1 - (both + 1) / (total - both + 1), rel=1e-4)


def test_other_splits_are_scored_without_touching_the_test_scores(trained):
    table = evaluate(trained, "unet", "validation", progress=False)
    assert table["id"].tolist() == read_manifest(trained).query("split == 'validation'")["id"].tolist()
    assert not (trained.results / "unet" / "scores.csv").exists()
    assert not (trained.results / "unet" / "summary.json").exists()
    with pytest.raises(ValueError, match="split must be one of train, validation, test, which scans has, not 'exam'"):
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


def test_what_is_missing_is_named(trained):
    with pytest.raises(FileNotFoundError, match=r"or `lungnb train .* --model r2unet`"):
        evaluate(trained, "r2unet")
    with pytest.raises(FileNotFoundError, match="score the models"):
        compare(trained, ["unet"])


def test_the_comparison_has_a_row_a_model():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9, 0.8, 0.7], r2unet=[0.6, 0.6, 0.9])
    assert read_scores(settings, names)["model"].tolist() == ["unet"] * 3 + ["r2unet"] * 3
    table = compare(settings, names)
    assert table.index.tolist() == ["U-Net", "R2U-Net"]
    assert list(table) == [
        *("images", "patients", "unit"),
        *OVERLAP_SCORES,
        *("right_dice", "left_dice", "raw_dice"),
        *(f"{name}_{level}" for name in SURFACE_SCORES for level in ("median", "q1", "q3")),
        *("raw_hd95_median", "empty", "failed"),
        *("dice_low", "dice_high", "first", "pooled_dice", "pooled_iou"),
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
    assert table["patients"].tolist() == [3, 3]
    assert (table["dice_low"] < table["dice"]).all() and (table["dice"] < table["dice_high"]).all()
    assert table["first"].sum() == pytest.approx(1) and table["first"].between(0.1, 0.9).all()
    assert table["pooled_dice"].tolist() == pytest.approx([600 / 603] * 2)  # of the sums of all images' counts
    assert table["pooled_iou"].tolist() == pytest.approx([300 / 303] * 2)


def test_the_comparison_takes_means_over_patients():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9, 0.8, 0.4])
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file, dtype={"id": str}).assign(patient=["a", "a", "b"]).to_csv(file, index=False)
    row = compare(settings, names).loc["U-Net"]
    assert (row["images"], row["patients"]) == (3, 2)
    assert row["dice"] == row["raw_dice"] == pytest.approx((0.85 + 0.4) / 2)


def test_distances_are_in_mm_of_all_images_or_of_none(trained):
    manifest = pd.read_csv(trained.prepared / "manifest.csv")
    sizes = ["pixel_height_mm", "pixel_width_mm"]
    manifest[sizes] = 0.5
    model = load_model(trained.results / "unet" / "model.keras")
    for unit in ("mm", "%"):
        manifest.to_csv(trained.prepared / "manifest.csv", index=False)
        assert set(scoring.score_images(model, open_prepared(trained), progress=False)["unit"]) == {unit}
        manifest.loc[0, sizes] = np.nan


def test_the_summary_has_the_results_of_a_run(trained):
    table = evaluate(trained, "unet", progress=False)
    summary = json.loads((trained.results / "unet" / "summary.json").read_text())
    run = json.loads((trained.results / "unet" / "run.json").read_text())
    assert list(summary) == [
        *("recipe", "dataset", "model", "split", "n", "metrics", "distances", "unit"),
        *("command", "device", "wall_seconds", "milliseconds_per_image", "processor", "git_commit", "code_digest"),
    ]
    assert summary["code_digest"] == code_digest()
    assert list(summary["metrics"]) == [*OVERLAP_SCORES, "right_dice", "left_dice", "costophrenic", "raw_dice", "loss"]
    assert summary["distances"] == distance_summary(table)
    for name, values in summary["metrics"].items():
        assert values["mean"] == pytest.approx(patient_means(table, name).mean())
        assert (values["low"], values["high"]) == pytest.approx(mean_interval(table, name))
    assert (summary["recipe"], summary["dataset"], summary["model"]) == (None, "scans", "unet")
    assert (summary["split"], summary["n"]) == ("test", len(table))
    assert (summary["device"], summary["wall_seconds"]) == (run["device"], run["wall_seconds"])
    assert summary["milliseconds_per_image"] == table["milliseconds"].median()
    assert summary["command"] == command_of(trained, "unet")


def test_the_summary_of_one_patient_is_json_without_an_interval(trained):
    scores = evaluate(trained, "unet", progress=False).assign(patient="a")
    text = json.dumps(summarise(read_run(trained, "unet"), scores, trained.name))
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
        options = make_parser().parse_args(shlex.split(command)[1:])
        assert shlex.split(command)[:2] == ["lungnb", verb] and _settings(options) == settings
        assert verb == "prepare" or options.model == ["unet"]


def test_seeds_are_compared_model_by_model(home):
    settings = make_settings("phantom")
    store_scores(settings, unet=[0.9, 0.8], r2unet=[0.6, 0.6])
    store_scores(settings.replace(seed=2), unet=[0.7, 0.6], r2unet=[0.6, 0.6])
    by_seed = compare_seeds(settings, ["unet", "r2unet"], [1, 2])
    assert by_seed[["model", "seed"]].to_numpy().tolist() == [["unet", 1], ["r2unet", 1], ["unet", 2], ["r2unet", 2]]
    table = seed_summary(by_seed)
    assert table.index.tolist() == ["U-Net", "R2U-Net"]
    assert table["seeds"].tolist() == [2, 2]
    assert table["dice"].tolist() == pytest.approx([0.75, 0.6])
    assert table["dice_sd"].tolist() == pytest.approx([np.std([0.85, 0.65], ddof=1), 0])
    assert table.loc["U-Net", ["dice_low", "dice_high"]].tolist() == pytest.approx([0.65, 0.85])
    assert table["parameters"].tolist() == [1000, 2000]
    with pytest.raises(FileNotFoundError, match="score the models"):
        compare_seeds(settings, ["unet"], [3])
