import dataclasses
import json

import numpy as np
import pytest

from lungnb.datasets.sources import CATALOGUE
from lungnb.networks.backend import keras
from lungnb.presets import make_settings, parse_changes
from lungnb.settings import CHOICES, DATASETS, LIMITS, Settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "huge"}, "profile must be one of quick, full, simple-unet, ct-bmp"),
        ({"epoch": 3}, "no setting 'epoch'. Did you mean epochs?"),
        ({"colour": 3}, "no setting 'colour'. The settings are dataset, profile, image_size"),
        ({"epochs": 0}, "epochs must be a whole number from 1 to 100,000, not 0"),
        ({"filters": -2}, "filters must be a whole number from 1 to 1,024, not -2"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 4,096, not 0"),
        ({"folds": 1}, "folds must be a whole number from 2 to 1,000, or 0, not 1"),
        ({"folds": 5, "fold": 6}, "fold must be from 1 to the number of folds, 5, not 6"),
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
        ({"window": (400, 400)}, "window must be two rising numbers from -100,000 to 100,000"),
        ({"window": (-100_001, 0)}, "window must be two rising numbers"),
        ({"frozen_epochs": 3}, "frozen_epochs needs an encoder to freeze: set encoder, or set frozen_epochs to 0."),
        ({"dataset": "q"}, "there is no data set 'q'. The catalogue has phantom"),  # no name is near
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError) as raised:
        make_settings(**arguments)
    assert message in str(raised.value)


def test_shares_may_sum_to_one_less_a_rounding_error():
    shares = (0.6, 0.3, 0.1)
    assert sum(shares) != 1 and make_settings(split_fractions=shares).split_fractions == shares


def test_replace_refuses_what_make_settings_refuses():
    settings = make_settings()
    assert settings.replace(epochs=2) == make_settings(epochs=2)
    with pytest.raises(ValueError, match="Did you mean epochs"):
        settings.replace(epochz=2)
    with pytest.raises(ValueError, match="epochs must be"):
        settings.replace(epochs=0)


def test_each_seed_fold_and_recipe_has_a_folder(home):
    settings = make_settings("montgomery", folds=5, fold=2)
    assert settings.results == home / "results" / "montgomery.fold2of5"
    assert settings.replace(seed=3).results.name == "montgomery.fold2of5.seed3"
    assert settings.replace(seed=3).prepared == home / "data" / "prepared" / "montgomery.fold2of5"  # of all seeds
    assert make_settings(profile="simple-unet").results.name == "montgomery.simple-unet"


def test_settings_are_frozen_and_print_themselves_whole():
    settings = make_settings(seed=77)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 2
    lines = str(settings).splitlines()
    assert [line.split()[0] for line in lines] == [field.name for field in dataclasses.fields(Settings)]
    assert ["seed", "77"] in [line.split() for line in lines]


@pytest.mark.parametrize("make", [make_settings, lambda name: Settings(dataset=name), Settings().replace])
def test_a_misspelt_data_set_is_reported_at_once(make):
    with pytest.raises(ValueError, match=r"there is no data set 'montgommery'\. Did you mean montgomery\?.*shenzhen"):
        make(**{"name" if "lambda" in make.__name__ else "dataset": "montgommery"})


def test_names_of_the_catalogue_and_of_users_folders_are_known(home):
    assert list(CATALOGUE) == list(DATASETS)
    for name in DATASETS:
        assert Settings(dataset=name).dataset == name  # though nothing is downloaded
    for folder in ("data/raw/mine", "data/prepared/moved.simple-unet", "results/trained", "results/seeds.seed2"):
        (home / folder).mkdir(parents=True)
        name = folder.rpartition("/")[2].partition(".")[0]
        assert make_settings(name).name == name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "dicee"}, "loss must be one of bce, dice"),
        ({"optimizer": "adm"}, "optimizer must be one of adam"),
        ({"encoder": "vgg"}, "encoder must be one of mobilenetv2, vgg16"),
        ({"precision": "mixed_float16"}, "precision must be one of float32, mixed_bfloat16, auto"),
        ({"models": "unet"}, "models must be some of unet, resunet"),
        ({"models": ("vnet",)}, "models must be some of unet, resunet"),
        ({"learning_rate": -1}, "learning_rate must be a number from 1e-12 to 1e.30, not -1"),
        ({"epochs": "20"}, "epochs must be a whole number from 1 to 100,000, not '20'"),
    ],
)
def test_unusable_values_are_reported_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        make_settings(**changes)


def test_choices_are_the_known_ones():
    from lungnb.networks.encoders import BACKBONES
    from lungnb.networks.losses import LOSSES

    assert set(CHOICES["loss"]) == set(LOSSES) and {*CHOICES["encoder"]} - {None} == set(BACKBONES)
    for name in CHOICES["optimizer"]:
        keras.optimizers.get(name)


NUMBERS = [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")]


def test_every_number_among_the_settings_has_a_range_and_nothing_else_has():
    assert {field.name for field in NUMBERS} == set(LIMITS)


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_a_number_out_of_its_range_gives_a_sentence(field):
    low, high = LIMITS[field.name]
    for value in (low - 1, -1, high * 2, -(10**20), 10**40, float("nan"), float("inf"), True, None, "1", "10^20", 1j):
        with pytest.raises(ValueError) as raised:
            make_settings(**{field.name: value})
        assert str(raised.value).startswith(f"{field.name} must be a ")
        assert f" from {low:,} to {high:,}" in str(raised.value) and str(raised.value).endswith(f"not {value!r}.")


def test_both_ends_of_each_range_are_settings():
    for name, ends in LIMITS.items():
        for value in ends:
            around = {"depth": 1, "image_size": 2048, "folds": 1000 if name == "fold" else 0}
            around |= {"encoder": "vgg16", "weights": None} if name == "frozen_epochs" else {}
            around |= {"image_size": {1: 2, 4096: 4096}[value]} if name == "image_size" else {name: value}
            settings = make_settings(**around)
            assert getattr(settings, name) == around[name]


@pytest.mark.parametrize(
    "changes",
    [{"flip": 1}, {"deterministic": "no"}, {"split_fractions": 0.7}, {"split_fractions": "abc"}, {"window": (True, 2)}],
)
def test_values_of_another_kind_give_a_sentence(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be"):
        make_settings(**changes)


def test_numpy_s_numbers_become_python_s_which_json_takes():
    settings = make_settings(
        epochs=np.int64(3), rotation=np.float32(3), flip=np.bool_(False), window=[np.float32(-3), 4], seed=2**32 - 1
    )
    assert (settings.epochs, settings.rotation, settings.flip, settings.window) == (3, 3.0, False, (-3.0, 4))
    json.dumps(dataclasses.asdict(settings))


def test_mask_values_are_whole_numbers():
    assert parse_changes(["mask_values=10,11,12"]) == {"mask_values": (10, 11, 12)}
    assert Settings(mask_values=[1, np.uint8(2)]).mask_values == (1, 2)
    for wrong in ((), (1.5,), "12", 3, (True,)):
        with pytest.raises(ValueError, match="mask_values must be one or more whole numbers, such as 1,2"):
            Settings(mask_values=wrong)
    with pytest.raises(ValueError, match="mask_values takes a value like 1,2, not 'lung'"):
        parse_changes(["mask_values=lung"])


def test_trainings_do_not_depend_on_the_equivalence_margin():
    settings = make_settings()
    assert settings.training() == settings.replace(equivalence_margin=0.01).training()
    assert settings.training() != settings.replace(seed=7).training()
    with pytest.raises(ValueError, match="equivalence_margin must be a number from"):
        settings.replace(equivalence_margin=0)


def test_a_folder_needs_no_slash_unless_the_catalogue_has_its_name(home, monkeypatch):
    (home / "films" / "imagesTr").mkdir(parents=True)
    (home / "montgomery").mkdir()
    monkeypatch.chdir(home)
    for _ in range(2):
        assert make_settings("films").dataset == str(home / "films")
        (home / "data" / "prepared" / "films").mkdir(parents=True, exist_ok=True)  # as the first run leaves it
    assert make_settings("montgomery").dataset == "montgomery"
