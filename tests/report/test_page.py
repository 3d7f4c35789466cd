import base64
import json
import os
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lungnb.evaluation.evaluation import evaluate
from lungnb.figures import plots
from lungnb.files import write_table
from lungnb.formats.images import write_png
from lungnb.metrics import Counts
from lungnb.report import page as report
from lungnb.report.sections import lighter
from lungnb.settings import RECIPES, make_settings


def notebook(path, title, source):
    cells = [
        new_markdown_cell(f"# {title}\nSee [next](01_next.ipynb)."),
        new_code_cell("DATASET = PROFILE = None", metadata={"tags": ["parameters"]}),
        new_markdown_cell("Told before."),
        new_code_cell(source),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_the_series_runs_in_order_with_parameters_and_is_reported(home, monkeypatch):
    print_them = "print('<b>' + DATASET + '</b>', PROFILE)"
    paths = [
        notebook(home / "00_first.ipynb", "First <x>", print_them),
        notebook(home / "01_next.ipynb", "Next", "1 + 1"),
    ]
    monkeypatch.setattr(report, "series", lambda everything, models: paths)
    path = report.run_series("phantom", "quick")
    assert path == home / "results" / "phantom" / "report.html"
    page = path.read_text()
    assert page.index('id="00_first"') < page.index('id="01_next"')
    assert "&lt;b&gt;phantom&lt;/b&gt; quick" in page and "First &lt;x&gt;" in page
    assert 'href="#01_next"' in page and ".ipynb" not in page
    assert 'src="http' not in page and "<link" not in page and "{{" not in page  # opens from disk, whole


def test_an_error_names_the_notebook_and_is_kept(home, monkeypatch):
    paths = [notebook(home / "00_first.ipynb", "First", "raise ValueError('no lungs')")]
    monkeypatch.setattr(report, "series", lambda everything, models: paths)
    with pytest.raises(RuntimeError, match=r"00_first\.ipynb: ValueError: no lungs"):
        report.run_series()
    assert (home / "results" / "phantom" / "notebooks" / "00_first.ipynb").exists()


def test_series_without_later_notebooks():
    numbers = [int(path.name[:2]) for path in report.series()]
    assert numbers == list(range(report.CORE_SERIES + 1))
    assert len(report.series(everything=True)) >= len(numbers)


def test_a_series_has_the_notebooks_of_the_networks_that_are_to_be_trained():
    names = [path.stem for path in report.series(models=("unet", "attention_unet"))]
    assert "03_unet" in names and "06_compare" in names and "02_prepare" in names
    assert not {"04_resunet", "05_r2unet"} & set(names)


def test_a_recipe_reaches_the_notebooks_by_its_name(home, monkeypatch):
    paths, asked = [notebook(home / "00_first.ipynb", "First", "print(DATASET, PROFILE)")], []
    monkeypatch.setattr(report, "series", lambda everything, models: asked.append(models) or paths)
    path = report.run_series(profile="simple-unet")
    assert path == home / "results" / "montgomery.simple-unet" / "report.html"
    assert asked == [("unet",)]
    assert "montgomery simple-unet" in path.read_text()
    assert "recipe <b>simple-unet</b>" in path.read_text()
    assert ".ipynb" not in path.read_text() and ">next" not in path.read_text()  # no link to what is not there
    assert "See next." in path.read_text()


def test_recipes_are_a_table_of_their_settings():
    table = report.recipes()
    assert table.index.tolist() == [*RECIPES]
    for name, recipe in RECIPES.items():
        assert table.loc[name, "about"] == recipe.about
        assert table.loc[name, "epochs"] == recipe.settings.epochs
        assert table.loc[name, "models"].split(", ") == [*recipe.settings.models]


def compared(settings):
    """Score the trained U-Net and keep what notebook 06 would, pictures included."""
    scores = evaluate(settings, "unet", progress=False)
    report.keep(settings, "comparison", scores)
    report.keep(settings, "verdict", "fine")
    for name in ("learning_curves", "loss_train", "dice_test", "side_by_side", "worst_images", "predictions_unet"):
        report.keep(settings, name, plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)}))


def test_publish_copies_scores_and_charts_but_no_pictures_and_no_paths(trained, home):
    settings = trained.replace(models=("unet",))
    with pytest.raises(FileNotFoundError, match="notebook 06"):
        report.publish(settings)
    compared(settings)
    folder = report.publish(settings)
    assert folder == home / "results" / "published" / "scans"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("comparison.csv", "dice_test.png", "history.csv", "learning_curves.png", "loss_train.png"),
        *("run.json", "scores.csv", "summary.json", "verdict.txt"),
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
    folder = report.publish(trained.replace(models=("unet", "resunet")), home / "out")
    assert {path.name for path in (folder / "resunet").iterdir()} == set(report.MODEL_FILES)
    assert (folder / "unet" / "summary.json").exists() and (folder / "verdict.txt").exists()
    assert not (folder / "summary.json").exists()
    assert (folder / "notes.txt").read_text() == "kept"
    with pytest.raises(FileNotFoundError, match="lungnb evaluate"):
        report.publish(trained, home / "out")  # r2unet was not trained


def test_keep_writes_figures_tables_and_texts(home):
    settings = make_settings()
    figure = plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)})
    assert report.keep(settings, "curves", figure) is figure
    table = report.keep(settings, "table", pd.DataFrame({"a": [1.5]}))
    assert report.keep(settings, "verdict", "fine") == "fine"
    folder = settings.results / "comparison"
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "table.csv", "verdict.txt"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "table.csv", index_col=0), table)


def test_notebooks_read_and_write_where_the_report_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGNB_HOME")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    source = "from lungnb.places import home\nprint('at', home())"
    paths = [notebook(tmp_path / "elsewhere" / "00_first.ipynb", "First", source)]
    monkeypatch.setattr(report, "series", lambda everything, models: paths)
    old = tmp_path / "results" / "phantom" / "comparison" / "worst_r2unet.png"
    old.parent.mkdir(parents=True)
    old.touch()
    assert f"at {tmp_path}\n" in report.run_series().read_text()
    assert "LUNGNB_HOME" not in os.environ and not old.exists()


def evaluation_table():
    """What `compare` gives of one model on one patient, without an interval."""
    row = {"dice": 0.9, "dice_low": None, "dice_high": None, "first": None, "iou": 0.8, "hd95": 3.0, "unit": "px"}
    row |= {"parameters": 10, "training_minutes": 1.0, "milliseconds_per_image": 5.0}
    return pd.DataFrame([row], index=pd.Index(["U-Net"], name="model"))


def test_the_head_says_what_was_changed_and_what_is_wrong_with_the_data(home):
    settings = make_settings("phantom", epochs=3)
    report.keep(settings, "check", pd.DataFrame({"severity": ["error", "note", "error"]}))
    report.keep(settings, "untrained", pd.DataFrame({"images": [7], "dice": [0.9414]}))
    for name, item in (("verdict", "fine"), ("comparison", evaluation_table())):
        report.keep(settings, name, item)
    page = report.write_report(settings, []).read_text()
    assert "profile <b>quick</b>, epochs=3." in page and "2 errors in the data" in page
    assert "comes with lungnb has a mean Dice of 0.941 on these 7 images" in page and "NaN" not in page


HOSTILE = (
    "data:image/png;base64,AAAA",
    'x" onerror="alert(1)"><script>alert(1)</script>',
    '<img src="data:image/png;base64,AAAA">',
    "{{BODY}}",
    "{{NOTHING}}",
    "=1\x1b[31m\r\n\udcff",
)


def test_no_text_of_a_table_or_an_output_stops_the_report_or_gets_into_it(trained):
    settings = trained.replace(models=("unet",))
    manifest = pd.DataFrame({"id": HOSTILE, "patient": HOSTILE, "split": "test", "source_image": HOSTILE})
    excluded = pd.DataFrame({"file": HOSTILE, "reason": [f"a file: {text}" for text in HOSTILE]})
    write_table(manifest, settings.prepared / "manifest.csv")
    write_table(excluded, settings.prepared / "excluded.csv")
    for name in ("comparison", "check", "doubts", "zero_patient", "claim"):
        table = evaluation_table().assign(worst=HOSTILE[0], severity="error") if name == "comparison" else None
        report.keep(settings, name, manifest.assign(severity="error") if table is None else table)
    report.keep(settings, "verdict", " ".join(HOSTILE))
    film = np.random.default_rng(0).normal(128, 30, (200, 200)).clip(0, 255).astype(np.uint8)
    write_png(settings.results / "film.png", film)
    image = base64.encodebytes((settings.results / "film.png").read_bytes()).decode()
    outputs = [
        new_output("stream", text="\n".join(HOSTILE)),
        new_output("display_data", {"text/html": manifest.to_html(), "text/plain": str(manifest)}),
        new_output("display_data", {"image/png": image}),
        new_output("display_data", {"image/png": "AAAA"}),
    ]
    path = settings.results / "00_first.ipynb"
    cells = [new_markdown_cell("# First"), new_code_cell("1", outputs=outputs)]
    path.write_text(json.dumps(new_notebook(cells=cells)))
    page = report.write_report(settings, [path]).read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>") and page.count("data:image/jpeg;base64,") == 1
    assert "<script" not in page and "<img onerror" not in page
    assert "&lt;img src=" in page and "{{NOTHING}}" in page and r"=1\x1b[31m\r\n\xff" in page
    assert "\x1b" not in page


@pytest.mark.parametrize("png", ["AAAA", "", "no base64!", "iVBORw0KGgo=", base64.b64encode(b"\x89PNG" * 9).decode()])
def test_an_image_that_cannot_be_read_stays_as_it_is(png):
    assert lighter(png) == ("image/png", png)
