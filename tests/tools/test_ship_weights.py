import numpy as np
import pytest

from lungnb.engines.engines import load_model
from lungnb.networks.chest import has_chest, probability_part, with_chest
from lungnb.settings import SHIPPED
from ship_weights import ship


def test_a_training_is_shipped_without_its_optimizer(trained, tmp_path):
    run = trained.results / "unet"
    ship(run, tmp_path / "weights", with_chest)
    shipped = tmp_path / "weights" / SHIPPED.name
    assert shipped.stat().st_size < 0.7 * (run / "model.keras").stat().st_size
    network = load_model(shipped)
    assert has_chest(network)
    pairs = zip(probability_part(network).get_weights(), load_model(run / "model.keras").get_weights(), strict=True)
    for own, other in pairs:
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-6)
    for name in ("run.json", "history.csv"):
        assert (shipped.parent / name).read_bytes() == (run / name).read_bytes()
    with pytest.raises(FileNotFoundError, match="train it"):
        ship(tmp_path, tmp_path, with_chest)
