"""The catalogue of data sets, and users' own folders."""

import dataclasses

import pytest

from lungnb.datasets.fetch import download
from lungnb.datasets.sources import CATALOGUE, catalogue, find_source

NAMES = [
    "phantom",
    "phantom-ct",
    "phantom-wild",
    "montgomery",
    "chest-xray-masks-and-labels",
    "finding-lungs-in-ct-data",
    "lung-ct-bmp",
    "shenzhen",
    "minijsrt",
    "covid19-ct-seg",
    "rsna-pneumonia",
]


@pytest.fixture
def raw(home):
    return home / "data" / "raw"


def test_catalogue_lists_every_data_set_with_licence_and_citation():
    assert list(CATALOGUE) == NAMES
    table = catalogue()
    assert list(table["name"]) == NAMES
    assert not table["here"].any()
    for source in CATALOGUE.values():
        assert source.title and source.licence and source.citation and source.note
        assert source.kind in ("xray", "ct", "wild")
        assert all(len(file.sha256) == 64 for file in source.files if file.sha256)
    comes = dict(zip(table["name"], table["comes"], strict=True))
    assert comes["phantom"] == "made here" and comes["lung-ct-bmp"] == "by hand"
    assert comes["chest-xray-masks-and-labels"] == "Google Drive, Kaggle"
    assert comes["montgomery"] == "web"


def test_entries_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CATALOGUE["phantom"].name = "other"


def test_catalogue_says_what_is_here(raw):
    (raw / "montgomery" / "MontgomerySet").mkdir(parents=True)
    assert list(catalogue().query("here")["name"]) == ["montgomery"]


def test_unknown_name_has_a_hint():
    with pytest.raises(ValueError, match=r"Did you mean montgomery\?.*shenzhen.*images/ and masks/"):
        find_source("Montgomry")
    with pytest.raises(ValueError, match="'' cannot be a data set"):
        download("")


def test_own_folder_by_path_and_by_name(raw, tmp_path):
    own = tmp_path / "my-scans"
    with pytest.raises(FileNotFoundError, match="images/"):
        download(str(own))
    (own / "images").mkdir(parents=True)
    assert find_source(str(own)).name == "my-scans"
    assert download(str(own)) == own
    (raw / "named" / "images").mkdir(parents=True)
    assert find_source("named").kind == "own"
    assert download("named") == raw / "named"
