import base64

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.tables import table_of
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.evaluation.evaluation import compare, evaluate
from lungnb.evaluation.scoring import group_scores
from lungnb.figures import plots
from lungnb.metrics import Counts
from lungnb.networks.training import read_run
from lungnb.report.checklist import card_html
from lungnb.report.parts import html_figure, html_table, lighter, picture
from lungnb.report.publishing import save_artefact
from lungnb.report.sections import SECTIONS, data_flow, fixed_before_test, notebook_of, review_sections


def test_what_was_made_is_shown_in_order_and_what_was_not_is_left_out(trained):
    evaluate(trained, "unet", progress=False)
    settings = trained.replace(models=("unet",))
    chart = plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)})
    for name, item in (
        ("scores", chart), ("comparison", compare(settings, ["unet"])), ("worst_unet", chart),
        ("claim", pd.DataFrame({"item": ["<b>Who?</b>"], "statement": ["x" * 300]})),
    ):  # fmt: skip
        save_artefact(settings, name, item)
    page = review_sections(settings)
    wanted = [
        "Data", "More scores", "Spread of the scores", "Lowest Dice",
        "Choices made before the test images were read", "CLAIM checklist",
    ]  # fmt: skip
    places = [page.index(f"<details><summary>{title}</summary>") for title in wanted]
    assert places == sorted(places) and page.count("<details>") == len(wanted)
    assert page.count("data:image/") == 2 and 'href="comparison/scores.png"' in page
    assert "&lt;b&gt;Who?" in page and "<b>Who?" not in page and "x" * 300 in page
    assert ">nan<" not in page.lower()


def test_pictures_of_films_become_light_and_charts_stay_sharp(tmp_path):
    rng = np.random.default_rng(0)
    film = Image.fromarray(rng.normal(128, 30, (200, 200)).clip(0, 255).astype(np.uint8))
    chart = Image.new("RGB", (400, 300), "white")
    for name, image, kind in (("film", film, "jpeg"), ("chart", chart, "png")):
        image.save(tmp_path / f"{name}.png")
        shown = picture(tmp_path / f"{name}.png")
        assert f"data:image/{kind};base64," in shown and f'alt="{name}"' in shown
        assert len(shown) < 2 * (tmp_path / f"{name}.png").stat().st_size + 100


def test_sections_have_titles_of_their_own():
    assert len({section.title for section in SECTIONS}) == len(SECTIONS)


def test_each_section_shows_files_of_one_notebook():
    for section in SECTIONS:
        names = [pattern.replace("*", "unet") for pattern in section.files]
        assert all(map(notebook_of, names)), names


def test_results_of_a_notebook_that_is_shown_are_left_out(trained):
    save_artefact(trained, "zero_patient", pd.DataFrame({"dataset": ["montgomery"], "dice": [0.9]}))
    assert "From phantoms to patients" in review_sections(trained)
    assert "From phantoms to patients" not in review_sections(trained, {"09"})


def test_the_main_table_is_not_repeated(trained):
    evaluate(trained, "unet", progress=False)
    save_artefact(trained, "comparison", compare(trained, ["unet"]))
    page = review_sections(trained.replace(models=("unet",)))
    assert "<th>Accuracy, mean</th>" in page and "<th>Parameters</th>" not in page and "IoU, mean" not in page


def test_a_model_card_becomes_html_but_html_in_its_text_is_escaped():
    card = "**U-Net**, `a && b`.\n\n- *Takes* <script>.\n- *Is not*\n  a device.\n"
    assert card_html(card) == (
        "<p><b>U-Net</b>, <code>a &amp;&amp; b</code>.</p>"
        "<ul><li><i>Takes</i> &lt;script&gt;.</li><li><i>Is not</i>\n  a device.</li></ul>"
    )


def test_the_flow_adds_up(trained):
    flow, manifest = data_flow(open_prepared(trained)).set_index("step"), read_manifest(trained)
    assert flow.loc["used", "images"] == len(manifest) and flow.loc["used", "patients"] == manifest["patient"].nunique()
    splits = flow[flow.index.str.startswith("...")]
    assert splits["images"].sum() == len(manifest) and splits["patients"].sum() == manifest["patient"].nunique()


def test_reasons_are_counted_not_listed(trained):
    reasons = [
        "no mask of this name",
        "no mask of this name (the nearest is masks/a: 1.png)",
        "mask a.png is 3x4, its image 5x6: sizes differ",
    ]
    table = pd.DataFrame({"file": list("abc"), "reason": reasons})
    table.to_csv(trained.prepared / "excluded.csv", index=False)
    flow = data_flow(open_prepared(trained)).set_index("step")
    assert flow.loc["left out, no mask of this name", "images"] == 2
    assert flow.loc["left out, sizes differ", "images"] == 1


def test_cells_are_escaped_and_missing_ones_empty():
    table = pd.DataFrame(
        {"name": ["<i>", "b"], "count": [12345, 1], "share": [0.123456, 1], "gone": [None, 2], "whole": [3.0, 1]}
    )
    page = html_table(table)
    for text in ("<th>&lt;i&gt;</th>", "<td>12,345</td>", "<td>0.1235</td>", "<td></td>", "<td>3</td>"):
        assert text in page
    stored = pd.DataFrame({"Unnamed: 0": [0, 1], "first": ["a", "b"], "p": [0.5, 1.0]})
    assert "Unnamed" not in html_table(stored) and "<th>b</th>" in html_table(stored)
    wide = pd.DataFrame({"model": ["unet"], **{f"column_{n}": [n] for n in range(9)}})
    assert "<th>column 8</th>" in html_table(wide) and "<th>U-Net</th>" in html_table(wide)  # transposed


def test_what_was_fixed_is_of_the_run(trained):
    table = fixed_before_test([read_run(trained, "unet")]).set_index("setting")
    save_artefact(trained, "comparison", table)
    page = review_sections(trained.replace(models=("unet", "resunet")))  # resunet is not trained
    assert "before the test images were read" in page and "<th>U-Net</th>" in page and "ResUNet" not in page
    assert table.columns.tolist() == ["U-Net"]
    assert table.loc["seed", "U-Net"] == 1 and table.loc["input", "U-Net"] == "32 px"
    assert table.loc["epoch with the lowest validation loss", "U-Net"].endswith("of 2")
    assert not table.map(lambda value: isinstance(value, float) and np.isnan(value)).any(axis=None)


@pytest.mark.parametrize("png", ["AAAA", "", "no base64!", "iVBORw0KGgo=", base64.b64encode(b"\x89PNG" * 9).decode()])
def test_an_image_that_cannot_be_read_stays_as_it_is(png):
    assert lighter(png) == ("image/png", png)


def test_a_folded_chart_is_small_and_describes_itself():
    html = html_figure(plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)}))
    assert html.startswith('<p><img alt="') and "U-Net" in html.split("src=")[0] and len(html) < 40_000


def test_groups_and_volumes_have_sections_if_there_are_any(trained):
    assert "Groups of patients" not in review_sections(trained) and "Whole volumes" not in review_sections(trained)
    scored = table_of(unet=[0.9, 0.8, 0.5]).assign(group=["normal", "normal", "tuberculosis"])
    save_artefact(trained, "groups", group_scores(scored))
    volume = {"model": ["unet"], "volume": ["chest.nii.gz"], "slices": [40], "dice": [0.912345], "hd95": [3.5]}
    save_artefact(trained, "volumes", pd.DataFrame(volume))
    page = review_sections(trained)
    assert "<summary>Groups of patients</summary>" in page and "one patient: no interval" in page and "0.85" in page
    assert "<summary>Whole volumes</summary>" in page and "0.912" in page and "3.50" in page
