"""Letters, boxes and text on films, and where films end."""

import numpy as np

from lungnb.phantoms.captions import captioned, field
from lungnb.phantoms.frame import make_view

SIZE = 256


def test_most_films_carry_writing_near_their_borders():
    grey = np.full((SIZE, SIZE), 0.4, np.float32)
    changes = [captioned(np.random.default_rng(i), grey) - grey for i in range(200)]
    written = np.array([np.abs(change).max() > 0.1 for change in changes])
    assert 0.75 < written.mean() < 0.95
    middle = np.array([np.abs(change[96:160, 96:160]).max() > 0.1 for change in changes])
    assert middle.mean() < 0.05
    boxes = [(change[:60] > 0.3).sum() > 150 and (change < -0.05).any() for change in changes]  # dark text on white
    assert 0.2 < np.mean(boxes) < 0.5


def test_films_end_outside_the_lungs():
    """A film that ended in a lung would have a mask that ends there."""
    view = make_view(np.random.default_rng(0), SIZE, 44, np.array([0, 12]), tilt=0, bend_cm=0)
    lungs = (np.abs(view.x) < 13) & (view.y > 0.5) & (view.y < 23.5)
    fields = [field(np.random.default_rng(i), view, 13.5, 24.0) for i in range(100)]
    assert all(seen[lungs].all() for seen in fields)
    assert 0.2 < np.mean([seen[-1].any() for seen in fields]) < 0.8
