import re

import pandas as pd
import pytest

from lungnb.datasets.prepared import read_manifest
from lungnb.evaluation.evaluation import evaluate
from lungnb.report.checklist import UNKNOWN, claim, model_card


@pytest.fixture
def scored(trained):
    evaluate(trained, "unet", progress=False)
    return trained


def test_the_checklist_says_what_the_run_knows_and_no_more(scored):
    table = claim(scored, ["unet"])
    assert table.index.tolist() == list(range(1, 45)) and table["item"].is_unique
    scores = pd.read_csv(scored.results / "unet" / "scores.csv")
    statements = table["statement"]
    assert f"mean dice: u-net {scores['dice'].mean():.3f}." == statements[37].lower()
    assert f"On {len(scores)} test images" in statements[32]
    assert f"{read_manifest(scored)['patient'].nunique()} patients" in statements[35]
    assert "lungnb train" in statements[42] and "--model unet" in statements[42]
    assert "learning rate" in statements[25] and "U-Net" in statements[1]
    for number in (2, 3, 4, 5, 11, 13, 16, 18, 33, 34, 36, 40, 41, 44):  # matters of people, not of a run
        assert statements[number] == UNKNOWN
    assert not statements.str.contains(r"[{}]|None|nan").any()


def test_splits_and_windows_are_stated_as_they_were(scored, monkeypatch):
    from lungnb.report import checklist

    for change, number, text in (
        ({"split_file": "some/folder/mine.csv"}, 19, "As listed in mine.csv, before any training."),
        ({"folds": 5, "fold": 2}, 19, "Fold 2 of 5, dealt by patient, before any training."),
        ({}, 19, "By a hash of the patient's name, in shares of 70%, 15% and 15%, before any training."),
        ({"window": (-125.0, 275.0)}, 9, "in a window of -125 to 275 HU."),
        ({"weights": "phantom"}, 24, "Those of phantom."),
    ):
        monkeypatch.setattr(checklist, "settings_of", lambda _, change=change: scored.replace(**change))
        assert claim(scored, ["unet"])["statement"][number].endswith(text)


def test_a_card_has_the_scores_and_the_warning(scored):
    card = model_card(scored, "unet")
    scores = pd.read_csv(scored.results / "unet" / "scores.csv")
    assert f"mean Dice of {scores['dice'].mean():.3f}" in card and f"on {len(scores)} test images" in card
    assert "not* a medical device" in card and "lungnb train" in card
    assert not re.search(r"[{}]", card)


def test_an_unscored_model_is_named(trained):
    with pytest.raises(FileNotFoundError, match="score the models"):
        claim(trained, ["unet"])
