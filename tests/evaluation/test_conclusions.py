import json
import re

import numpy as np
import pandas as pd
import pytest

from helpers.tables import store_scores, table_of
from lungnb.evaluation.conclusions import verdict, verdict_on_masks
from lungnb.evaluation.evaluation import read_scores
from lungnb.files import write_json
from lungnb.presets import make_settings


@pytest.mark.parametrize(("count", "few"), [(20, True), (58, True), (59, False)])
def test_the_verdict_names_the_best_model_and_warns_of_few_patients(count, few):
    settings = make_settings()
    rng = np.random.default_rng(2)
    base = rng.uniform(0.80, 0.85, count)
    unlike = base + 0.1 + rng.normal(0, 0.002, count)
    like = unlike - 0.001 + rng.normal(0, 0.001, count)
    text = verdict(settings, store_scores(settings, unet=base, r2unet=unlike, resunet=like))
    answer, *sentences = text.split("\n")
    assert answer == "R2U-Net is better than U-Net. No relevant difference between R2U-Net and ResUNet."
    assert sentences[0].startswith(f"R2U-Net has the highest mean Dice, {unlike.mean():.3f} (95 % interval 0.9")
    assert f"on {count} test images of {count} patients of phantom" in text
    assert any(
        s.startswith("U-Net is 0.1") and s.endswith("p < 0.001 after Holm): R2U-Net is better.") for s in sentences
    )
    assert any(
        s.startswith("ResUNet is 0.001") and "no relevant difference, because the 90 % interval" in s for s in sentences
    )
    assert "about these trained networks only" in text
    assert "the smallest with 1,000 parameters" in text
    unseen = {20: "14 %", 58: "5 %"}.get(count)
    few_patients = f"only {count} patients (fewer than 59). A failure that up to {unseen} of all patients have may be"
    assert (few_patients in text.replace("%", " %")) == few


def test_the_verdict_ranks_patients_and_not_images():
    """By images, the first is far ahead, by one patient; eleven patients are for the second."""
    settings = make_settings()
    store_scores(settings, unet=[0.9] * 40 + [0.5] * 11, resunet=[0.8] * 40 + [0.6] * 11)
    for name in ("unet", "resunet"):
        file = settings.results / name / "scores.csv"
        table = pd.read_csv(file, dtype={"id": str}).assign(patient=[*["a"] * 40, *"bcdefghijkl"])
        table.to_csv(file, index=False)
    text = verdict(settings, ["unet", "resunet"])
    assert "ResUNet has the highest mean Dice, 0.617" in text and "U-Net is 0.083 behind" in text
    assert "on 51 test images of 12 patients" in text


def test_the_verdict_names_patients_who_alone_decide():
    settings, rng = make_settings(), np.random.default_rng(0)
    base = rng.uniform(0.9, 0.95, 60)
    better = base + rng.uniform(0.005, 0.01, 60)
    better[:2] -= 0.5
    text = verdict(settings, store_scores(settings, unet=base, resunet=better))
    assert "ResUNet is 0.009 behind" in text and "undecided" in text
    assert "Without 001 and 000, the interval of the mean of the difference to ResUNet does not contain" in text


def test_an_undecided_verdict_says_how_many_patients_it_takes():
    settings, rng = make_settings(), np.random.default_rng(0)
    gaps = rng.normal(0, 0.02, 20)
    names = store_scores(settings, unet=[0.9] * 20, resunet=0.9 + gaps - gaps.mean() - 0.004)
    needed = np.ceil(7.848879 * gaps.var(ddof=1) / 0.005**2)
    assert f"undecided. To find a difference of 0.005 (power 80%) takes about {needed:.0f} patients." in verdict(
        settings, names
    )
    wide = settings.replace(equivalence_margin=0.05)
    assert "no relevant difference" in verdict(wide, names) and "lies within 0.05 of 0" in verdict(wide, names)


def test_an_interval_of_how_far_a_model_is_behind_is_above_0_whichever_comes_first():
    worse = np.arange(20) / 1000 + 0.8
    for models in ({"unet": worse, "resunet": worse * 1.1}, {"resunet": worse * 1.1, "unet": worse}):
        text = verdict_on_masks(table_of(**models), "montgomery")
        low, high = re.search(r"U-Net is 0.081 behind \(95 % interval (\S+) to (\S+),", text).groups()
        assert 0.08 < float(low) <= 0.081 <= float(high) < 0.082


SIGNS = np.tile([-1.0, 1.0], 10)  # of 20 patients


@pytest.mark.parametrize(
    ("gaps", "says"),
    [
        (0.0045 + 0.002 * SIGNS, "The difference is close to the margin of 0.005, so only many more patients could"),
        (0.001 + 0.02 * SIGNS, "To find a difference of 0.005 (power 80%) takes about 133 patients."),
        ([0.03, -0.02] + 0.02 * SIGNS[:, None], "133 patients, and more trainings, because trainings differ too."),
        ([0.03, -0.02] + 0.001 * SIGNS[:, None], "The patients are enough to find a difference of 0.005; more seeds"),
    ],
)
def test_what_it_takes_to_decide(gaps, says):
    """A row of `gaps` is a patient, a column a seed. The variance of 0.02 * SIGNS is 0.02**2 * 20 / 19."""
    seeds = enumerate(np.reshape(gaps, (20, -1)).T)
    tables = [table_of(unet=0.9 + gap, resunet=[0.9] * 20).assign(seed=seed) for seed, gap in seeds]
    text = verdict_on_masks(pd.concat(tables), "montgomery")
    assert "is undecided." in text and says in text


def test_six_patients_are_too_few_for_three_networks():
    settings, steps = make_settings(), np.arange(6) / 1000
    text = verdict(settings, store_scores(settings, unet=0.9 + steps, resunet=0.8 + steps**2, r2unet=[0.7] * 6))
    assert text.count("undecided. With fewer than 7 patients, no test can call one of the 3 better.") == 2
    assert text.startswith("Whether U-Net is better than ResUNet or R2U-Net is undecided.\n")
    seven = table_of(unet=[0.9, 0.8] * 3 + [0.9], resunet=[0.8, 0.9] * 3 + [0.8], r2unet=[0.85] * 7)
    assert "undecided" in verdict_on_masks(seven, "films") and "no test can" not in verdict_on_masks(seven, "films")


def test_seeds_reverse_a_verdict():
    """The stored training of the U-Net is 0.01 ahead on all patients; two more are level and behind."""
    settings, steps = make_settings(), np.arange(21) / 10_000
    names = store_scores(settings, unet=0.91 + steps, resunet=0.9 + steps / 2)
    scores = read_scores(settings, names)
    assert "U-Net is better" in verdict(settings, names)
    leads = {1: 0, 2: -0.02, 3: -0.01}
    repeated = [scores.assign(seed=seed, fold=1, dice=scores["dice"] + lead * (scores["model"] == "unet"))
                for seed, lead in leads.items()]  # fmt: skip
    text = verdict(settings, names, pd.concat(repeated))
    assert "U-Net is better" not in text.replace("Whether U-Net", "") and "undecided" in text
    assert "The tests count how trainings differ (3 seeds), so this is about the architectures." in text


def test_the_verdict_on_one_patient_tests_nothing():
    settings = make_settings()
    text = verdict(settings, store_scores(settings, unet=[0.9], resunet=[0.8999]))
    assert "on 1 test image of 1 patient of phantom" in text
    assert "ResUNet is less than 0.001 behind, on one patient, so nothing can be concluded." in text
    assert "nan" not in text


def test_the_verdict_names_the_split_that_was_scored():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8)
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file, dtype={"id": str}).assign(split="validation").to_csv(file, index=False)
    assert "on 8 validation images of 8 patients" in verdict(settings, names) and "test image" not in verdict(
        settings, names
    )


def test_the_verdict_says_what_was_not_trained_alike():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8, resunet=[0.8] * 8, r2unet=[0.7] * 8)
    file = settings.results / "resunet" / "run.json"
    run = json.loads(file.read_text())
    run["plan"]["settings"] |= {"profile": "full", "models": ["resunet"]}  # these change no training
    write_json(file, run)
    assert "different settings" not in verdict(settings, names)
    run["plan"]["settings"]["epochs"] = 2
    write_json(file, run)
    assert "They were trained with different settings, which may explain the difference: epochs 12, 2, 12." in verdict(
        settings, names
    )


def test_networks_of_one_speed_are_not_ranked_by_it():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9] * 8, resunet=[0.8] * 8)
    for name, milliseconds, says in (  # both take 13.5 ms before
        ("unet", 16, "All are about as quick, at 14 ms an image"),
        ("unet", 17, "ResUNet is the quickest at 14 ms an image on this machine, U-Net is the smallest with 1,000"),
        ("resunet", 30, "U-Net is the quickest at 17 ms an image on this machine, and the smallest with 1,000"),
    ):
        file = settings.results / name / "scores.csv"
        pd.read_csv(file, dtype={"id": str}).assign(milliseconds=milliseconds).to_csv(file, index=False)
        assert says in verdict(settings, names)


def test_the_verdict_on_one_model():
    settings = make_settings()
    text = verdict(settings, store_scores(settings, unet=[0.9, 0.8, 0.7]))
    assert text.startswith("U-Net has a mean Dice of 0.800 (95 % interval 0.")
    assert (
        "on 3 test images of 3 patients of phantom.\nIt takes 11 ms an image on this machine and has 1,000 parameters."
        in text
    )
    assert "highest" not in text and "quickest" not in text


def test_the_verdict_on_one_patient_gives_no_interval():
    settings = make_settings()
    names = store_scores(settings, unet=[0.9, 0.8])
    file = settings.results / "unet" / "scores.csv"
    pd.read_csv(file).assign(patient="a").to_csv(file, index=False)
    assert verdict(settings, names).startswith("U-Net has a mean Dice of 0.850 on 2 test images of 1 patient")
