import numpy as np
import pandas as pd
import pytest

from helpers.tables import assert_readable
from lungnb import make_settings
from lungnb.artefacts import raw_folder
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared
from lungnb.engines.engines import Engine
from lungnb.files import NotWritten
from lungnb.lessons import elsewhere
from lungnb.phantoms import write_phantoms

FINDS_NO_LUNG = Engine("none", 32, lambda batch: 0 * batch)


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """Prepare X-rays and CT slices of 12 patients each."""
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    prepared = []
    for name, kind, seed in (("here", "xray", 1), ("there", "wild", 2)):
        write_phantoms(raw_folder(name), 12, seed=seed, size=64, progress=False, kind=kind)
        settings = make_settings(name, "quick", image_size=32, patient_pattern=r"(patient_\d+)")
        prepare_dataset(settings, progress=False)
        prepared.append(open_prepared(settings))
    return prepared


def table_of(*rows):
    return pd.DataFrame(rows, columns=["trained_on", "tested_on", "dice"])


TABLE = table_of(("a", "a", 0.97), ("a", "b", 0.90), ("b", "a", 0.965), ("b", "b", 0.96))


def test_what_is_lost_elsewhere():
    lost = elsewhere.lost_elsewhere(TABLE)
    assert lost[["trained_on", "tested_on"]].to_numpy().tolist() == [["a", "b"], ["b", "a"]]
    assert lost["lost"].tolist() == pytest.approx([0.07, -0.005])


def test_the_appearance_of_sets_differs(sets):
    table = elsewhere.appearance(sets)
    assert [*table.index] == ["here", "there"]
    assert_readable(table.rename_axis("dataset"))
    _, mask = sets[0].pair(sets[0].rows("train")[0])
    assert 0 < table.loc["here", "lung"] < 255 and table.loc["here", "contrast"] > 0
    assert table.loc["here", "lung_share"] == pytest.approx(mask.mean(), abs=0.15)
    assert table.loc["there", "contrast_sd"] > table.loc["here", "contrast_sd"]  # wild phantoms vary more


def test_only_test_images_that_were_not_seen_are_scored(sets):
    here, there = sets
    scores = elsewhere.score_elsewhere(FINDS_NO_LUNG, there, here)
    assert {*scores["split"]} == {"test"} and len(scores) == len(there.rows("test")) and (scores["dice"] == 0).all()


def test_joined_sets_keep_training_and_validation_and_leave_the_test_out(sets):
    settings = make_settings("here", "quick", image_size=32)
    joined = elsewhere.join_settings(settings, sets)
    assert joined.dataset == "here+there"
    prepare_dataset(joined, progress=False)
    manifest = open_prepared(joined).manifest
    expected = {f"{each.name}-{row['id']}": row["split"] for each in sets for row in each.rows("train", "validation")}
    assert dict(zip(manifest["id"], manifest["split"], strict=True)) == expected
    assert elsewhere.join_settings(settings, sets) == joined  # again, which replaces what lungnb wrote


def test_a_folder_of_the_user_is_not_replaced_by_joined_sets(sets):
    (raw_folder("here+there") / "images").mkdir(parents=True)
    with pytest.raises(NotWritten, match="did not write"):
        elsewhere.join_settings(make_settings("here", "quick"), sets)


def test_remedies_add_networks_and_the_lowest_dice():
    scores = {
        name: pd.DataFrame({"patient": ["p", "p", "q"], "dice": [low, low, 0.98]})
        for name, low in (("a", 0.9), ("b", 0.94))
    }
    table = elsewhere.remedies(TABLE, {"a+b": scores})
    assert [*table.index] == ["a", "b", "a+b"] and [*table.columns] == ["a", "b", "lowest"]
    assert table.loc["a+b"].tolist() == pytest.approx([0.94, 0.96, 0.94])
    assert table["lowest"].tolist() == pytest.approx([0.90, 0.96, 0.94])
    assert "highest in the row b, 0.960, and lowest in the row a, 0.900." in elsewhere.say_remedies(table)


def test_settings_of_joined_sets_read_prepared_images(sets):
    settings = make_settings("here", "quick", image_size=32, patient_pattern=r"(patient_\d+)", pixel_mm=0.5)
    joined = elsewhere.join_settings(settings, sets)
    assert (joined.dataset, joined.split_file) == ("here+there", "split.csv")
    assert joined.patient_pattern is None and joined.pixel_mm == 0 and joined.epochs == settings.epochs


def test_published_networks_of_one_hospital_beside_the_shipped_one():
    shipped = pd.DataFrame({"dataset": ["b", "c"], "dice": [0.95, 0.99]})
    said = elsewhere.say_varied(shipped, TABLE)
    assert said == "b: 0.950 by the network that comes with lungnb; 0.900 trained on a."


def test_a_foreign_network_is_compared_on_the_same_images():
    said = elsewhere.say_lost(TABLE).splitlines()
    assert said[0] == "Trained on a: 0.970 at home, 0.900 on b. It loses 0.070."
    assert said[1] == "The network trained on b has 0.960 there: it is 0.060 better on the same images."
    assert said[2].endswith("0.960 at home, 0.965 on a. It gains 0.005.")
    equal = elsewhere.say_lost(TABLE.assign(dice=0.9)).splitlines()
    assert all(line.endswith("It loses nothing.") for line in equal[::2])
    assert all(
        line.endswith("it is less than 0.005 better, or not better, on the same images.") for line in equal[1::2]
    )


def test_grey_values_and_regions_are_tested_as_causes(sets):
    here, there = sets
    scores = elsewhere.score_elsewhere(FINDS_NO_LUNG, there)
    causes = elsewhere.find_causes(FINDS_NO_LUNG, there, here, scores)
    assert causes["id"].tolist() == scores["id"].tolist() and (causes["dice"] == 0).all()
    assert (causes["far"] < causes["wrong"]).all()  # no lung is found, so the wrong pixels are the lungs
    before, after = causes["cells"].iloc[0]
    greys = np.concatenate([here.pair(row)[0].ravel() for row in here.rows("train")])
    assert abs(after.image.mean() - greys.mean()) < 2 < abs(before.image.mean() - greys.mean())


def test_causes_are_counted_over_all_images_and_over_the_three_worst():
    counts = {"wrong": [700, 100, 100, 100], "far": [0, 50, 40, 30]}
    causes = pd.DataFrame({"dice": [0.96, 0.6, 0.5, 0.7], "dice_with_greys": [0.9, 0.9, 0.9, 0.7]} | counts)
    bad, greys, regions = elsewhere.say_causes(causes).splitlines()
    assert bad == "The lowest Dice is 0.500; 3 of 4 images are below 0.9."
    assert greys.endswith("is 0.850 instead of 0.690.")
    assert regions.startswith("Regions: 12% of the wrong pixels") and regions.endswith("40% in the worst images.")
    assert "Regions: 0% of the wrong" in elsewhere.say_causes(causes.assign(wrong=0, far=0))  # all masks are right
