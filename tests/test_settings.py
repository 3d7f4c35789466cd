import dataclasses
from pathlib import Path

import pytest

from lungnb.backend import keras
from lungnb.settings import CHOICES, PROFILES, Settings, holds_data, make_settings, raw_folder
from lungnb.settings import home as project_folder


def test_profiles_set_size_and_length_and_take_changes():
    quick, full = make_settings(), make_settings("montgomery", "full", epochs=3)
    assert (quick.dataset, quick.profile) == ("phantom", "quick")
    assert (full.dataset, full.profile, full.epochs) == ("montgomery", "full", 3)
    assert {name: getattr(quick, name) for name in PROFILES["quick"]} == PROFILES["quick"]
    assert full.image_size == PROFILES["full"]["image_size"] > quick.image_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "huge"}, "profile must be one of quick, full, simple-unet, ct-bmp"),
        ({"epoch": 3}, "no setting 'epoch': did you mean epochs?"),
        ({"colour": 3}, "no setting 'colour': The settings are dataset, profile, image_size"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"filters": -2}, "filters must be at least 1, not -2"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"folds": 1}, "folds must be 2 or more, and fold from 1 to folds, not 1 and 1"),
        ({"folds": 5, "fold": 6}, "folds must be 2 or more, and fold from 1 to folds, not 5 and 6"),
        (
            {"folds": 5, "split_file": "mine.csv"},
            "folds make splits of their own: set split_file to None, not mine.csv",
        ),
        ({"schedule": "linear"}, "schedule must be one of plateau, cosine, not 'linear'"),
        ({"image_size": 100}, "image_size must be a multiple of 16 for a depth of 4, not 100"),
        ({"split_fractions": (0.5, 0.5)}, "split_fractions must be three shares"),
        ({"split_fractions": (0.8, 0.15, 0.15)}, "that sum to 1"),
        ({"split_fractions": (1.0, 0.0, 0.0)}, "the first two above 0"),
        ({"split_fractions": (0.9, 0.2, -0.1)}, "such as"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError) as raised:
        make_settings(**arguments)
    assert message in str(raised.value)


def test_replace_refuses_what_make_settings_refuses():
    settings = make_settings()
    assert settings.replace(epochs=2) == make_settings(epochs=2)
    with pytest.raises(ValueError, match="did you mean epochs"):
        settings.replace(epochz=2)
    with pytest.raises(ValueError, match="epochs must be"):
        settings.replace(epochs=0)


def test_settings_are_frozen_and_print_themselves_whole():
    settings = make_settings(seed=77)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 2
    lines = str(settings).splitlines()
    assert [line.split()[0] for line in lines] == [field.name for field in dataclasses.fields(Settings)]
    assert ["seed", "77"] in [line.split() for line in lines]


def test_folders_lie_in_the_home_of_the_environment(home):
    settings = make_settings("montgomery")
    assert settings.prepared == home / "data" / "prepared" / "montgomery"
    assert settings.results == home / "results" / "montgomery"


def test_home_is_the_project_around_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LUNGNB_HOME")
    deep = tmp_path / "project" / "notebooks" / "deep"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_folder() == deep
    (deep.parent / "00_start.ipynb").touch()
    assert project_folder() == tmp_path / "project"


@pytest.mark.parametrize("own", ["scans", "a/../scans/", "./scans"])
def test_a_path_of_ones_own_is_called_after_its_last_folder(home, monkeypatch, own):
    monkeypatch.chdir(home)
    settings = make_settings(f"{home}/{own}")
    assert settings.name == "scans"
    assert settings.prepared == home / "data" / "prepared" / "scans"
    assert raw_folder(settings.dataset) == home / "scans"


def test_raw_data_are_found_under_lungnb_raw_else_in_the_project(home, monkeypatch):
    monkeypatch.setenv("LUNGNB_RAW", "../elsewhere")  # relative to the project, wherever one stands
    monkeypatch.setenv("LUNGNB_HOME", str(home / "project"))
    monkeypatch.chdir(Path("/"))
    own = home / "project" / "data" / "raw" / "montgomery"
    assert raw_folder("montgomery") == own
    (home / "elsewhere" / "montgomery").mkdir(parents=True)
    (home / "project").mkdir()
    assert raw_folder("montgomery") == own  # an empty folder there is no data
    (home / "elsewhere" / "montgomery" / "images").mkdir()
    assert raw_folder("montgomery").resolve() == home / "elsewhere" / "montgomery"


@pytest.mark.parametrize(
    ("name", "counts"),
    [("a.png", True), ("a.dcm", True), ("a.zip", False), ("a.tar.gz", False), ("README.md", False), (".hidden", False)],
)
def test_notes_and_archives_are_not_data(tmp_path, name, counts):
    assert not holds_data(tmp_path / "nothing")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / name).touch()
    assert holds_data(tmp_path / "set") == counts


def test_the_environment_changes_settings_everywhere(monkeypatch):
    monkeypatch.setenv("LUNGNB_SET", "epochs=3; loss=dice;flip=false;split_fractions=0.85,0.15,0;patient_pattern=(a=b)")
    settings = make_settings("phantom", "full", loss="bce")
    assert (settings.epochs, settings.loss, settings.flip) == (3, "bce", False)
    assert (settings.split_fractions, settings.patient_pattern) == ((0.85, 0.15, 0.0), "(a=b)")
    monkeypatch.setenv("LUNGNB_SET", "flip=perhaps")
    with pytest.raises(ValueError, match="flip takes a value like True, not 'perhaps'"):
        make_settings()


def test_a_folder_of_ones_own_is_the_same_from_every_working_folder(tmp_path, monkeypatch):
    (tmp_path / "mine" / "images").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert make_settings("mine").dataset == make_settings("./mine").dataset == str(tmp_path / "mine")
    assert make_settings("mine").name == "mine"


def test_a_file_among_the_settings_is_the_same_from_every_working_folder(tmp_path, monkeypatch):
    (tmp_path / "patients.csv").write_text("id,patient\n")
    monkeypatch.chdir(tmp_path)
    settings = make_settings("scans", patient_file="patients.csv", weights="phantom")
    assert settings.patient_file == str(tmp_path / "patients.csv") and settings.weights == "phantom"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "dicee"}, "loss must be one of bce, dice"),
        ({"optimizer": "adm"}, "optimizer must be one of adam"),
        ({"encoder": "vgg"}, "encoder must be one of mobilenetv2, vgg16"),
        ({"precision": "mixed_float16"}, "precision must be one of float32, mixed_bfloat16, auto"),
        ({"models": "unet"}, "models must be some of unet, resunet"),
        ({"models": ("vnet",)}, "models must be some of unet, resunet"),
        ({"learning_rate": -1}, "learning_rate must be above 0"),
        ({"epochs": "20"}, "epochs must be a number like 50, not '20'"),
    ],
)
def test_values_that_nothing_can_be_made_of_are_told_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        make_settings(**changes)


def test_choices_are_those_there_are():
    from lungnb.encoders import BACKBONES
    from lungnb.losses import LOSSES

    assert set(CHOICES["loss"]) == set(LOSSES) and {*CHOICES["encoder"]} - {None} == set(BACKBONES)
    for name in CHOICES["optimizer"]:
        keras.optimizers.get(name)
