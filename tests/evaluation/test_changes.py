from types import SimpleNamespace

import numpy as np
import pandas as pd

from lungnb.datasets.prepared import Prepared, read_manifest
from lungnb.engines.engines import load_model
from lungnb.evaluation import changes
from lungnb.evaluation.changes import score_changed

BLOCKS = np.full((200, 240), 20, np.uint8)
BLOCKS[40:160, 30:100] = BLOCKS[40:170, 140:210] = 150


def split(image):
    """Return the mask of the blocks: they are brighter than the background and darker than a light box."""
    return (image > 75) & (image < 190)


def test_masks_are_changed_with_their_images(trained, monkeypatch):
    """A network that follows edges in the image scores well from any position of the camera."""
    monkeypatch.setattr(changes, "load_pretrained", lambda: load_model(trained.results / "unet" / "model.keras"))
    monkeypatch.setattr(Prepared, "pair", lambda prepared, row: (BLOCKS, BLOCKS > 100))
    bright = SimpleNamespace(mask=None)
    monkeypatch.setattr(changes, "segment", lambda image, model: setattr(bright, "mask", split(image)) or bright)
    table = score_changed(trained, progress=False)
    assert [*table] == ["id", "split", "as it is", "inverted", "photographed", "CLAHE"]
    assert table["id"].tolist() == read_manifest(trained)["id"].tolist()
    assert (table["as it is"] == 1).all() and (table["inverted"] == 1).all()
    assert table["photographed"].min() > 0.75 and table["photographed"].nunique() == len(table)
    pd.testing.assert_frame_equal(score_changed(trained, progress=False), table)
