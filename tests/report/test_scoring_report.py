"""The report about masks of any program: its files, what it says, and where it may be written."""

import hashlib
import os
import re
import sys

import numpy as np
import pandas as pd
import pytest

from lungnb import __version__
from lungnb.__main__ import main
from lungnb.evaluation.external import ScoreOptions
from lungnb.files import NotWritten
from lungnb.formats.images import write_png
from lungnb.formats.tables import read_table
from lungnb.phantoms.make import make_phantom
from lungnb.report.scoring_report import _cell, score_report


@pytest.fixture
def folders(tmp_path):
    """Ground truth, images, and the masks of two programs: the second lacks an image, and one mask has another size."""
    for index in range(7):
        phantom = make_phantom(index, size=64)
        write_png(tmp_path / "films" / f"f{index}.png", phantom.image)
        write_png(tmp_path / "truth" / f"f{index}.png", phantom.mask)
        write_png(tmp_path / "near" / f"f{index}_mask.png", np.roll(phantom.mask, 1, axis=1))
        if index:
            far = np.roll(phantom.mask, 4 + index % 2, axis=1)
            write_png(tmp_path / "far" / f"F{index}.png", far[::2, ::2] if index == 1 else far)
    (tmp_path / "patients.csv").write_text("id,patient,group\n" + "".join(f"f{n},p{n},g{n % 2}\n" for n in range(7)))
    return tmp_path


def write(folders, *programs, **options):
    return score_report(folders / "truth", [folders / name for name in programs], progress=False, **options)


def test_the_report_has_the_tables_and_charts_of_our_own_networks(folders, home):
    done = write(folders, "near", "far", options=ScoreOptions(patients=folders / "patients.csv"))
    out = home / "results" / "scores" / "truth"
    assert done.page == out / "report.html"
    assert sorted(file.name for file in out.iterdir()) == sorted([
        "scores.csv", "comparison.csv", "paired_tests.csv", "groups.csv", "coverage.csv", "missing.csv", "problems.csv",
        "verdict.txt", "report.html", "scores.png", "distances.png", "differences.png", "bland_altman.png",
        "confusion.png", "worst_1_near.png", "worst_2_far.png",
    ])  # fmt: skip
    scores = read_table(out / "scores.csv")
    assert scores.groupby("model")["id"].count().to_dict() == {"near": 7, "far": 5} and scores["compared"].sum() == 10
    comparison = read_table(out / "comparison.csv", index_col=0)
    compared = scores[scores["compared"]]
    assert comparison["dice"].to_dict() == pytest.approx(compared.groupby("model")["dice"].mean().to_dict())
    assert comparison["images"].tolist() == [5, 5] and "parameters" not in comparison and "raw_dice" not in comparison
    (test,) = read_table(out / "paired_tests.csv").to_dict("records")
    assert test["patients"] == 5 and test["difference"] == pytest.approx(
        comparison["dice"]["near"] - comparison["dice"]["far"]
    )
    assert len(read_table(out / "groups.csv")) == 4
    assert read_table(out / "missing.csv").to_numpy().tolist() == [["far", "f0"], ["far", "f1"]]
    verdict = (out / "verdict.txt").read_text()
    assert verdict.strip() == done.verdict and verdict.startswith(
        "Whether near is better than far is undecided.\nnear has the highest mean Dice"
    )
    assert "on 5 images of 5 patients of truth" in verdict and "This is about these masks only" in verdict


def test_the_page_is_one_file_and_says_what_was_left_out(folders):
    written = write(folders, "near", "far", options=ScoreOptions(patient_pattern="(.+)&?")).page
    page, digest = written.read_text(), hashlib.sha256(written.with_name("scores.csv").read_bytes()).hexdigest()
    assert f"Made by lungnb {__version__}, options: patient pattern=(.+)&amp;?. scores.csv" in page
    assert f"has the SHA-256 {digest}." in page
    assert page.count("data:image/") == 7 and not re.search(r'(src|href)="(?!data:|#)', page)
    text = " ".join(re.sub(r"<[^>]*>", " ", page).split())
    for words in (
        "Masks are scored as they are given", "compared on the 5 images of which each has a mask",
        "F1.png: is 32x32 px", "no mask of 1 image with ground truth: f0", "near has the highest mean Dice",
    ):  # fmt: skip
        assert words in text
    about_columns = re.findall(r"\b[a-z]+_[a-z_]+\b", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL))
    assert not about_columns  # short names of columns are for programs


def test_the_gallery_shows_the_image_or_grey(folders):
    done = write(folders, "near", options=ScoreOptions(images=folders / "films"))
    cell = _cell(done.scoring, "near", "f2", 0.9)
    phantom = make_phantom(2, size=64)
    np.testing.assert_array_equal(cell.image, phantom.image)
    np.testing.assert_array_equal(cell.truth, phantom.mask)
    np.testing.assert_array_equal(cell.prediction, np.roll(phantom.mask, 1, axis=1))
    done = write(folders, "near")
    assert np.ptp(_cell(done.scoring, "near", "f2", 0.9).image) == 0


def test_a_report_replaces_the_earlier_one_but_no_other_files(folders):
    out = folders / "out"
    first = write(folders, "near", "far", out=out)
    write(folders, "near", out=out)
    assert first.page.exists() and not (out / "worst_2_far.png").exists() and not (out / "paired_tests.csv").exists()
    (out / "scores.csv").unlink()
    with pytest.raises(NotWritten, match="holds files that lungnb did not write"):
        write(folders, "near", out=out)
    for place in (folders / "near", folders / "truth" / "report"):
        with pytest.raises(NotWritten, match="lies among the masks"):
            write(folders, "near", out=place)


@pytest.mark.parametrize("name", ["model.keras", "segmentation.csv", "notes.docx", "truth/"])
def test_a_report_does_not_take_the_place_of_other_results(folders, name):
    out = folders / "out"
    write(folders, "near", out=out)
    (out / name).mkdir() if name.endswith("/") else (out / name).write_text("hours of work")
    with pytest.raises(NotWritten, match=f"holds {name.strip('/')}, which is not part of such a report and would be"):
        write(folders, "far", out=out)
    assert (out / name).exists() and (out / "worst_1_near.png").exists()


def test_a_file_of_masks_is_not_called_missing(folders):
    with pytest.raises(ValueError, match=r"f0_mask\.png: is a file\. Name the folder that holds it\."):
        write(folders, "near/f0_mask.png")


def test_programs_without_a_common_image_are_not_compared(folders):
    for file in (folders / "near").glob("f[2-6]*"):
        file.unlink()
    done = write(folders, "near", "far", out=folders / "out")
    assert done.verdict.startswith("No image has masks of all programs")
    assert len(pd.read_csv(folders / "out" / "scores.csv")) == 7 and not (folders / "out" / "comparison.csv").exists()
    assert "No image has masks of all programs" in done.page.read_text()


def test_names_of_folders_and_files_do_no_harm(tmp_path):
    evil = [tmp_path / "<b>$\\bad$ =1"]
    if sys.platform == "linux":  # other systems allow no such name
        evil.append(tmp_path / os.fsdecode(b"\x1b[31m\xff"))
    for index in range(3):
        mask = make_phantom(index, size=64).mask
        write_png(tmp_path / "truth" / f"<i>{index}.png", mask)
        for shift, folder in enumerate(evil):
            write_png(folder / f"<i>{index}_mask.png", np.roll(mask, 2 + shift))
    page = score_report(tmp_path / "truth", evil, out=tmp_path / "out", progress=False).page.read_text()
    assert "<b>$" not in page and "<i>" not in page and "&lt;b&gt;" in page
    assert "\x1b" not in page + (tmp_path / "out" / "verdict.txt").read_text()


def test_the_command_says_what_is_better_and_what_is_wrong(folders, capsys):
    out = folders / "out"
    arguments = ["score", str(folders / "truth"), str(folders / "near"), str(folders / "far"), "--out", str(out)]
    assert (
        main([*arguments, "--images", str(folders / "films"), "--pixel-mm", "0.5"]) == 1
    )  # because a mask cannot be used
    shown = capsys.readouterr()
    assert "near has the highest mean Dice" in shown.out and shown.out.rstrip().endswith(str(out / "report.html"))
    assert "lungnb: far: F1.png: is 32x32 px" in shown.err and "Traceback" not in shown.err
    assert (read_table(out / "scores.csv")["unit"] == "mm").all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--labels", "lung"], "--labels must be whole numbers, such as 1,2, not 'lung'"),
        (["--labels", "1", "--labels", "far=2"], "name a folder in each"),
        (["--labels", "nobody=2"], "labels are given for nobody"),
        (["--truth-labels", "1;2"], "--truth-labels must be whole numbers"),
        (["--images", "nowhere"], "nowhere: there is no such folder"),
        (["--patients", "nowhere.csv"], "nowhere.csv"),
        (["--patient-pattern", "("], "not a regular expression"),
        (["--pixel-mm", "0"], "pixel_mm must be a number from 0.01 to 20 (mm), not 0.0"),
        (["--pixel-mm", "inf"], "pixel_mm must be a number from 0.01 to 20 (mm), not inf"),
        (["--pixel-mm", "0.000143"], "pixel_mm must be a number from 0.01 to 20 (mm), not 0.000143"),  # in metres
        (["--labels", "near=1", "--labels", "near=255"], "--labels is given twice for near: give all its labels at"),
        (["--labels", "1", "--labels", "255"], "--labels is given twice for all folders"),
        (["--images", "{folder}/films/f0.png"], "f0.png: is a file. Name the folder that holds it."),
    ],
)
def test_a_bad_option_gets_a_sentence(folders, options, words, capsys):
    assert (
        main(
            [
                "score",
                str(folders / "truth"),
                str(folders / "near"),
                str(folders / "far"),
                *(part.format(folder=folders) for part in options),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and "unexpected" not in error
