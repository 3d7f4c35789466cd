import numpy as np
import pytest
import surface_distance
from scipy import ndimage
from skimage.metrics import hausdorff_distance
from sklearn import metrics as reference

from helpers.masks import EMPTY, FULL, HALF
from lungnb.metrics import (
    OVERLAP_SCORES,
    SURFACE_SCORES,
    Counts,
    count_pixels,
    distance_unit,
    scores,
    surface_scores,
)


def overlaps(truth, found):
    """The scores of overlap alone, as a dict."""
    return scores(count_pixels(truth, found))


def every_score(truth, found):
    return overlaps(truth, found) | surface_scores(truth, found)


def square(top, left, side=10, size=40):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disk(x, y, radius, size=400):
    row, column = np.ogrid[:size, :size]
    return (column - x) ** 2 + (row - y) ** 2 <= radius**2


@pytest.mark.parametrize(
    ("shift", "counts", "dice", "iou"),
    [
        (0, (100, 0, 0, 1500), 1, 1),
        (5, (50, 50, 50, 1450), 1 / 2, 1 / 3),
        (2, (80, 20, 20, 1480), 4 / 5, 2 / 3),
        (10, (0, 100, 100, 1400), 0, 0),
    ],
)
def test_shifted_squares(shift, counts, dice, iou):
    truth, found = square(5, 5), square(5, 5 + shift)
    assert count_pixels(truth, found) == counts
    scored = overlaps(truth, found)
    assert scored["dice"] == scored["f1"] == pytest.approx(dice)
    assert scored["iou"] == pytest.approx(iou)
    assert scored["precision"] == scored["recall"] == pytest.approx(counts[0] / 100)
    assert scored["specificity"] == pytest.approx(counts[3] / 1500)
    assert scored["accuracy"] == pytest.approx(1 - 2 * counts[1] / 1600)


def test_a_square_within_a_square():
    scored = overlaps(square(5, 5, 20), square(10, 10, 10))  # 100 px found of 400
    expected = {"dice": 0.4, "iou": 0.25, "accuracy": 1300 / 1600, "precision": 1, "recall": 0.25, "f1": 0.4}
    assert scored == pytest.approx(expected | {"specificity": 1})


@pytest.mark.parametrize("shift", [20, 50, 90, 160])
def test_shifted_disks_overlap_as_geometry_says(shift):
    radius = 80
    lens = 2 * radius**2 * np.arccos(shift / 2 / radius) - shift / 2 * np.sqrt(4 * radius**2 - shift**2)
    scored = overlaps(disk(120, 200, radius), disk(120 + shift, 200, radius))
    assert scored["dice"] == pytest.approx(lens / (np.pi * radius**2), abs=0.005)


@pytest.mark.parametrize("seed", range(8))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.random((2, 30, 40)) < rng.uniform(0.05, 0.95, (2, 1, 1))
    y, p = truth.ravel(), found.ravel()
    expected = {
        "dice": reference.f1_score(y, p),
        "iou": reference.jaccard_score(y, p),
        "accuracy": reference.accuracy_score(y, p),
        "precision": reference.precision_score(y, p),
        "recall": reference.recall_score(y, p),
        "f1": reference.f1_score(y, p),
        "specificity": reference.recall_score(~y, ~p),
    }
    scored = overlaps(truth, found)
    assert scored == pytest.approx(expected)
    assert tuple(scored) == OVERLAP_SCORES
    assert scored["dice"] == scored["f1"]
    assert scored["iou"] == pytest.approx(scored["dice"] / (2 - scored["dice"]))
    tn, fp, fn, tp = reference.confusion_matrix(y, p).ravel()
    assert count_pixels(truth, found) == (tp, fp, fn, tn)


ALL_ONE = dict.fromkeys(OVERLAP_SCORES, 1)
ALL_ZERO = dict.fromkeys(OVERLAP_SCORES, 0)


@pytest.mark.parametrize(
    ("truth", "found", "expected"),
    [
        (EMPTY, EMPTY, ALL_ONE),
        (FULL, FULL, ALL_ONE),
        (HALF, HALF, ALL_ONE),
        (EMPTY, FULL, ALL_ZERO),
        (FULL, EMPTY, ALL_ZERO),
        (EMPTY, HALF, ALL_ZERO | {"accuracy": 0.5, "specificity": 0.5}),
        (HALF, EMPTY, ALL_ZERO | {"accuracy": 0.5, "specificity": 1}),
        (
            FULL,
            HALF,
            ALL_ZERO | {"accuracy": 0.5, "precision": 1, "recall": 0.5, "dice": 2 / 3, "f1": 2 / 3, "iou": 0.5},
        ),
        (
            HALF,
            FULL,
            ALL_ZERO | {"accuracy": 0.5, "precision": 0.5, "recall": 1, "dice": 2 / 3, "f1": 2 / 3, "iou": 0.5},
        ),
        (HALF, ~HALF, ALL_ZERO),
    ],
)
def test_empty_and_full_masks(truth, found, expected):
    assert overlaps(truth, found) == pytest.approx(expected)


def test_shifted_squares_lie_as_far_apart_as_their_sides():
    # The borders of 36 px each. Moved 3 to the right: the left side is 3 off, 4 px beside it 2 and 1 twice, and so on.
    truth, found = square(5, 5), square(5, 8)
    off = [3] * 10 + [2] * 2 + [1] * 2  # the sides that stick out; all else lies on the other border, or 3 px inside it
    inside = [min(3, row, 9 - row) for row in range(1, 9)]  # the right side: to the other border straight, up or down
    distances = np.array(off + inside + [0] * (36 - len(off) - len(inside)), float)
    scored = surface_scores(truth, found, spacing_mm=1, tolerance=1)
    assert scored["assd"] == pytest.approx(distances.mean())
    assert scored["hd95"] == pytest.approx(np.percentile(distances, 95)) == 3
    assert scored["nsd"] == pytest.approx((distances <= 1).mean())


@pytest.mark.parametrize(("shift", "spacing"), [(0, 1.0), (4, 1.0), (10, 0.5), (25, 2.0)])
def test_shifted_disks_lie_as_far_apart_as_geometry_says(shift, spacing):
    """The distance of a point p of a circle of radius r from the same circle, moved by s, is | |p - s| - r |."""
    radius, angles = 80, np.linspace(0, 2 * np.pi, 100_001)
    distances = abs(np.hypot(radius * np.cos(angles) - shift, radius * np.sin(angles)) - radius)
    unit = spacing
    scored = surface_scores(disk(150, 200, radius), disk(150 + shift, 200, radius), spacing, tolerance=4 * unit)
    # Pixels do not stand evenly along a circle: a few percent.
    assert scored["assd"] == pytest.approx(distances.mean() * unit, abs=0.3 * unit, rel=0.04)
    assert scored["hd95"] == pytest.approx(np.percentile(distances, 95) * unit, abs=0.5 * unit)
    assert scored["nsd"] == pytest.approx((distances <= 4).mean(), abs=0.1)


def blobs(seed, shape=(90, 120)):
    """Two smooth random masks of one shape, much alike, with islands and holes."""
    rng = np.random.default_rng(seed)
    ground, other = (ndimage.gaussian_filter(rng.standard_normal(shape), 6) for _ in range(2))
    return ground > 0.02, ground + 0.3 * other > 0.02


def borders(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.3)])
def test_distances_are_those_of_a_distance_transform(seed, spacing):
    truth, found = blobs(seed)
    parts = []
    for own, other in ((truth, found), (found, truth)):
        far = ndimage.distance_transform_edt(~(other & ~ndimage.binary_erosion(other)), sampling=spacing)
        parts.append(far[tuple(borders(own).T)])
    both = np.concatenate(parts)
    expected = {
        "hd95": max(np.percentile(part, 95) for part in parts),
        "assd": both.mean(),
        "nsd": (both <= 2).mean(),
    }
    assert surface_scores(truth, found, spacing) == pytest.approx(expected)
    if spacing == (1.0, 1.0):  # the worst distance, of which hd95 leaves a twentieth out, by scikit-image
        assert both.max() == pytest.approx(
            hausdorff_distance(*(m & ~ndimage.binary_erosion(m) for m in (truth, found)))
        )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
def test_near_what_another_library_measures(seed, spacing):
    """DeepMind's surface-distance weighs a border's pieces by their length, so its results are near, but not equal."""
    truth, found = blobs(seed)
    there = surface_distance.compute_surface_distances(truth, found, spacing)
    scored = surface_scores(truth, found, spacing)
    assert scored["hd95"] == pytest.approx(surface_distance.compute_robust_hausdorff(there, 95), abs=1)
    assert scored["assd"] == pytest.approx(np.mean(surface_distance.compute_average_surface_distance(there)), abs=0.5)
    theirs = surface_distance.compute_surface_dice_at_tolerance(there, 2.0)
    assert scored["nsd"] == pytest.approx(theirs, abs=0.06)


@pytest.mark.parametrize(("spacing", "diagonal"), [(None, 125), (2.0, 100), ((3.0, 0.25), np.hypot(90, 10))])
def test_an_empty_mask_against_lungs_has_the_diagonal_as_its_distance(spacing, diagonal):
    empty, some = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
    some[3:9, 20:30] = True
    for pair in ((empty, some), (some, empty)):
        assert surface_scores(*pair, spacing) == {
            "hd95": pytest.approx(diagonal),
            "assd": pytest.approx(diagonal),
            "nsd": 0,
        }
    for same in (empty, some, ~empty):
        assert surface_scores(same, same, spacing) == {"hd95": 0, "assd": 0, "nsd": 1}


def test_a_missed_lung_makes_every_score_worse():
    both = disk(100, 200, 60) | disk(300, 200, 60)
    near = disk(102, 200, 60) | disk(300, 200, 60)
    one = disk(102, 200, 60)
    missed, fair = every_score(both, one), every_score(both, near)
    assert tuple(missed) == (*OVERLAP_SCORES, *SURFACE_SCORES)
    for name in missed:
        worse = missed[name] - fair[name]
        if name in ("precision", "specificity"):  # which what is missed does not touch
            continue
        assert worse > 0 if name in ("hd95", "assd") else worse < 0, name
    assert not np.isnan([*missed.values()]).any()


def test_a_border_is_one_at_the_edge_of_the_image():
    full = np.ones((20, 20), bool)
    within = full.copy()
    within[[0, -1]] = within[:, [0, -1]] = False
    scored = surface_scores(full, within, spacing_mm=1)
    assert scored["hd95"] == pytest.approx(1, abs=0.2) and scored["nsd"] == 1  # the corners are further
    assert surface_scores(full, within, spacing_mm=1, tolerance=0.5)["nsd"] == 0


def test_a_tolerance_is_met_by_what_lies_exactly_there():
    truth, found = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth[10, :] = found[13, :] = True
    assert surface_scores(truth, found, spacing_mm=0.1, tolerance=0.3)["nsd"] == 1
    assert surface_scores(truth, found, spacing_mm=0.1, tolerance=0.29)["nsd"] == 0


@pytest.mark.parametrize("spacing", [0, -1.0, (1.0, 0.0)])
def test_a_spacing_is_above_0(spacing):
    with pytest.raises(ValueError, match="spacing_mm must be above 0 mm"):
        surface_scores(HALF, HALF, spacing)


def test_pooled_scores_come_from_sums():
    first, second = count_pixels(square(5, 5), square(5, 10)), count_pixels(square(5, 5, 20), square(5, 5, 20))
    pooled = scores(Counts(*np.add(first, second)))
    assert pooled["dice"] == pytest.approx(2 * 450 / (2 * 450 + 100))
    assert pooled["dice"] != pytest.approx((0.5 + 1) / 2)


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (EMPTY, EMPTY[:4], r"the same shape, not \(8, 8\) and \(4, 8\)"),
        (EMPTY, np.zeros((8, 8)), "must be bool, not bool and float64: threshold first"),
        (EMPTY.astype(np.uint8), EMPTY, "must be bool, not uint8 and bool"),
    ],
)
def test_other_arrays_are_refused(truth, found, message):
    for score in (count_pixels, surface_scores):
        with pytest.raises(ValueError, match=message):
            score(truth, found)


def pair_of_lungs(size, seed):
    """Two smooth lungs, and a prediction whose border differs by up to a few percent of the image, at any size."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.indices((size, size)) + 0.5) / size
    truth, prediction = np.zeros((2, size, size), bool)
    for x in (0.3, 0.7):
        a, b = rng.uniform(0.1, 0.14), rng.uniform(0.26, 0.33)
        angle, radius = np.arctan2((rows - 0.5) / b, (columns - x) / a), np.hypot((columns - x) / a, (rows - 0.5) / b)
        wave = sum(amplitude * np.cos((n + 1) * angle + n) for n, amplitude in enumerate(rng.normal(0, 0.015, 6)))
        truth |= radius < 1
        prediction |= radius < 1 + wave
    return truth, prediction


def test_the_same_geometry_has_the_same_scores_at_every_size():
    """In pixels, the NSD of these pairs would fall to a third from 256 to 1,024 px."""
    sizes = 256, 512, 1024
    table = np.array([
        [list(surface_scores(*pair_of_lungs(size, seed)).values()) for size in sizes] for seed in range(4)
    ])  # fmt: skip
    hd95, assd, nsd = table.mean(axis=0).T
    assert 0.4 < nsd.mean() < 0.95 and np.ptp(nsd) < 0.03
    assert np.ptp(hd95) < 0.1 and np.ptp(assd) < 0.05  # percent
    in_px = [
        np.mean([surface_scores(*pair_of_lungs(size, seed), spacing_mm=1)["nsd"] for seed in range(2)])
        for size in (sizes[0], sizes[-1])
    ]
    assert in_px[0] - in_px[1] > 0.2


def test_percent_and_mm_agree_on_a_film_of_40_cm():
    truth, prediction = pair_of_lungs(512, 1)
    percent, mm = surface_scores(truth, prediction), surface_scores(truth, prediction, spacing_mm=400 / 512)
    assert mm["hd95"] == pytest.approx(4 * percent["hd95"]) and mm["nsd"] == percent["nsd"]
    assert (distance_unit(None), distance_unit(0.5), distance_unit((0.5, 0.5))) == ("%", "mm", "mm")


def test_percent_is_of_the_longer_side():
    truth, prediction = np.zeros((2, 50, 200), bool)
    truth[10:40, 20:60], prediction[10:40, 30:70] = True, True
    assert surface_scores(truth, prediction)["hd95"] == pytest.approx(5)  # 10 px of 200
    assert surface_scores(truth.T, prediction.T) == surface_scores(truth, prediction)


@pytest.mark.parametrize("spacing", [(2.5, 0.7, 0.7), 1.0, None])
def test_volumes_have_distances_in_three_dimensions(spacing):
    truth, prediction = np.zeros((2, 12, 30, 40), bool)
    truth[2:8, 5:20, 5:30] = prediction[2:10, 5:20, 5:30] = True
    sides = np.broadcast_to(np.asarray(spacing or 100 / 40), 3)
    parts = []
    for one, other in ((truth, prediction), (prediction, truth)):
        surface = other & ~ndimage.binary_erosion(other)
        parts.append(ndimage.distance_transform_edt(~surface, sampling=sides)[one & ~ndimage.binary_erosion(one)])
    scored = surface_scores(truth, prediction, spacing)
    assert scored["hd95"] == pytest.approx(max(np.percentile(part, 95) for part in parts))
    assert scored["assd"] == pytest.approx(np.concatenate(parts).mean())
    empty = surface_scores(truth, np.zeros_like(truth), spacing)
    assert empty["hd95"] == pytest.approx(np.linalg.norm(sides * truth.shape))


PAIRS = {  # of masks with all distances from 4 to 41 mm, if pixels are 0.5 mm high and 0.8 mm wide
    "rings": (disk(200, 200, 100), disk(200, 200, 110)),
    "squares": (square(10, 10, 60, 100), square(20, 20, 40, 100)),
    "beside each other": (square(20, 10, 12, 100), square(20, 60, 12, 100)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_mesh_metrics_agrees(name):
    """MeshMetrics (pymeshmetrics on PyPI) measures between contours around the pixels, lungnb between their centres.

    Each end of a distance is moved by half the diagonal of a pixel at most.
    """
    meshmetrics = pytest.importorskip("meshmetrics")
    truth, found = PAIRS[name]
    spacing_mm = (0.5, 0.8)  # of rows and columns, in the order of the axes
    mesh = meshmetrics.DistanceMetrics()
    mesh.set_input(ref=truth, pred=found, spacing=spacing_mm)
    here, diagonal_mm = surface_scores(truth, found, spacing_mm), np.hypot(*spacing_mm)
    assert here["hd95"] == pytest.approx(mesh.hd(percentile=95), abs=diagonal_mm)
    assert here["assd"] == pytest.approx(mesh.assd(), abs=diagonal_mm)
    for tolerance_mm in (2, 50):
        agreed = surface_scores(truth, found, spacing_mm, tolerance_mm)["nsd"]
        assert agreed == pytest.approx(mesh.nsd(tau=float(tolerance_mm))) == float(tolerance_mm == 50)
