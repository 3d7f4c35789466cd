"""Whole drawn films: two lungs where the mask says, and additions that can be left out."""

import numpy as np
import pytest
from scipy import ndimage

from lungnb.phantoms.findings import ADDITIONS
from lungnb.phantoms.frame import Wild
from lungnb.phantoms.make import KINDS, make_phantom, write_phantoms
from lungnb.phantoms.radiograph import film_phantom

SIZE = 128


@pytest.fixture(scope="module")
def films():
    return [make_phantom(index, kind="film", size=SIZE) for index in range(60)]


@pytest.fixture(scope="module")
def plain():
    return [make_phantom(index, kind="film", size=SIZE, without=ADDITIONS) for index in range(24)]


def around(mask, width=5):
    return ndimage.binary_dilation(mask, iterations=width) & ~ndimage.binary_dilation(mask)


def test_films_have_two_lungs_of_human_size_on_their_sides(films):
    for image, mask in films:
        assert (image.dtype, image.shape, mask.dtype) == (np.uint8, (SIZE, SIZE), bool)
        labels, count = ndimage.label(mask)
        assert count == 2
        areas = np.bincount(labels.ravel())[1:] / mask.size
        assert (areas > 0.008).all() and areas.max() < 0.3
        columns = sorted(centre[1] / SIZE for centre in ndimage.center_of_mass(mask, labels, [1, 2]))
        assert columns[1] - columns[0] > 0.15


def test_lungs_are_darker_than_what_surrounds_them(films, plain):
    """This holds in all plain films; disease fills some of the other lungs."""
    for cases, least in ((films, 0.9), (plain, 1.0)):
        darker = [image[mask].mean() < image[around(mask)].mean() for image, mask in cases]
        assert np.mean(darker) >= least


def test_masks_lie_on_their_images(plain):
    """Moving the mask in any direction makes it fit worse."""

    def fit(image, mask, shift=(0, 0)):
        near = ndimage.binary_dilation(mask, iterations=4)
        return np.corrcoef(-image[near].astype(float), np.roll(mask, shift, (0, 1))[near])[0, 1]

    at_home = np.mean([fit(*case) for case in plain])
    for shift in ((5, 0), (-5, 0), (0, 5), (0, -5)):
        assert np.mean([fit(*case, shift) for case in plain]) < at_home - 0.05, shift


@pytest.mark.parametrize("name", ADDITIONS)
def test_each_addition_changes_films_and_can_be_left_out(name):
    """At least one of the first hundred films differs in its image or, without the reader's line, in its mask."""

    def changes(index):
        pairs = [film_phantom(np.random.default_rng([2, index]), 32, without=without) for without in ((), (name,))]
        part = "mask" if name == "reader" else "image"
        return not np.array_equal(*(getattr(one, part) for one in pairs))

    assert any(changes(index) for index in range(100))


def test_the_mediastinum_is_not_plain():
    """Spine, vessels and lung behind the heart show in it; without the addition it is more even."""

    def contrast(image, mask):
        middle = image[int(0.45 * SIZE) : int(0.65 * SIZE), int(0.35 * SIZE) : int(0.65 * SIZE)]
        inner = ~ndimage.binary_dilation(mask, iterations=2)[
            int(0.45 * SIZE) : int(0.65 * SIZE), int(0.35 * SIZE) : int(0.65 * SIZE)
        ]
        return middle[inner].std() if inner.any() else 0

    others = tuple(name for name in ADDITIONS if name != "mediastinum")
    with_it, without = (
        np.mean([contrast(*make_phantom(i, kind="film", size=SIZE, without=left)) for i in range(20)])
        for left in (others, ADDITIONS)
    )
    assert with_it > 1.05 * without


def test_a_mixed_set_has_plain_films_wild_films_and_wild_slices():
    plain, film, ct = (make_phantom(index, kind="mixed", size=64) for index in (0, 2, 1))
    assert np.array_equal(plain.image, make_phantom(0, kind="film", size=64).image)
    assert not np.array_equal(film.image, make_phantom(2, kind="film", size=64).image)
    assert np.array_equal(ct.image, make_phantom(1, kind="wild", size=64).image)


def test_a_mixed_set_is_validated_on_wider_ranges(tmp_path):
    write_phantoms(tmp_path / "mixed", 21, size=32, progress=False, kind="mixed", without=["labels", "tone"])
    rows = (tmp_path / "mixed" / "split.csv").read_text().split()
    assert "patient_020_image_1,validation" in rows and "patient_002_image_1,train" in rows


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"without must be one of shape, .*, labels, not 'hair'"):
        make_phantom(0, kind="film", without=["tone", "hair"])
    with pytest.raises(ValueError, match="not 'labels'"):
        make_phantom(0, kind="wild", without="labels")
    assert Wild._fields[0] == "shape" and list(KINDS) == ["xray", "ct", "wild", "wilder"]  # as notebook 01 shows them
