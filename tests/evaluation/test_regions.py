import json

import numpy as np
import pytest

from lungnb.datasets.prepared import open_prepared
from lungnb.evaluation.regions import costophrenic_angles, costophrenic_share, shows_films, side_scores


def lungs(right=True, left=True, touching=False):
    """Two lungs of 20 x 60 px, 20 px apart or touching."""
    mask = np.zeros((100, 100), bool)
    mask[20:80, 20:40] = right
    mask[20:80, 60:80] = left
    if touching:
        mask[45:50, 40:60] = True
    return mask


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (lungs(), lungs(), (1, 1)),
        (lungs(), lungs(left=False), (1, 0)),
        (lungs(), lungs(right=False), (0, 1)),
        (lungs(left=False), lungs(left=False), (1, 1)),  # one lung was removed, and both masks lack it
        (lungs(left=False), lungs(), (1, 0)),
        (lungs(), np.zeros((100, 100), bool), (0, 0)),
        (np.zeros((100, 100), bool), np.zeros((100, 100), bool), (1, 1)),
        (lungs(touching=True), lungs(touching=True), (1, 1)),
    ],
)
def test_each_lung_has_its_dice(truth, prediction, expected):
    assert tuple(side_scores(truth, prediction).values()) == expected


def test_lungs_that_touch_are_cut_in_the_middle():
    found = side_scores(lungs(), lungs(touching=True))  # 100 px too many, half of them on each side
    assert list(found.values()) == pytest.approx([2 * 1200 / (2 * 1200 + 50)] * 2, abs=0.002)


def test_the_angle_is_the_lowest_lateral_part_of_each_lung():
    right, left = costophrenic_angles(lungs())
    expected = np.zeros((2, 100, 100), bool)
    expected[0, 74:80, 20:30] = expected[1, 74:80, 70:80] = True  # a tenth of 60 px, the outer half of 20 px
    np.testing.assert_array_equal(right, expected[0])
    np.testing.assert_array_equal(left, expected[1])


def test_the_angle_is_that_of_the_lateral_half_if_the_other_reaches_deeper():
    mask = lungs()
    mask[80:90, 30:40] = True  # the medial half of the right lung
    right, _ = costophrenic_angles(mask)
    assert np.flatnonzero(right.any(1))[[0, -1]].tolist() == [73, 79]  # a tenth of 70 px


@pytest.mark.parametrize(
    ("first_row_missing", "columns", "expected"),
    [(100, slice(0), 1), (74, slice(None), 0), (77, slice(None), 0.5), (74, slice(50), 0.5), (74, slice(30, 70), 1)],
)
def test_the_share_of_the_angles_by_hand(first_row_missing, columns, expected):
    prediction = lungs()
    prediction[first_row_missing:, columns] = False
    assert costophrenic_share(lungs(), prediction) == pytest.approx(expected)


def test_without_a_true_lung_there_is_no_angle_to_find():
    empty = np.zeros((100, 100), bool)
    assert costophrenic_share(empty, lungs()) == costophrenic_share(empty, empty) == 1
    assert costophrenic_share(lungs(), empty) == 0
    thin = empty.copy()
    thin[20:80, 10] = True
    assert costophrenic_share(thin, thin) == 1


def test_folders_of_images_count_as_films_and_those_in_hounsfield_units_do_not(prepared):
    assert shows_films(open_prepared(prepared))
    record = prepared.prepared / "prepared.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"window": [-1000, 400]}))
    assert not shows_films(open_prepared(prepared))


@pytest.mark.parametrize(("name", "expected"), [("montgomery", True), ("lung-ct-bmp", False), ("phantom-wild", False)])
def test_the_catalogue_says_which_data_sets_show_films(prepared, name, expected):
    data = open_prepared(prepared)
    data.name = name
    assert shows_films(data) == expected


def test_slices_of_volumes_are_not_films(prepared):
    data = open_prepared(prepared)
    data.manifest = data.manifest.assign(source_image="chest.nii.gz")
    assert not shows_films(data)
