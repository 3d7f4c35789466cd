import json
import re
from pathlib import Path

import pytest

from lungnb.presets import RECIPES, make_settings, parse_changes, recipes, repetitions
from lungnb.settings import PROFILES, SHIPPED, SHIPPED_STRUCTURE


def test_profiles_set_size_and_length_and_take_changes():
    quick, full = make_settings(), make_settings("montgomery", "full", epochs=3)
    assert (quick.dataset, quick.profile) == ("phantom", "quick")
    assert (full.dataset, full.profile, full.epochs) == ("montgomery", "full", 3)
    assert {name: getattr(quick, name) for name in PROFILES["quick"]} == PROFILES["quick"]
    assert full.image_size == PROFILES["full"]["image_size"] > quick.image_size


def test_the_environment_changes_settings_everywhere(monkeypatch):
    monkeypatch.setenv("LUNGNB_SET", "epochs=3; loss=dice;flip=false;split_fractions=0.85,0.15,0;patient_pattern=(a=b)")
    settings = make_settings("phantom", "full", loss="bce")
    assert (settings.epochs, settings.loss, settings.flip) == (3, "bce", False)
    assert (settings.split_fractions, settings.patient_pattern) == ((0.85, 0.15, 0.0), "(a=b)")
    monkeypatch.setenv("LUNGNB_SET", "flip=perhaps")
    with pytest.raises(ValueError, match="LUNGNB_SET: flip takes a value like True, not 'perhaps'"):
        make_settings()
    monkeypatch.setenv("LUNGNB_SET", " epochs = 3 ; ")
    assert make_settings().epochs == 3


def test_a_users_folder_is_the_same_from_every_working_folder(tmp_path, monkeypatch):
    (tmp_path / "mine" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert make_settings("mine").dataset == make_settings("./mine").dataset == str(tmp_path / "mine")
    assert make_settings("mine").name == "mine"


def test_paths_may_be_given_as_paths(tmp_path, monkeypatch):
    (tmp_path / "mine" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = make_settings(Path("mine"), patient_file=Path("patients.csv"), weights=Path("w.keras"))
    assert settings.dataset == str(tmp_path / "mine")
    assert (settings.patient_file, settings.weights) == ("patients.csv", "w.keras")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dataset": 3}, "dataset must be a name or the path of a folder, as text, not 3"),
        ({"dataset": ["phantom"]}, "dataset must be a name"),
        ({"profile": ["quick"]}, r"profile must be one of quick, full, .* not \['quick'\]"),
        ({"patient_file": 3}, "patient_file must be text that is not empty, or None, not 3"),
        ({"patient_file": ""}, "patient_file must be text that is not empty, or None, not ''"),
        ({"weights": True}, "weights must be text"),
        ({"patient_pattern": re.compile("a")}, "patient_pattern must be text"),
        ({"models": (name for name in ["unet"])}, "models must be some of unet"),
        ({"models": {"unet"}}, "models must be some of unet"),
    ],
)
def test_a_setting_of_another_type_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_settings(**arguments)


def test_a_file_among_the_settings_is_the_same_from_every_working_folder(tmp_path, monkeypatch):
    (tmp_path / "patients.csv").write_text("id,patient\n")
    (tmp_path / "data" / "raw" / "scans").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    settings = make_settings("scans", patient_file="patients.csv", weights="phantom")
    assert settings.patient_file == str(tmp_path / "patients.csv") and settings.weights == "phantom"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "volume_slices=100000000000000000000",
            "volume_slices must be a whole number from 1 to 10,000, not 10000",
        ),
        ("volume_slices=10^20", "volume_slices takes a value like 16, not '10^20'"),
        ("spacing=-1", "spacing must be a number from 0.1 to 20, or 0, not -1.0"),
        ("spacing=nan", "spacing must be a number from 0.1 to 20, or 0, not nan"),
        ("depth=100000000000000000000", "depth must be a whole number from 1 to 10, not"),
        ("seed=-1", "seed must be a whole number from 0 to 4,294,967,295, not -1"),
        ("split_fractions=nan,0.5,0.5", "split_fractions must be three shares"),
        ("split_fractions=nan,nan,nan", "split_fractions must be three shares"),
        ("split_fractions=0.5,0.5,nan", "split_fractions must be three shares"),
        ("split_fractions=inf,-inf,1", "split_fractions must be three shares"),
        ("window=400,-1000", "window must be two rising numbers from -100,000 to 100,000"),
        ("window=nan,400", "window must be two rising numbers"),
        ("window=-inf,inf", "window must be two rising numbers"),
        ("window=-1000", "window must be two rising numbers"),
        ("dataset=montgomery", "dataset is not changed as a setting: name it as DATASET in a notebook, after the verb"),
        ("profile=full", "profile is not changed as a setting: name it as PROFILE in a notebook, with --profile"),
        ("patient_file=", "patient_file takes a value like patients.csv, not ''"),
        ("patient_pattern= ", "patient_pattern takes a value like ^(.*)_, not ''"),
        ("models=unet,unet", "models must name each network once, not unet, unet"),
        ("fold=2", "fold 2 needs folds: set folds too, such as folds=5"),
    ],
)
def test_settings_as_text_are_within_the_ranges_too(monkeypatch, change, message):
    monkeypatch.setenv("LUNGNB_SET", change)
    with pytest.raises(ValueError) as raised:
        make_settings()
    assert message in str(raised.value)


def test_recipes_and_profiles_are_within_the_ranges():
    for name in (*PROFILES, *RECIPES):
        assert make_settings(profile=name).profile == name


def test_recipes_are_a_table_of_their_settings():
    table = recipes()
    assert table.index.tolist() == [*RECIPES]
    for name, recipe in RECIPES.items():
        assert table.loc[name, "about"] == recipe.about
        assert table.loc[name, "epochs"] == recipe.settings.epochs
        assert table.loc[name, "models"].split(", ") == [*recipe.settings.models]


def test_phantom_weights_bring_the_structure_that_they_belong_to():
    shipped = json.loads(SHIPPED.with_name("run.json").read_text())["plan"]
    assert (shipped["model"],) == SHIPPED_STRUCTURE["models"]
    assert {name: shipped["settings"][name] for name in SHIPPED_STRUCTURE if name != "models"}.items() <= (
        SHIPPED_STRUCTURE.items()
    )
    settings = make_settings("montgomery", "full", weights="phantom", depth=4)
    assert (settings.models, settings.image_size, settings.depth) == (("compact_unet",), 128, 4)
    assert make_settings(weights="phantom", encoder="mobilenetv2").models == make_settings().models


def test_each_seed_is_combined_with_each_fold(prepared):
    assert repetitions(prepared) == [prepared]
    runs = repetitions(prepared.replace(folds=2, seed=4), seeds=3)
    assert [(run.seed, run.fold) for run in runs] == [(4, 1), (4, 2), (5, 1), (5, 2), (6, 1), (6, 2)]
    assert len({run.results for run in runs}) == 6 and len({run.prepared for run in runs}) == 2


def test_a_published_split_is_of_its_own_data_set():
    assert make_settings(profile="simple-unet").split_file == "montgomery-gaal2020"
    assert make_settings("shenzhen", "simple-unet").split_file is None


def test_the_word_none_switches_off_only_optional_settings():
    changes = parse_changes(["encoder=None", "patient_pattern=none", "loss=none"])
    assert changes == {"encoder": None, "patient_pattern": None, "loss": "none"}
