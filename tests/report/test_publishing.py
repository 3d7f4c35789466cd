import json
import shutil

import pandas as pd
import pytest

from lungnb.artefacts import MODEL_FILES, TEMPERATURE
from lungnb.evaluation.evaluation import evaluate
from lungnb.evaluation.repeats import train_repeatedly
from lungnb.figures import plots
from lungnb.metrics import Counts
from lungnb.networks.records import code_digest
from lungnb.presets import make_settings
from lungnb.report.publishing import publish, save_artefact


def compared(settings):
    """Score the trained U-Net and keep what notebook 06 would, pictures included."""
    scores = evaluate(settings, "unet", progress=False)
    save_artefact(settings, "comparison", scores)
    save_artefact(settings, "verdict", "fine")
    for name in ("learning_curves", "loss_train", "dice_test", "side_by_side", "worst_images", "predictions_unet"):
        save_artefact(settings, name, plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)}))


def test_publish_copies_scores_and_charts_but_no_pictures_and_no_paths(trained, home):
    settings = trained.replace(models=("unet",))
    with pytest.raises(FileNotFoundError, match="notebook 06"):
        publish(settings)
    compared(settings)
    folder = publish(settings)
    assert folder == home / "results" / "published" / "scans"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("all_scores.csv", "comparison.csv", "dice_test.png", "history.csv", "learning_curves.png", "loss_train.png"),
        *("run.json", "scores.csv", "summary.json", "temperature.json", "trainings.csv", "verdict.txt"),
    ]
    for path in folder.iterdir():
        assert str(home).encode() not in path.read_bytes() and settings.dataset.encode() not in path.read_bytes()
    assert "lungnb train scans --profile quick --set" in (folder / "summary.json").read_text()
    pd.testing.assert_frame_equal(
        pd.read_csv(folder / "scores.csv"), pd.read_csv(settings.results / "unet" / "scores.csv")
    )


def test_publish_gives_each_of_several_models_a_folder_and_spares_what_is_there(trained, home):
    compared(trained)
    shutil.copytree(trained.results / "unet", trained.results / "resunet")
    (home / "out").mkdir()
    (home / "out" / "notes.txt").write_text("kept")
    folder = publish(trained.replace(models=("unet", "resunet")), home / "out")
    assert {path.name for path in (folder / "resunet").iterdir()} == {*MODEL_FILES, TEMPERATURE}
    assert (folder / "unet" / "summary.json").exists() and (folder / "verdict.txt").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert [*summary["models"]] == ["unet", "resunet"] and summary["trainings"] == 2
    assert summary["command"].startswith("lungnb report scans --profile quick --set")
    assert summary["code_digest"] == [code_digest()] and str(home) not in json.dumps(summary)
    (trained.results / "unet" / "temperature.json").unlink()  # as earlier versions left it
    publish(trained.replace(models=("unet",)), home / "earlier")
    assert not (home / "earlier" / "temperature.json").exists()
    assert (folder / "notes.txt").read_text() == "kept"
    with pytest.raises(FileNotFoundError, match="lungnb evaluate"):
        publish(trained, home / "out")  # r2unet was not trained


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_publish_gives_the_scores_of_every_fold_and_seed(trained, home, seeds):
    settings = trained.replace(models=("unet",), folds=2, epochs=1)
    repeated = train_repeatedly(settings, ["unet"], seeds, progress=False)
    train_repeatedly(settings.replace(seed=seeds + 1, filters=3), ["unet"], progress=False)  # another network
    save_artefact(settings, "verdict", "fine")
    folder = publish(settings)
    scores, trainings = (pd.read_csv(folder / name) for name in ("all_scores.csv", "trainings.csv"))
    keys = ["id", "seed", "fold"]
    pd.testing.assert_series_equal(
        scores.set_index(keys)["dice"].sort_index(), repeated.set_index(keys)["dice"].sort_index(), rtol=1e-6
    )
    assert len(scores) == 12 * seeds and len(trainings) == 2 * seeds and {*scores["model"]} == {"unet"}
    assert {*trainings["code_digest"]} == {code_digest()} and trainings["processor"].notna().all()
    means = scores.groupby(["seed", "fold"])["dice"].mean()
    assert means.tolist() == pytest.approx(trainings.set_index(["seed", "fold"])["dice"].sort_index().tolist())
    shutil.rmtree(settings.replace(fold=2).results)
    with pytest.raises(FileNotFoundError, match="fold2of2"):
        publish(settings)


def test_save_artefact_writes_figures_tables_and_texts(home):
    settings = make_settings()
    figure = plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)})
    assert save_artefact(settings, "scores", figure) is figure
    table = save_artefact(settings, "table", pd.DataFrame({"a": [1.5]}))
    assert save_artefact(settings, "verdict", "fine") == "fine"
    folder = settings.results / "comparison"
    assert sorted(path.name for path in folder.iterdir()) == ["scores.png", "table.csv", "verdict.txt"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "table.csv", index_col=0), table)
