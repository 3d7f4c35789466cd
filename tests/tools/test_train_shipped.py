"""The training of the shipped network: which drawings an epoch shows, and what is written."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import drawings
import train_shipped
from lungnb.networks.model_files import read_network


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """Two epochs of two steps, on four blocks of two drawings."""
    for module in (drawings, train_shipped):
        monkeypatch.setattr(module, "BLOCK", 2)
        monkeypatch.setattr(module, "BLOCKS", 4)
    monkeypatch.setattr(drawings, "_FOLDER", tmp_path / "drawings")
    for name, value in {"SHOWN": 8, "_STEPS": 2, "FIRST_BLOCKS": 1, "OUT": tmp_path / "shipped"}.items():
        monkeypatch.setattr(train_shipped, name, value)
    settings = train_shipped.SETTINGS.replace(epochs=2, batch_size=4, precision="float32", filters=2)
    monkeypatch.setattr(train_shipped, "SETTINGS", settings)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_the_batches_of_an_epoch_depend_on_its_number_only(pool):
    batches = train_shipped.Batches(drawings.Drawings(pool), 0)
    batches.on_epoch_end()
    again = train_shipped.Batches(drawings.Drawings(pool), 1)
    for one, other in zip(batches[1], again[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert {*batches._order} == {*range(4)} and len(batches._order) == 8  # two blocks, each drawing twice


def test_it_writes_the_best_network_and_continues(pool, monkeypatch):
    train_shipped.OUT.mkdir()
    monkeypatch.setattr(train_shipped, "SETTINGS", train_shipped.SETTINGS.replace(epochs=1))
    train_shipped.train(drawings.Drawings(pool))
    monkeypatch.setattr(train_shipped, "SETTINGS", train_shipped.SETTINGS.replace(epochs=2))
    train_shipped.train(drawings.Drawings(pool))
    run = json.loads((train_shipped.OUT / "run.json").read_text())
    assert run["epochs"] == 2 and run["plan"]["drawings"]["train"] == "mixed"
    network = read_network(train_shipped.OUT / "model.keras")
    assert network.count_params() == run["parameters"]
