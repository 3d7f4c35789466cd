"""Hostile file names pass through tables and each step, and come back unchanged."""

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lungnb
from helpers.figures import drawn
from lungnb.__main__ import main
from lungnb.browser.marks import Marks
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.evaluation.evaluation import evaluate, read_scores
from lungnb.figures import pictures
from lungnb.files import text_name
from lungnb.formats.images import write_png
from lungnb.formats.tables import escape, read_table, unescape, write_table
from lungnb.lessons import data_pictures
from lungnb.networks.training import train
from lungnb.phantoms.make import make_phantom
from lungnb.report.sections import review_sections
from lungnb.segmentation.batch import segment_files
from lungnb.settings import Settings

FORMULAS = tuple("=+-@＝＋－＠")
# Any text, any file name that Linux allows, and texts rich in what has a meaning somewhere.
TEXTS = (
    st.text()
    | st.binary().map(os.fsdecode)
    | st.text("=+-@＝%;,|\"' \r\n\t\x1b\0aF20\u2028\u202e\ufeff\udcff\\", min_size=1)
)
HOSTILE = ("$\\bad$.png", "a\r.png", "b\nc.png", "\x1b[31md.png", "e\u202ef.png", "=g;=h.png", "-i.png")
HOSTILE += ("@j%20k.png", "l%0Am.png")
BYTES = tuple(os.fsdecode(name) for name in (b"\xff.png", b"\xfe.png", b"caf\xe9 \xc3\xa4.png"))
OTHERS = ("NA.png", "null.png", "001.png", "1e5.png", 'a,"b".png', " space .png", "C:\\x.png", "ü.png", "a'b.png")


@settings(deadline=None)
@given(TEXTS)
def test_any_text_becomes_a_harmless_cell_and_comes_back(text):
    cell = escape(text)
    assert unescape(cell) == text
    assert cell.isprintable() and not any(part.lstrip(" \"'").startswith(FORMULAS) for part in cell.split(";"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers() | st.none()), max_size=5))
def test_any_table_has_its_rows_and_comes_back(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("table") / "table.csv"
    table = pd.DataFrame([(name, other, -0.5) for name, other, _ in rows], columns=["file", "=what", "number"])
    write_table(table, file)
    with open(file, newline="", encoding="utf-8") as stream:
        lines = [*csv.reader(stream)]
    assert len(lines) == 1 + len(rows) and all(len(line) == 3 for line in lines)
    assert file.read_text(encoding="utf-8").count("\n") == 1 + len(rows)
    assert len(pd.read_csv(file)) == len(rows)
    again = read_table(file, keep_default_na=False, na_values=[], dtype={"file": str, "%3Dwhat": str})
    assert again["file"].tolist() == table["file"].tolist() and again["=what"].tolist() == table["=what"].tolist()
    assert again["number"].tolist() == table["number"].tolist()


def test_what_needs_no_encoding_stays_readable():
    for text in ("C:\\films\\ü 1.png", "50 % of it", "a,b", 'the "left" lung', "not -1000, -400", "images/a-b@c=d.png"):
        assert escape(text) == text


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", " =1", "'=1", '"=1', "\t=1", "＝1", "a;=1", "a; @b"])
def test_no_cell_is_a_formula(text):
    assert "%" in escape(text) and unescape(escape(text)) == text


def test_text_that_looks_like_something_else_comes_back_and_numbers_stay_numbers(tmp_path):
    names = ["NA", "null", "", "001", "1e5", "nan", "None", "-1", "True"]
    table = pd.DataFrame({"patient": names, "gap": -1.5})
    table.loc[2, "gap"] = None
    write_table(table, tmp_path / "table.csv")
    again = lungnb.read_table(tmp_path / "table.csv")
    assert again["patient"].tolist() == names
    assert again["gap"].isna().tolist() == [name == "" for name in names] and again["gap"].min() == -1.5
    assert ",-1.5\n" in (tmp_path / "table.csv").read_text()


def test_column_and_row_labels_are_percent_encoded_too(tmp_path):
    table = pd.DataFrame({"=a\n": [1]}, index=pd.Index(["@b\udcff"], name="+c"))
    write_table(table, tmp_path / "table.csv", index=True)
    assert (tmp_path / "table.csv").read_text() == "%2Bc,%3Da%0A\n%40b%FF,1\n"
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv", index_col=0), table)


def test_text_that_cannot_name_a_file_can_be_written(tmp_path):
    write_table(pd.DataFrame({"file": ["\ud800"]}), tmp_path / "table.csv")
    assert len(read_table(tmp_path / "table.csv")) == 1


def test_names_of_lungnb_s_own_files_are_text_and_differ():
    assert text_name("ü\n1") == "ü\n1"
    assert len({text_name(name) for name in BYTES}) == len(BYTES) and all(text_name(name).encode() for name in BYTES)


def folder_of(folder, names):
    """Write phantoms and masks of these names into a raw folder, and return it; skip where a system refuses them."""
    for index, name in enumerate(names):
        phantom = make_phantom(index, size=64)
        try:
            (folder / "images").mkdir(parents=True, exist_ok=True)
            (folder / "images" / name).touch()
        except (OSError, ValueError):
            pytest.skip(f"this file system takes no file called {name!r}")
        write_png(folder / "images" / name, phantom.image)
        write_png(folder / "masks" / name, phantom.mask)
    return folder


def test_hostile_names_go_from_raw_files_to_scores(home, capsys):
    names = (*HOSTILE, *BYTES, *OTHERS)
    raw = folder_of(home / os.fsdecode(b"chest \xff"), names)
    (raw / "images" / "alone\r\x1b\n.png").write_bytes((raw / "images" / "001.png").read_bytes())
    (raw / "images" / os.fsdecode(b"=\xff alone.png")).write_bytes(b"")
    config = Settings(dataset=str(raw), image_size=32, filters=2, depth=2, epochs=1, batch_size=4)
    manifest = prepare_dataset(config, progress=False)
    assert sorted(manifest["source_image"]) == sorted(f"images/{name}" for name in names)
    assert manifest["source_mask"].tolist() == [name.replace("images/", "masks/") for name in manifest["source_image"]]
    assert {"NA", "null", "001", "1e5", "a\r", "=g;=h"} <= {*manifest["id"]} & {*manifest["patient"]}
    assert all((raw / name).is_file() for name in manifest["source_image"])
    assert sorted(open_prepared(config).excluded["file"]) == sorted(
        ["images/alone\r\x1b\n.png", os.fsdecode(b"images/=\xff alone.png")]
    )
    assert len(train(config, "unet", progress=False)) == 1
    scores = evaluate(config, "unet", progress=False)
    assert read_scores(config, ["unet"])["id"].tolist() == scores["id"].tolist()
    assert {*scores["id"]} == {*manifest.loc[manifest["split"] == "test", "id"]}
    rows = pictures.pick_images(scores)
    for figure in (
        data_pictures.show_files(raw, manifest["source_image"].map(Path), 99),
        pictures.image_grid(open_prepared(config), manifest, 99),
        pictures.failure_gallery(config, "unet", rows),
        pictures.model_grid(config, ["unet"], rows),
    ):
        drawn(figure)
    page = review_sections(config)
    assert "\x1b" not in page and "\r" not in page

    capsys.readouterr()
    for verb in ("prepare", "check"):
        main([verb, str(raw)])
        shown = capsys.readouterr().out.split("\n")
        assert shown[-1] == "" and all(line.rpartition("\r")[2].isprintable() for line in shown)
    for file in [*home.rglob("*.csv")]:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = [*csv.reader(stream)]
        assert {len(row) for row in rows} == {len(rows[0])}, file


def test_a_manifest_gives_another_data_set_its_splits_and_patients_by_name(home):
    raw = folder_of(home / "scans", (*HOSTILE, *BYTES, *OTHERS))
    config = Settings(dataset=str(raw), split_fractions=(0.4, 0.3, 0.3))
    first = prepare_dataset(config, progress=False)
    listed = home / "listed.csv"
    listed.write_bytes((config.prepared / "manifest.csv").read_bytes())
    other = config.replace(dataset=str(raw.rename(home / "copy")), split_file=str(listed), patient_file=str(listed))
    second = prepare_dataset(other, progress=False)
    pd.testing.assert_frame_equal(first, second)


def test_another_s_table_may_hold_a_percent_sign(home):
    raw = folder_of(home / "scans", ("a%20b.png", "a b.png", "c%2Fd.png"))
    listed = home / "split.csv"
    listed.write_text("id,split\na%20b,train\na b,validation\nc%2Fd.png,test\n")
    manifest = prepare_dataset(Settings(dataset=str(raw), split_file=str(listed)), progress=False)
    splits = dict(zip(manifest["id"], manifest["split"], strict=True))
    assert splits == {"a%20b": "train", "a b": "validation", "c%2Fd": "test"}


def test_hostile_names_are_segmented_and_found_again_in_the_table(home):
    folder = folder_of(home / "films", (*HOSTILE, *BYTES, *OTHERS)) / "images"
    (folder / "broken\r\n\x1b.png").write_bytes(b"")
    table = segment_files(folder, home / "out", progress=False)
    stored = lungnb.read_table(home / "out" / "segmentation.csv")
    assert sorted(stored["file"]) == sorted(map(str, folder.iterdir())) == sorted(table["file"])
    assert all(Path(file).is_file() for file in stored["file"])
    done = stored[stored["status"] != "failed"]
    assert all((home / "out" / mask).is_file() for mask in done["mask"]) and len(done) == len(stored) - 1
    assert (home / "out" / "segmentation.csv").read_bytes().count(b"\n") == 1 + len(stored)
    again = segment_files(folder, home / "out", progress=False)
    assert again["file"].tolist() == table["file"].tolist()


def test_marks_are_of_the_exact_file(home):
    for name in (*HOSTILE, *BYTES, *OTHERS):
        Marks(home / "marks.csv", "=model").turn(f"/films/{name}", 0.5)
    marks = Marks(home / "marks.csv", "=model")
    assert all(f"/films/{name}" in marks for name in (*HOSTILE, *BYTES, *OTHERS))
