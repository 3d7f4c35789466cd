import json

import numpy as np
import pandas as pd
import pytest

from helpers.tables import store_scores
from lungnb.evaluation.conclusions import verdict
from lungnb.files import write_json
from lungnb.settings import make_settings


@pytest.mark.parametrize(("count", "few"), [(20, True), (49, True), (50, False)])
def test_the_verdict_names_the_best_model_and_warns_of_few_images(count, few):
    settings = make_settings()
    rng = np.random.default_rng(2)
    base = rng.uniform(0.80, 0.85, count)
    unlike = base + 0.1 + rng.normal(0, 0.002, count)
    half = rng.uniform(0.01, 0.02, count // 2)
    like = unlike - 0.0006 + np.concatenate([half, -half, [0] * (count % 2)])
    text = verdict(settings, store_scores(settings, unet=base, r2unet=unlike, resunet=like))
    sentences = text.split(". ")
    assert text.startswith(f"R2U-Net has the highest mean Dice, {unlike.mean():.3f} (95 % interval 0.9")
    assert f"on {count} test images of phantom" in text
    assert any(s.startswith("U-Net is 0.1") and "unlikely to be chance" in s for s in sentences)
    assert any(s.startswith("ResUNet is 0.00") and "chance alone could explain" in s for s in sentences)
    assert "the smallest with 1,000 parameters" in text
    assert (f"With {count} images, fewer than 50" in text) == few


def test_the_verdict_on_a_mean_that_a_few_images_make():
    settings, rng = make_settings(), np.random.default_rng(0)
    base = rng.uniform(0.9, 0.95, 60)
    better = base + rng.uniform(0.005, 0.01, 60)
    better[:3] -= 0.4
    text = verdict(settings, store_scores(settings, unet=base, resunet=better))
    assert "behind in the mean and yet ahead on most images, which is unlikely to be chance" in text


def test_the_verdict_on_few_patients_tests_nothing():
    settings = make_settings()
    text = verdict(settings, store_scores(settings, unet=[0.9], resunet=[0.8999]))
    assert "on 1 test image of phantom" in text and "With 1 image, fewer" in text
    assert "ResUNet is less than 0.001 behind, on too few patients to tell that from chance." in text


def test_the_verdict_names_the_split_that_was_scored():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8)
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file, dtype={"id": str}).assign(split="validation").to_csv(file, index=False)
    assert "on 8 validation images" in verdict(settings, names) and "test" not in verdict(settings, names)


def test_the_verdict_says_what_was_not_trained_alike():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8, resunet=[0.8] * 8)
    assert "different settings" not in verdict(settings, names)
    file = settings.results / "unet" / "run.json"
    run = json.loads(file.read_text())
    run["plan"]["settings"]["epochs"] = 2
    write_json(file, run)
    assert "They were trained with different settings, which may explain the difference: epochs 2, 12." in verdict(
        settings, names
    )


def test_networks_of_one_speed_are_not_ranked_by_it():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8, resunet=[0.8] * 8)
    assert "All are about as quick, at 14 ms an image" in verdict(settings, names)
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file, dtype={"id": str}).assign(milliseconds=30).to_csv(file, index=False)
    assert "ResUNet is the quickest at 14 ms" in verdict(settings, names)


def test_the_verdict_on_one_model():
    settings = make_settings()
    text = verdict(settings, store_scores(settings, unet=[0.9, 0.8, 0.7]))
    assert text.startswith("U-Net has a mean Dice of 0.800 (95 % interval 0.7")
    assert "on 3 test images of phantom. It takes 11 ms an image on this machine and has 1,000 parameters." in text
    assert "highest" not in text and "quickest" not in text


def test_the_verdict_on_one_patient_gives_no_interval():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9, 0.8])
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file).assign(patient="a").to_csv(file, index=False)
    assert verdict(settings, names).startswith("U-Net has a mean Dice of 0.850 on 2 test images")
