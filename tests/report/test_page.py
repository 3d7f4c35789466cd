import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lungnb.figures import plots
from lungnb.formats.images import write_png
from lungnb.formats.tables import write_table
from lungnb.metrics import Counts
from lungnb.presets import make_settings
from lungnb.report.page import write_report
from lungnb.report.publishing import save_artefact


def evaluation_table():
    """What `compare` gives of one model on one patient, without an interval."""
    row = {
        "dice": 0.9,
        "dice_low": None,
        "dice_high": None,
        "first": None,
        "iou": 0.8,
        "hd95_median": 3.0,
        "failed": 2,
        "unit": "%",
    }
    row |= {"parameters": 10, "training_minutes": 1.0, "milliseconds_per_image": 5.0}
    return pd.DataFrame([row], index=pd.Index(["U-Net"], name="model"))


def test_the_head_says_what_was_changed_and_what_is_wrong_with_the_data(home):
    settings = make_settings("phantom", epochs=3)
    save_artefact(settings, "check", pd.DataFrame({"severity": ["error", "note", "error"]}))
    networks = pd.Index(["comes with lungnb", "U-Net", "ResUNet"], name="network")
    save_artefact(settings, "untrained", pd.DataFrame({"images": 7, "dice": [0.9414, 0.9, 0.95]}, index=networks))
    for name, item in (("verdict", "fine"), ("comparison", evaluation_table())):
        save_artefact(settings, name, item)
    page = write_report(settings, []).read_text()
    assert "<th>HD95 (% of image side), median</th>" in page and "<th>Failed masks</th>" in page
    assert "profile <b>quick</b>, epochs=3." in page and "2 errors in the data" in page
    assert "Its mean Dice on these 7 images is 0.941" in page and "NaN" not in page
    assert "U-Net 0.900, ResUNet 0.950. It is ahead of U-Net by more than 0.005: use it" in page


def test_the_answer_comes_first_and_then_its_evidence_once(home):
    settings = make_settings("phantom")
    chart = plots.confusion_matrices({"unet": Counts(1, 2, 3, 4)})
    table = pd.concat([evaluation_table().assign(raw_dice=0.9), evaluation_table().rename({"U-Net": "ResUNet"})])
    items = {"verdict": "A is better than B.\nA has the highest mean Dice.", "comparison": table, "differences": chart}
    items |= {"side_by_side": chart, "failures": "1 of 2 masks failed."}
    for name, item in items.items():
        save_artefact(settings, name, item)
    page = write_report(settings, []).read_text()
    text = " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())
    parts = ["A is better than B. A has the", "Scores and cost", "Differences Difference of", "Where they fail 1 of 2"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "<b>A is better than B.</b>" in page and "<li>A has the highest mean Dice.</li>" in page
    assert page.count("data:image/") == 2 and page.count("<figcaption>") == 2 and 'alt="The images with' in page
    assert not re.findall(r"\b\w+_\w+\b", re.sub(r"\w+\.csv", "", text))  # no short name of a column
    assert page.count(">0.900<") == 2 + 1  # the Dice of each network, and a Dice before clean-up; nothing twice


def test_the_notebook_of_the_comparison_is_not_repeated(home):
    settings = make_settings("phantom")
    for name in ("03_unet", "06_compare"):
        source = f"# {name} title?\nSee [06](06_compare.ipynb), [04](04_resunet.ipynb) and [03](03_unet.ipynb)."
        path = settings.results / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(new_notebook(cells=[new_markdown_cell(source)])))
    page = write_report(settings, sorted(settings.results.glob("*.ipynb"))).read_text()
    assert "<summary>03_unet title?</summary>" in page and page.count("title?") == 2  # there and in the navigation
    assert 'See <a href="#summary">06</a>, 04 and <a href="#03_unet">03</a>' in page and "06_compare" not in page


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
    names = dict.fromkeys(("id", "patient", "group", "source_image", "source_mask", "image", "mask"), HOSTILE)
    manifest = pd.DataFrame(names | {"split": "test"})
    excluded = pd.DataFrame({"file": HOSTILE, "reason": [f"a file: {text}" for text in HOSTILE]})
    write_table(manifest, settings.prepared / "manifest.csv")
    write_table(excluded, settings.prepared / "excluded.csv")
    for name in ("comparison", "check", "uncertainty", "zero_patient", "claim"):
        table = evaluation_table().assign(worst=HOSTILE[0], severity="error") if name == "comparison" else None
        save_artefact(settings, name, manifest.assign(severity="error") if table is None else table)
    save_artefact(settings, "verdict", " ".join(HOSTILE))
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
    page = write_report(settings, [path]).read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>") and page.count("data:image/jpeg;base64,") == 1
    assert "<script" not in page and "<img onerror" not in page
    assert "&lt;img src=" in page and "{{NOTHING}}" in page and r"=1\x1b[31m\r\n\xff" in page
    assert "\x1b" not in page


def test_a_comparison_in_pixels_is_refused(home):
    settings = make_settings("phantom")
    save_artefact(settings, "verdict", "fine")
    save_artefact(settings, "comparison", evaluation_table().rename(columns={"hd95_median": "hd95"}))
    with pytest.raises(ValueError, match=r"comparison.csv: was made by an earlier lungnb: compare the models .* again"):
        write_report(settings, [])
