"""The training of the shipped network: which drawings an epoch shows, and what is written."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import drawings
import self_teaching
import train_shipped
from lungnb.networks.model_files import read_network
from lungnb.networks.models import build_model


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    """Epochs of two steps, on few drawings, from a small network."""
    monkeypatch.setattr(drawings, "BLOCK", 3)
    monkeypatch.setattr(drawings, "BLOCKS", {"mixed": 2, "wild": 1})
    monkeypatch.setattr(drawings, "_FOLDER", tmp_path / "drawings")
    start = tmp_path / "start.keras"
    build_model("compact_unet", size=128, filters=2, depth=5).save(start)
    for name, value in {"SHOWN": 8, "_STEPS": 2, "OUT": tmp_path / "shipped"}.items():
        monkeypatch.setattr(train_shipped, name, value)
    monkeypatch.setattr(self_teaching, "ROUNDS", 2)
    settings = train_shipped.SETTINGS.replace(epochs=2, batch_size=4, precision="float32", filters=2)
    monkeypatch.setattr(train_shipped, "SETTINGS", settings)


@pytest.fixture
def drawn():
    with ThreadPoolExecutor(1) as pool:
        yield drawings.draw_all(pool)


def test_the_batches_of_an_epoch_depend_on_its_number_only(drawn):
    parts, _ = drawn
    batches = train_shipped.Batches([*parts.values()], 0)
    again = train_shipped.Batches([*parts.values()], 1)
    for one, other in zip(batches[3], again[1], strict=True):  # the second step of the second epoch
        np.testing.assert_array_equal(one, other)
    assert (len(batches), len(again)) == (4, 2)
    assert batches[1][0].shape == (4, 128, 128, 1)
    steps, shown = zip(*batches.order_of(0), *batches.order_of(1), strict=True)
    mixed, wild = np.stack(shown)[:, :2].ravel(), np.stack(shown)[:, 2:].ravel() - 6
    assert steps == (0, 1, 2, 3)
    assert sorted(mixed[:6]) == [*range(6)]  # all of them before one is shown again
    assert sorted(wild[:3]) == sorted(wild[3:6]) == [*range(3)]


@pytest.mark.slow
def test_it_starts_with_a_network_writes_the_last_round_and_continues(drawn, monkeypatch, tmp_path):
    start, first = tmp_path / "start.keras", train_shipped.OUT / "training" / "masks.keras"
    train_shipped.OUT.mkdir()
    monkeypatch.setattr(train_shipped, "SETTINGS", train_shipped.SETTINGS.replace(epochs=1, learning_rate=1e-9))
    train_shipped.learn_masks(*drawn, start)
    old, network = (read_network(file) for file in (start, first))
    for one, other in zip(old.trainable_weights, network.trainable_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    monkeypatch.setattr(train_shipped, "SETTINGS", train_shipped.SETTINGS.replace(epochs=2))
    train_shipped.train(*drawn, start)
    run = json.loads((train_shipped.OUT / "run.json").read_text())
    assert run["epochs"] == 4 and run["plan"]["rounds"] == 2
    assert run["plan"]["counts"] == {"mixed": 6, "wild": 3}
    assert run["plan"]["started_with"] == train_shipped.digest_of_file(start)
    assert network.count_params() == run["parameters"]
    last, shipped = (train_shipped.OUT / name for name in ("training/rounds/round_2.keras", "model.keras"))
    assert last.read_bytes() == shipped.read_bytes() != first.read_bytes()
    history = (train_shipped.OUT / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "0", "1", "2", "3"]
