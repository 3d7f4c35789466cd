import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from lungnb.formats.images import read_image, read_mask
from lungnb.phantoms import ct, film, make, xray
from lungnb.phantoms.chest import draw_chest
from lungnb.phantoms.ct import ct_phantom
from lungnb.phantoms.ct_body import CrossSection
from lungnb.phantoms.frame import SIDES, Phantom, Wild, make_view
from lungnb.phantoms.make import KINDS, make_phantom, write_phantoms
from lungnb.phantoms.xray import xray_phantom

SIZE = 128


@pytest.fixture(scope="module")
def xrays():
    return [make_phantom(index, size=SIZE) for index in range(24)]


@pytest.fixture(scope="module")
def slices():
    return [make_phantom(index, kind="ct", size=SIZE) for index in range(40)]


@pytest.fixture(scope="module")
def wild():
    return [make_phantom(index, kind="wild", size=SIZE) for index in range(80)]


def same(one: Phantom, other: Phantom) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.mask, other.mask)


def around(mask: np.ndarray, width: int = 5) -> np.ndarray:
    return ndimage.binary_dilation(mask, iterations=width) & ~ndimage.binary_dilation(mask)


def correlation(image: np.ndarray, mask: np.ndarray) -> float:
    """Return the correlation of darkness and mask around the lungs, without the air around the body."""
    near = ndimage.binary_dilation(mask, iterations=4)
    return float(np.corrcoef(-image[near].astype(float), mask[near])[0, 1])


def tree(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.bmp"))}


@pytest.mark.parametrize("size", [64, 97, 256])
def test_shapes_and_types(size):
    rng = np.random.default_rng(5)
    image, mask = xray_phantom(rng, size, rng)
    assert image.shape == mask.shape == (size, size)
    assert (image.dtype, mask.dtype) == (np.uint8, bool)
    image, mask = ct_phantom(np.random.default_rng(5), size)
    assert image.shape == mask.shape == (size, size)
    assert (image.dtype, mask.dtype) == (np.float32, bool)
    assert image.min() >= -1024
    assert image.max() <= 3071


def test_xray_has_two_lungs_of_human_size_on_their_sides(xrays):
    for _, mask in xrays:
        labels, count = ndimage.label(mask)
        assert count == 2
        assert all(0.03 < area / mask.size < 0.25 for area in np.bincount(labels.ravel())[1:])
        assert 0.10 < mask.mean() < 0.40
        columns = sorted(centre[1] / SIZE for centre in ndimage.center_of_mass(mask, labels, [1, 2]))
        assert columns[0] < 0.45
        assert columns[1] > 0.55
        assert not ndimage.binary_fill_holes(mask)[~mask].any()


def test_xray_heart_on_the_left_and_right_dome_higher(xrays):
    """The heart takes from the patient's left lung, on the picture's right; the liver lifts the right lung's floor."""
    masks = np.array([mask for _, mask in xrays])
    assert masks[..., : SIZE // 2].sum() > 1.03 * masks[..., SIZE // 2 :].sum()
    heights = {-1: [], 1: []}
    for mask in masks:
        for side in SIDES:
            lung = mask[:, ::side][:, SIZE // 2 :]  # from the midline outwards
            floor = [np.flatnonzero(column).max() for column in lung.T if column.any()]
            heights[side].append(np.mean(floor[round(0.55 * len(floor)) : round(0.8 * len(floor))]))
    assert np.mean(heights[1]) > np.mean(heights[-1]) + 0.01 * SIZE  # rows count downwards


@pytest.mark.parametrize(("level", "x", "low", "high"), [(0.3, -1, 0, 0), (0.6, -1, 0.5, 1), (0.6, 1, 0, 0.1)])
def test_below_the_fork_the_right_lung_reaches_between_heart_and_vertebra(level, x, low, high):
    reached = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        view = make_view(rng, 64, 36, np.zeros(2), 0, 0, 0)
        lung = ct._lung_distance(rng, CrossSection(level, np.array([13.5, 9.5]), 2.0, view))
        reached.append((lung[np.hypot(view.x - x, view.y - 3.4) < 0.7] > 0).any())
    assert low <= np.mean(reached) <= high


def test_xray_lungs_are_darker_than_what_surrounds_them(xrays):
    differences = [image[around(mask)].mean() - image[mask].mean() for image, mask in xrays]
    assert np.mean(differences) > 25
    assert np.mean(np.array(differences) > 0) > 0.9


@pytest.mark.parametrize("kind", ["xray", "ct"])
def test_mask_lies_on_the_image(kind, xrays, slices):
    """Moving the mask in any direction makes it fit worse."""
    cases = [case for case in (xrays if kind == "xray" else slices) if case.mask.mean() > 0.08]
    at_home = np.mean([correlation(*case) for case in cases])
    for shift in ((5, 0), (-5, 0), (0, 5), (0, -5)):
        moved = np.mean([correlation(image, np.roll(mask, shift, (0, 1))) for image, mask in cases])
        assert moved < at_home - 0.05, shift


def test_no_single_grey_separates_the_lungs(xrays):
    """A threshold on the whole picture is far from a segmentation: the air around the body is dark as well."""
    best = []
    for image, mask in xrays:
        guesses = [image < grey for grey in range(20, 250, 10)]
        best.append(max(2 * (guess & mask).sum() / (guess.sum() + mask.sum()) for guess in guesses))
    assert np.mean(best) < 0.9


def test_ct_in_hounsfield_units(slices):
    for image, mask in slices:
        if mask.mean() > 0.02:
            assert -900 < np.median(image[mask]) < -700
            body = ndimage.binary_fill_holes(ndimage.binary_opening(image > -300, iterations=2)) & ~mask
            assert -120 < np.median(image[body]) < 120
        assert np.percentile(image, 99.7) > 250  # bone
        assert np.percentile(image, 2) < -950  # air


def test_ct_from_the_tips_to_the_bases(slices):
    areas = np.array([mask.mean() for _, mask in slices])
    assert areas.max() < 0.4
    assert np.quantile(areas, 0.9) > 0.15
    assert (areas < 0.08).any()
    for _, mask in slices:
        parts = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        assert np.count_nonzero(parts > 0.01 * mask.size) <= 2


def test_ct_leaves_the_airways_out(slices):
    """Trachea and bronchi are air inside the body, not in the mask."""
    found = 0
    for image, mask in slices:
        body = ndimage.binary_fill_holes(ndimage.binary_opening(image > -300, iterations=2))
        found += bool((body & (image < -900) & ~ndimage.binary_dilation(mask, iterations=2)).sum() > 8)
    assert found > 8


def test_wild_ones_are_pictures_of_lungs_of_all_sizes(wild):
    for image, mask in wild:
        assert (image.shape, image.dtype) == ((SIZE, SIZE), np.uint8)
        assert (mask.shape, mask.dtype) == ((SIZE, SIZE), bool)
        assert image.max() - image.min() > 40
        parts = np.bincount(ndimage.label(mask)[0].ravel())[1:]
        assert (
            np.count_nonzero(parts > 0.01 * mask.size) <= 4
        )  # of a lung, fluid and a closed margin may leave two parts
    areas = np.array([mask.mean() for _, mask in wild])
    assert areas.max() < 0.65 and np.quantile(areas, 0.95) > 0.3 and np.quantile(areas[::2], 0.1) < 0.15


def test_wild_masks_lie_on_their_images(wild):
    """The border of the mask is where the picture changes: a mask that was moved would lie on flatter ground."""

    def steepness(image, mask):
        slope = ndimage.gaussian_gradient_magnitude(image.astype(float), 1.0)
        border = mask & ~ndimage.binary_erosion(mask)
        return slope[border].mean() / slope.mean()

    cases = [case for case in wild if 0.08 < case.mask.mean()]
    at_home = np.mean([steepness(*case) for case in cases])
    for shift in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        moved = np.mean([steepness(image, np.roll(mask, shift, (0, 1))) for image, mask in cases])
        assert moved < 0.9 * at_home, shift


def test_wild_lungs_may_be_brighter_than_their_surroundings(wild):
    brighter = [image[mask].mean() > image[around(mask)].mean() for image, mask in wild if mask.mean() > 0.05]
    assert 0.03 < np.mean(brighter) < 0.4


@pytest.mark.parametrize("index", [2, 5])  # an X-ray, a CT slice
def test_nothing_is_marked_where_a_closed_margin_hides_it(monkeypatch, index):
    """The same phantom behind a margin that is closed over the picture's left half."""
    half = SIZE // 2

    def hide(*arguments):
        return np.zeros((SIZE, SIZE), np.uint8), np.arange(SIZE) >= half * np.ones((SIZE, 1))

    whole = make_phantom(index, kind="wild", size=SIZE).mask
    monkeypatch.setattr(xray, "expose", hide)
    monkeypatch.setattr(ct, "_windowed", hide)
    mask = make_phantom(index, kind="wild", size=SIZE).mask
    assert whole[:, :half].any() and not mask[:, :half].any() and mask[:, half:].any()


def test_a_closed_margin_shows_nothing_of_the_patient():
    closed = 0
    for index in range(20):
        grey = np.linspace(0.3, 0.7, SIZE) * np.ones((SIZE, 1))
        picture, seen = film._bordered(np.random.default_rng(index), grey)
        closed += not seen.all()
        assert not ((0.25 < picture[~seen]) & (picture[~seen] == grey[~seen])).any()  # of the patient, that is
        assert seen.all() or picture[seen].std() > 0.02
    assert 3 < closed < 17


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes_other_index_other_image(kind):
    assert same(make_phantom(3, 7, kind, 64), make_phantom(3, 7, kind, 64))
    images = {make_phantom(index, seed, kind, 64).image.tobytes() for index in range(8) for seed in (1, 2)}
    assert len(images) == 16


def test_same_patient_taken_twice():
    """Another acquisition changes posture and tone, not the patient: the lungs keep about their size."""
    first, second = (xray_phantom(np.random.default_rng(4), SIZE, np.random.default_rng([9, i])) for i in (1, 2))
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.mask, second.mask)
    assert 0.6 < first.mask.sum() / second.mask.sum() < 1.6


def test_written_tree(tmp_path):
    folder = tmp_path / "raw" / "phantom"
    write_phantoms(folder, 20, size=64, progress=False)
    images, masks = (sorted(path.name for path in (folder / kind).iterdir()) for kind in ("images", "masks"))
    assert images == masks
    assert len(images) == 20
    assert images[0] == "patient_001_image_1.bmp"
    patients = [name[:11] for name in images]
    assert 1 < len(set(patients)) < 20  # some patients have several images
    assert max(patients.count(patient) for patient in patients) <= 3
    first = make_phantom(1, size=64)
    assert np.array_equal(read_image(folder / "images" / images[0]), first.image)
    assert np.array_equal(read_mask(folder / "masks" / images[0]), first.mask)


def test_a_wild_set_is_validated_on_wilder_ones_of_both_kinds(tmp_path):
    write_phantoms(tmp_path / "wild", 24, size=64, progress=False, kind="wild")
    split = pd.read_csv(tmp_path / "wild" / "split.csv").set_index("id")["split"]
    assert sorted(split.index) == sorted(path.stem for path in (tmp_path / "wild" / "images").iterdir())
    assert list(split.index[split == "validation"].str[8:11]) == ["001", "020", "021"]
    for patient, kind in ((19, "wild"), (20, "wilder"), (21, "wilder")):
        image = read_image(tmp_path / "wild" / "images" / f"patient_{patient:03}_image_1.bmp")
        assert np.array_equal(image, make_phantom(patient, kind=kind, size=64).image)


def test_wilder_ones_come_from_wider_ranges():
    """The same random numbers lie further from the middle."""
    kinds = ("xray", "wild", "wilder")
    chests = [[draw_chest(np.random.default_rng(index), KINDS[kind]) for index in range(200)] for kind in kinds]
    for measure in ("width", "depth", "tip", "arms", "corner", "shift"):
        spreads = [np.ptp([getattr(chest, measure) for chest in of]) for of in chests]
        assert spreads[0] < spreads[1] < spreads[2]
        middles = [np.mean([getattr(chest, measure) for chest in of]) for of in chests]
        assert np.allclose(middles, middles[0], atol=0.1 * spreads[2])


@pytest.mark.parametrize("field", Wild._fields)
@pytest.mark.parametrize("index", [2, 3])  # an X-ray, a CT slice
def test_variations_that_are_left_out_are_as_in_real_images(field, index):
    """A part left out changes the phantom; with all parts left out, a chest is drawn as that of a real patient."""
    whole, less = (make_phantom(index, kind="wild", size=SIZE, without=without) for without in (None, field))
    assert not np.array_equal(whole.image, less.image)
    assert KINDS["wild"]._replace(**dict.fromkeys(Wild._fields, 0.0)) == KINDS["xray"]
    real, wild = KINDS["xray"], KINDS["wild"]._replace(shape=0.0, pathology=0.0)
    assert draw_chest(np.random.default_rng(1), real) == draw_chest(np.random.default_rng(1), wild)


def test_without_tone_lungs_are_dark_and_without_acquisition_whole():
    tone = [make_phantom(index, kind="wild", size=SIZE, without="tone") for index in range(0, 60, 2)]
    assert all(image[mask].mean() < image[around(mask)].mean() for image, mask in tone if mask.mean() > 0.05)
    whole = [make_phantom(index, kind="wild", size=SIZE, without="acquisition").mask for index in range(0, 60, 2)]
    assert not any(mask[0].any() or mask[:, 0].any() or mask[:, -1].any() for mask in whole)


def test_files_do_not_depend_on_the_number_of_cores(tmp_path, monkeypatch):
    for cores in (1, 3):
        monkeypatch.setattr(make.os, "cpu_count", lambda cores=cores: cores)
        write_phantoms(tmp_path / str(cores), 8, size=64, progress=False)
    assert tree(tmp_path / "1") == tree(tmp_path / "3")
    write_phantoms(tmp_path / "more", 10, size=64, progress=False)
    assert tree(tmp_path / "1").items() <= tree(tmp_path / "more").items()


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_interruption_leaves_no_files(tmp_path, monkeypatch, error):
    write = make._write_case

    def fails_at_the_third(folder, patient, *rest):
        if patient == 3:
            raise error("the disk is full, or the reader has pressed stop")
        write(folder, patient, *rest)

    monkeypatch.setattr(make, "_write_case", fails_at_the_third)
    with pytest.raises(error):
        write_phantoms(tmp_path / "phantom", 12, size=64, progress=False)
    assert not list(tmp_path.iterdir())


def test_progress_goes_to_stdout(tmp_path, capfd):
    write_phantoms(tmp_path / "phantom", 2, size=32)
    shown = capfd.readouterr()
    assert "2/2" in shown.out
    assert not shown.err


def test_arguments_are_checked(tmp_path):
    with pytest.raises(
        ValueError, match="kind must be one of xray, ct, wild, wilder, film, mixed, mixed-wider, other, not 'mri'"
    ):
        make_phantom(0, kind="mri")
    with pytest.raises(
        ValueError, match="without must be one of shape, pathology, tone, texture, acquisition, not 'x'"
    ):
        make_phantom(0, kind="wild", without="x")
    with pytest.raises(ValueError, match="index and seed"):
        make_phantom(-1)
    with pytest.raises(ValueError, match="size must be 32"):
        ct_phantom(np.random.default_rng(0), 8)
    with pytest.raises(ValueError, match="count must be 1 or more"):
        write_phantoms(tmp_path / "phantom", 0)
    with pytest.raises(ValueError, match="folder must not exist"):
        write_phantoms(tmp_path, 1)
    assert not list(tmp_path.iterdir())
