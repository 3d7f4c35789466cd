import numpy as np
import pytest

from lungnb.engines.engines import load_model
from lungnb.networks.chest_output import has_chest
from lungnb.settings import SHIPPED
from ship_weights import ship
from train_chest import with_chest


def test_a_training_is_shipped_without_its_optimizer(trained, tmp_path):
    run = trained.results / "unet"
    ship(run, tmp_path / "plain", lambda model: model)
    shipped = tmp_path / "plain" / SHIPPED.name
    assert shipped.stat().st_size < 0.7 * (run / "model.keras").stat().st_size
    pairs = zip(load_model(shipped).get_weights(), load_model(run / "model.keras").get_weights(), strict=True)
    for own, other in pairs:
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-6)
    for name in ("run.json", "history.csv"):
        assert (shipped.parent / name).read_bytes() == (run / name).read_bytes()
    with pytest.raises(FileNotFoundError, match="train it"):
        ship(tmp_path, tmp_path, with_chest)


def test_it_is_shipped_with_the_output_chest(trained, tmp_path):
    """The probabilities are, bit for bit, those of the network without this output."""
    for folder, extend in {"plain": lambda model: model, "both": with_chest}.items():
        ship(trained.results / "unet", tmp_path / folder, extend)
    plain, both = (load_model(tmp_path / folder / SHIPPED.name) for folder in ("plain", "both"))
    picture = np.random.default_rng(1).random((2, 32, 32, 1), np.float32)
    probability, chest = both.predict_on_batch(picture)
    np.testing.assert_array_equal(probability, plain.predict_on_batch(picture))
    assert has_chest(both) and chest.shape == (2, 1)
