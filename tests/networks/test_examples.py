import numpy as np
import pytest

from lungnb.datasets.prepare import prepare_dataset
from lungnb.formats.images import write_png
from lungnb.networks.data import load_batches
from lungnb.networks.examples import examples_of
from lungnb.phantoms import make_phantom
from lungnb.settings import Settings


@pytest.mark.parametrize("shape", [(64, 64), (96, 64), (50, 80)])
def test_examples_are_made_small_as_in_training(tmp_path, shape):
    phantom = make_phantom(3, size=96)
    image, mask = phantom.image[: shape[0], : shape[1]], phantom.mask[: shape[0], : shape[1]]
    for index in range(3):
        write_png(tmp_path / "scans" / "images" / f"{index}.png", np.roll(image, index, 0))
        write_png(tmp_path / "scans" / "masks" / f"{index}.png", mask)
    settings = Settings(dataset=str(tmp_path / "scans"), image_size=32, depth=2)
    row = prepare_dataset(settings, progress=False).query("split == 'validation'").iloc[0]
    images, masks = next(iter(load_batches(settings, "validation")))
    examples = examples_of([(np.roll(image, int(row["id"]), 0), mask)], 32)
    np.testing.assert_allclose(examples.images / 255, images, atol=1.01 / 255)
    assert (examples.masks == masks.numpy()).mean() > 0.99
