import shutil
import sqlite3
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.processes import ended, start
from lungnb.evaluation import search
from lungnb.evaluation.search import best_settings, search_settings
from lungnb.figures.charts import search_chart
from lungnb.networks.losses import LOSSES
from lungnb.networks.training import train

optuna = pytest.importorskip("optuna")


@pytest.mark.slow
@pytest.mark.graphs  # quicker than eager training where there are many steps
def test_a_search_writes_a_table_and_is_not_repeated(prepared, capsys):
    shutil.rmtree(prepared.prepared / "test")  # nobody is to look
    settings = prepared.replace(filters=4, epochs=8, batch_size=2, learning_rate=0.01)
    table = search_settings(settings, "unet", trials=2)
    shown = capsys.readouterr()
    assert "unet search: 100%" in shown.out and "best validation Dice 0." in shown.out and shown.err == ""

    assert table["number"].tolist() == [1, 2]
    assert table["state"].tolist() == ["complete", "complete"]
    assert table["learning_rate"].between(1e-3, 0.1).all() and table["learning_rate"].nunique() == 2
    assert table["loss"].isin([*LOSSES]).all()
    assert table["filters"].isin([2, 4, 8]).all()
    assert table["augmentation"].between(0, 2).all()
    assert table["validation_dice"].between(0, 1).all() and (table["validation_dice"] > 0).any()
    assert table["epochs"].tolist() == [8, 8]
    assert (table["seconds"] > 0).all()
    folder = prepared.results / "search"
    assert {path.name for path in folder.iterdir() if path.suffix != ".lock"} == {"unet.db", "unet.csv"}
    pd.testing.assert_frame_equal(pd.read_csv(folder / "unet.csv"), table)

    chosen, best = best_settings(settings, "unet"), table.loc[table["validation_dice"].idxmax()]
    assert (chosen.learning_rate, chosen.loss, chosen.filters) == (best["learning_rate"], best["loss"], best["filters"])
    assert chosen.zoom == pytest.approx(prepared.zoom * best["augmentation"])
    assert chosen.rotation == pytest.approx(prepared.rotation * best["augmentation"])
    assert chosen.contrast == pytest.approx(prepared.contrast * best["augmentation"])
    unsearched = ("learning_rate", "loss", "filters", "zoom", "rotation", "contrast")
    assert chosen.replace(**{name: getattr(settings, name) for name in unsearched}) == settings

    stamp = (folder / "unet.db").stat().st_mtime_ns
    pd.testing.assert_frame_equal(search_settings(settings, "unet", trials=2, progress=False), table)
    assert (folder / "unet.db").stat().st_mtime_ns == stamp
    history = train(chosen, "unet", progress=False)  # a trial trains as `train` does, but for rounding
    assert history["val_dice"].max() == pytest.approx(best["validation_dice"], abs=0.03)


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_fails_only_its_trial(prepared):
    settings = prepared.replace(learning_rate=1e30)
    table = search_settings(settings, "unet", trials=2, progress=False)
    assert table["state"].tolist() == ["failed", "failed"]
    assert table["number"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"unet: no trial .* is complete: search .* lower learning_rate than 1e\+30"):
        best_settings(settings, "unet")
    assert not any(len(points.get_offsets()) for points in search_chart(table).axes[0].collections)


def test_mistakes_are_named_before_searching(prepared, monkeypatch):
    with pytest.raises(FileNotFoundError, match="search \\(notebook 12\\) first"):
        best_settings(prepared, "unet")
    with pytest.raises(ValueError, match="model must be one of unet"):
        search_settings(prepared, "vnet")
    assert not prepared.results.exists()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "optuna", None)  # as if it were not installed
        with pytest.raises(ValueError, match=r"pip install 'lungnb\[search\]'"):
            search_settings(prepared, "unet")
    shutil.rmtree(prepared.prepared)
    with pytest.raises(FileNotFoundError, match="notebook 02"):
        search_settings(prepared, "unet")


# Interruptions. The process dies at once, as by kill -9, in the given epoch of the given trial; the last one ends it.
RUN = """
import os, sys
from lungnb.evaluation import search
from lungnb.settings import Settings

dataset, trial, epoch, trials = sys.argv[1], *map(int, sys.argv[2:])
settings = Settings(dataset=dataset, image_size=32, filters=4, depth=2, epochs=6, batch_size=2, deterministic=True,
                    learning_rate=0.01)
on_epoch_end = search._Watch.on_epoch_end

def deadly(self, now, logs=None):
    on_epoch_end(self, now, logs)
    if self._trial.number == trial and now == epoch:
        os._exit(9)

search._Watch.on_epoch_end = deadly
search.search_settings(settings, "unet", trials, progress=False)
"""


@pytest.mark.slow
def test_a_killed_search_ends_where_the_uninterrupted_one_does(prepared, home, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        shutil.copytree(home / "data", folder / "data")
    uninterrupted = start(RUN, whole, prepared.dataset, -1, -1, 3)
    tables = [folder / "results" / "scans" / "search" / "unet.csv" for folder in (whole, broken)]
    code, output = ended(start(RUN, broken, prepared.dataset, 1, 2, 3))
    assert code == 9, output
    kept = pd.read_csv(tables[1])
    assert kept["state"].tolist() == ["complete"]
    for process in (start(RUN, broken, prepared.dataset, -1, -1, 3), uninterrupted):
        code, output = ended(process)
        assert code == 0 and not output, output

    expected, found = (pd.read_csv(table) for table in tables)
    pd.testing.assert_frame_equal(found.head(1), kept)  # what was finished was kept, its seconds too
    assert expected["number"].tolist() == [1, 2, 3]
    assert expected["validation_dice"].nunique() > 1  # or equal tables would say little
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), expected.drop(columns="seconds"), atol=1e-6)
    with sqlite3.connect(tables[1].with_suffix(".db")) as database:
        states = [state for (state,) in database.execute("SELECT state FROM trials ORDER BY number")]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


@pytest.fixture
def quick_fit(monkeypatch):
    """Trials whose validation Dice is a formula of what was chosen, so that there can be many of them."""
    fits = []

    def fit(settings, *_, more, **__):
        (watch,) = more
        fits.append(settings)
        height = 0.9 - (np.log10(settings.learning_rate) + 2.5) ** 2 / 10 - 0.1 * (settings.loss == "bce")
        if settings.zoom > 0.19:
            raise FloatingPointError("the loss became NaN")
        for epoch in range(settings.epochs):
            watch.on_epoch_end(
                epoch, {"loss": 1.0, "val_loss": 1.0, "val_dice": height * (epoch + 1) / settings.epochs}
            )

    monkeypatch.setattr(search, "train", fit)
    return fits


@pytest.mark.slow
def test_an_interrupted_search_proposes_what_the_uninterrupted_one_does(prepared, quick_fit, monkeypatch):
    settings = prepared.replace(epochs=4)
    whole = search_settings(settings, "unet", trials=12, progress=False)
    assert set(whole["state"]) == {"complete", "pruned", "failed"}  # or the seed is to be changed
    assert (whole.loc[whole["state"] == "pruned", "epochs"] < 4).all()

    shutil.rmtree(settings.results)
    for trials in (3, 8, 8):  # cut off in the trial after these; the sampler learns from the sixth on
        search_settings(settings, "unet", trials=trials, progress=False)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(search, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
            search_settings(settings, "unet", trials=12, progress=False)
    resumed = search_settings(settings, "unet", trials=12, progress=False)
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), whole.drop(columns="seconds"))


@pytest.mark.parametrize("change", ["settings", "data", "more trials"])
def test_only_the_same_search_is_continued(prepared, quick_fit, change):
    first = search_settings(prepared, "unet", trials=3, progress=False)
    settings, trials, manifest = prepared, 3, prepared.prepared / "manifest.csv"
    if change == "settings":
        settings = prepared.replace(optimizer="sgd")
    elif change == "data":
        manifest.write_text(manifest.read_text().replace("train", "validation", 1))
    else:
        trials = 5
    if change != "more trials":
        with pytest.raises(ValueError, match="no trial with these settings on these data"):
            best_settings(settings, "unet")
    second = search_settings(settings, "unet", trials=trials, progress=False)
    assert len(second) == trials
    assert len(quick_fit) == (5 if change == "more trials" else 6)
    if change == "settings":
        pd.testing.assert_frame_equal(
            search_settings(prepared, "unet", trials=3, progress=False), first
        )  # it is still there
        assert len(quick_fit) == 6
