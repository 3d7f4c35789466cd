import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.scans import write_pairs
from lungnb.__main__ import main
from lungnb.formats.images import read_mask, write_png
from lungnb.phantoms.make import make_phantom


def test_segment_needs_no_training(home, capsys):
    """The network that comes with lungnb does it."""
    phantom = make_phantom(3)
    write_png(home / "film.png", phantom.image)
    assert main(["segment", str(home / "film.png"), "--out", str(home / "out"), "--probability", "--json"]) == 0
    *_, table = capsys.readouterr().out.splitlines()
    (row,) = json.loads(table)
    assert (
        row["status"] == "ok"
        and row["review"] == ""
        and row["right_px"] + row["left_px"] == pytest.approx(phantom.mask.sum(), rel=0.1)
    )
    assert (home / "out" / "film_probability.png").exists()
    assert main(["segment", "nothing.png", "--out", str(home / "out")]) == 1
    assert "nothing.png: there is no such file" in capsys.readouterr().err


def test_without_a_verb_all_verbs_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0 and "segment" in capsys.readouterr().out


def test_a_misspelt_option_shows_those_of_its_verb(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "films", "--out", "masks", "--overlays"])
    shown = capsys.readouterr().err
    assert "--overlay" in shown and "lungnb segment: error: unrecognized arguments: --overlays" in shown


def test_check_says_what_to_do_next(home, capsys):
    scans = write_pairs(home / "my scans", count=24)
    changes = ["--profile", "full", "--set", "patient_pattern=(.+)"]
    assert main(["check", str(scans), *changes]) == 0
    again = f"'{scans}' --profile full --set 'patient_pattern=(.+)'`"
    *_, counted, following = capsys.readouterr().out.splitlines()
    assert counted.startswith("0 errors") and following.endswith(f"run `lungnb train {again}.")
    (scans / "images" / "case_0.png").write_bytes(b"no image")
    assert main(["check", str(scans), *changes]) == 1
    following = capsys.readouterr().out.splitlines()[-1]
    assert following == f"Next: mend the files with errors, or take them out, then run `lungnb check {again} again."


def test_the_verbs_one_after_another(prepared, home, capsys):
    scans = prepared.dataset
    tiny = ["image_size=32", "filters=2", "depth=2", "epochs=1", "split_fractions=0.5,0.25,0.25"]
    settings = [part for change in tiny for part in ("--set", change)]
    assert main(["download", scans]) == 0
    assert main(["prepare", scans, *settings]) == 0
    assert "12 pairs in" in capsys.readouterr().out
    assert main(["train", scans, "--model", "unet", *settings]) == 0
    assert "unet: validation Dice" in capsys.readouterr().out
    assert main(["evaluate", scans, "--model", "unet", *settings]) == 0
    assert "U-Net has a mean Dice of" in capsys.readouterr().out


def test_segment_writes_masks_and_a_table_and_tells_of_failures(trained, home, capsys):
    write_png(home / "film.png", np.full((40, 60), 90, np.uint8))
    (home / "broken.png").write_bytes(b"")
    model = str(trained.results / "unet" / "model.keras")
    status = main(
        ["segment", str(home / "film.png"), str(home / "broken.png"), "--out", str(home / "out"), "--model", model]
    )
    assert status == 1
    assert "broken.png" in capsys.readouterr().err
    assert read_mask(home / "out" / "film_mask.png").shape == (40, 60)
    assert pd.read_csv(home / "out" / "segmentation.csv")["status"].tolist()[1] == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "montgomary"], "montgomery"),
        (["prepare", "montgomery"], "notebook 01"),
        (["prepare", "rsna-pneumonia"], "without lung masks"),
        (["train", "montgomery"], "notebook 01"),
        (["evaluate", "phantom", "--model", "unet"], "train"),
        (["publish", "phantom"], "notebook 06"),
        (["train", "phantom", "--set", "epoch=3"], "Did you mean epochs"),
        (["train", "phantom", "--set", "epochs=many"], "epochs"),
        (["train", "phantom", "--set", "epochs"], "NAME=VALUE"),
        (["train", "phantom", "--set", "image_size=100"], "multiple of 16"),
        (["segment", "film.png", "--out", "out", "--model", "model.h5"], ".keras"),
        (["segment", "film.png", "--out", "out", "--model", "missing.keras"], "missing.keras"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("lungnb: ") and words in error and "Traceback" not in error


def test_importing_loads_no_tensorflow():
    code = "import sys, lungnb, lungnb.__main__; sys.exit('tensorflow' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_progress_bar_in_a_log_writes_once_a_minute():
    code = "import sys; sys.argv = ['lungnb', 'recipes']; import lungnb.__main__ as command; command.main()"
    code += "; from tqdm import tqdm; sys.exit(int(tqdm(()).mininterval))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 60


def test_an_earlier_run_and_a_changed_mask_are_mentioned(home, capsys):
    for name in ("a.png", "b.png"):
        write_png(home / name, make_phantom(1, size=64).image)
        assert main(["segment", str(home / name), "--out", str(home / "masks")]) == 0
    assert "1 more mask there, of images not named now. To list all" in capsys.readouterr().out
    write_png(home / "masks" / "a_mask.png", np.zeros((64, 64), np.uint8))
    assert main(["segment", str(home / "a.png"), str(home / "b.png"), "--out", str(home / "masks")]) == 0
    shown = capsys.readouterr().out
    assert "1 mask changed after lungnb wrote it: kept, see its column note" in shown and "more mask" not in shown


def test_json_has_the_standard_output_alone(home, capsys):
    write_png(home / "film.png", make_phantom(1, size=64).image)
    (home / "text.png").write_text("no image")
    files = [str(home / name) for name in ("film.png", "text.png")]
    assert main(["segment", *files, "--out", str(home / "masks"), "--json"]) == 1
    shown = capsys.readouterr()
    film, text = json.loads(shown.out)
    assert film["height"] == 64 and text["height"] is None and "1 of 2 images segmented" in shown.err
