import numpy as np
import pytest
from PIL import Image

from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.prepared import open_prepared, read_manifest
from lungnb.formats.images import read_image, read_mask, write_png
from lungnb.formats.pixels import fit_square
from lungnb.networks import data
from lungnb.networks.backend import fix_seeds, keras
from lungnb.networks.data import MemoryBatches, count_steps, load_batches
from lungnb.settings import Settings

PLAIN = {"flip": False, "rotation": 0.0, "zoom": 0.0, "contrast": 0.0}


def arrays(batches):
    """All images and all masks of a data set, as two arrays."""
    images, masks = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def one_epoch(settings, epoch=0):
    """The images and masks of one epoch of the training stream that begins with it."""
    return arrays(
        load_batches(settings, "train", training=True, first_epoch=epoch).take(count_steps(settings, "train"))
    )


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.fixture
def lopsided(tmp_path):
    """Ten images that are their own masks, of a shape that no flip or turn maps onto itself."""
    for n in range(10):
        shape = np.zeros((96, 96), bool)
        shape[20:76, 24 : 36 + n] = True
        shape[58:76, 24:70] = True
        write_png(tmp_path / "shapes" / "images" / f"{n}.png", shape)
        write_png(tmp_path / "shapes" / "masks" / f"{n}.png", shape)
    settings = Settings(dataset=str(tmp_path / "shapes"), image_size=96, batch_size=4, epochs=6, zoom=0.2)
    prepare_dataset(settings, progress=False)
    return settings


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_shapes_types_and_ranges(prepared, split, training):
    batches = list(load_batches(prepared, split, training).take(count_steps(prepared, split)).as_numpy_iterator())
    count = (read_manifest(prepared)["split"] == split).sum()
    assert sum(len(images) for images, _ in batches) == count
    assert [len(images) for images, _ in batches[:-1]] == [4] * (len(batches) - 1)
    for images, masks in batches:
        assert images.shape == masks.shape == (len(images), 32, 32, 1)
        assert images.dtype == masks.dtype == np.float32
        assert 0 <= images.min() < images.max() <= 1
        assert set(np.unique(masks)) == {0, 1}


def test_images_and_masks_are_those_of_the_manifest_in_its_order(prepared):
    settings = prepared.replace(image_size=64)  # the images' own size
    images, masks = arrays(load_batches(settings, "train"))
    manifest = read_manifest(settings).query("split == 'train'")
    for image, mask, row in zip(images, masks, manifest.to_dict("records"), strict=True):
        np.testing.assert_allclose(255 * image[..., 0], read_image(settings.prepared / row["image"]), atol=1e-3)
        np.testing.assert_array_equal(mask[..., 0] > 0, read_mask(settings.prepared / row["mask"]))


def test_names_that_sort_differently_with_their_suffix_still_pair(tmp_path):
    names = ["a", "a-1", "a.b", "a b", "A1", "10", "9", "a_1"]
    for n, name in enumerate(names):
        picture = np.full((32, 32), 10 + 20 * n, np.uint8)
        write_png(tmp_path / "odd" / "images" / f"{name}.png", picture)
        write_png(tmp_path / "odd" / "masks" / f"{name}.png", np.arange(32) < 2 + n * np.ones((32, 1)))
    settings = Settings(dataset=str(tmp_path / "odd"), image_size=32)
    prepare_dataset(settings, progress=False)
    for split in ("train", "validation", "test"):
        images, masks = arrays(load_batches(settings, split))
        numbers = np.rint((255 * images[:, 0, 0, 0] - 10) / 20)
        np.testing.assert_array_equal(masks[:, 0, :, 0].sum(axis=1), 2 + numbers)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (240, 80), (80, 240), (97, 131), (50, 20)])
def test_training_and_inference_show_the_network_the_same_picture(tmp_path, height, width):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
    picture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    for name in "abc":
        write_png(tmp_path / "own" / "images" / f"{name}.png", picture)
        write_png(tmp_path / "own" / "masks" / f"{name}.png", picture > 127)
    settings = Settings(dataset=str(tmp_path / "own"), image_size=32)
    prepare_dataset(settings, progress=False)
    images, masks = arrays(load_batches(settings, "train"))
    square = fit_square(picture, 32)
    difference = np.abs(255 * images[0, :, :, 0] - square.array)
    assert difference.mean() < 0.02  # grey values, of 255
    assert difference.max() < 1.01  # where one rounds up and the other down
    inside = np.zeros((32, 32), bool)
    inside[square.top : square.top + square.height, square.left : square.left + square.width] = True
    assert not images[0, ~inside].any()
    assert not masks[0, ~inside].any()
    mask, expected = masks[0, :, :, 0] > 0, fit_square((picture > 127) * np.uint8(255), 32).array > 127
    assert overlap(mask, expected) > 0.85  # by nearest neighbour, and by area
    for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
        assert overlap(np.roll(mask, shift, axis), expected) < overlap(mask, expected)


def test_image_and_mask_stay_together_through_shuffling_and_augmentation(lopsided):
    batches = load_batches(lopsided, "train", training=True)
    images, masks = arrays(batches)
    assert len(images) == lopsided.epochs * (read_manifest(lopsided)["split"] == "train").sum()
    found, truth = images[..., 0] > 0.5, masks[..., 0] > 0.5
    agreement = [overlap(one, other) for one, other in zip(found, truth, strict=True)]
    assert min(agreement) > 0.97
    # The shape is such that this proves something: any other mask, or its own flipped, agrees less.
    assert max(overlap(one, other[:, ::-1]) for one, other in zip(found, truth, strict=True)) < 0.9
    assert np.median([overlap(one, other) for one, other in zip(found, np.roll(truth, 1, 0), strict=True)]) < 0.9


def test_augmentation_flips_turns_zooms_and_changes_contrast(lopsided):
    unchanged, truth = arrays(load_batches(lopsided, "train"))
    still = lopsided.replace(**PLAIN, epochs=1)

    def changed(**how):
        return one_epoch(still.replace(**how))

    upright = truth[..., 0].sum(axis=1)  # the upright stroke is on the left
    assert (upright[:, :48].sum(axis=1) > upright[:, 48:].sum(axis=1)).all()
    images, masks = arrays(load_batches(still.replace(flip=True, epochs=6), "train", training=True))
    columns = masks[..., 0].sum(axis=1)
    share = (columns[:, :48].sum(axis=1) < columns[:, 48:].sum(axis=1)).mean()
    assert 0.2 < share < 0.8
    assert {mask.sum() for mask in masks} == {mask.sum() for mask in truth}

    tops = [np.flatnonzero(mask[..., 0].any(axis=1))[0] for mask in changed(zoom=0.2)[1]]
    assert len(set(tops)) > 2
    slopes = [np.argmax(mask[40, :, 0]) - np.argmax(mask[66, :, 0]) for mask in changed(rotation=20)[1]]
    assert min(slopes) < -2
    assert max(slopes) > 2
    images, masks = changed(contrast=0.3)
    assert len({round(float(np.ptp(image)), 3) for image in images}) > 2
    assert sorted(mask.sum() for mask in masks) == sorted(mask.sum() for mask in truth)
    assert unchanged.max() == 1


def test_without_augmentation_an_epoch_holds_each_image_once(prepared):
    settings = prepared.replace(**PLAIN)
    images, masks = arrays(load_batches(settings, "train"))
    shuffled, moved = one_epoch(settings)
    order = [int(np.abs(images - image).mean(axis=(1, 2, 3)).argmin()) for image in shuffled]
    assert sorted(order) == list(range(len(images)))
    np.testing.assert_allclose(shuffled, images[order], atol=1e-5)
    np.testing.assert_array_equal(moved, masks[order])


@pytest.mark.parametrize("split", ["train", "validation"])
def test_only_training_augments_and_shuffles(prepared, split):
    wild = prepared.replace(rotation=45.0, zoom=0.5, contrast=0.9)
    for one, other in zip(
        arrays(load_batches(wild, split)), arrays(load_batches(prepared.replace(**PLAIN), split)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("repeats", [1, 3])
def test_epochs_differ_and_a_resumed_one_is_that_of_the_uninterrupted_stream(prepared, repeats):
    settings = prepared.replace(epochs=4, repeats=repeats)
    steps = count_steps(settings, "train")
    assert steps == repeats * count_steps(prepared, "train")
    assert count_steps(settings, "validation") == count_steps(prepared, "validation")
    stream = list(load_batches(settings, "train", training=True).as_numpy_iterator())
    assert len(stream) == 4 * steps
    epochs = [stream[steps * n : steps * (n + 1)] for n in range(4)]
    for n, epoch in enumerate(epochs):
        again = list(load_batches(settings, "train", training=True, first_epoch=n).as_numpy_iterator())
        assert len(again) == (4 - n) * steps
        for one, other in zip(again, stream[steps * n :], strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
        for other in epochs[:n]:
            assert np.abs(epoch[0][0] - other[0][0]).mean() > 0.01
    orders = [arrays(load_batches(settings.replace(**PLAIN), "train", training=True, first_epoch=n))[0] for n in (2, 3)]
    assert np.abs(orders[0][:4] - orders[1][:4]).mean() > 0.01  # shuffled anew, not only augmented anew


def test_each_step_of_each_epoch_draws_its_own_changes(lopsided):
    for part in ("images", "masks"):  # one picture under all names, so that the order tells nothing
        first, *others = sorted((lopsided.prepared / "train" / part).glob("*.png"))
        for other in others:
            other.write_bytes(first.read_bytes())
    images, _ = arrays(load_batches(lopsided.replace(epochs=3, repeats=2), "train", training=True))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_the_seed_decides(prepared):
    same, other = prepared.replace(), prepared.replace(seed=2)
    np.testing.assert_array_equal(one_epoch(prepared)[0], one_epoch(same)[0])
    assert np.abs(one_epoch(prepared)[0] - one_epoch(other)[0]).mean() > 0.01


def test_a_seed_of_0_works(prepared):
    fix_seeds(0)
    try:
        assert len([*load_batches(prepared.replace(seed=0, epochs=1), "train", training=True)]) == count_steps(
            prepared, "train"
        )
    finally:
        fix_seeds(1)


def test_the_last_batch_may_be_smaller(prepared):
    count = (read_manifest(prepared)["split"] == "train").sum()
    assert [count_steps(prepared.replace(batch_size=size), "train") for size in (1, count - 1, count, 99)] == [
        count,
        2,
        1,
        1,
    ]


def test_a_few_training_images_are_drawn_with_the_seed(prepared):
    """They are the same in each epoch, and others with another seed. Validation keeps all its images."""
    everything = {image.tobytes() for image in one_epoch(prepared.replace(**PLAIN))[0]}
    drawn = []
    for seed in (1, 1, 2, 3):
        settings = prepared.replace(**PLAIN, train_images=2, batch_size=2, epochs=3, seed=seed)
        assert count_steps(settings, "train") == 1
        images, _ = arrays(load_batches(settings, "train", training=True))
        drawn.append({image.tobytes() for image in images})
        assert len(images) == 6 and len(drawn[-1]) == 2 and drawn[-1] < everything
    assert drawn[0] == drawn[1] and len(set(map(frozenset, drawn))) > 1
    few, many = (prepared.replace(train_images=count) for count in (2, 999))
    assert count_steps(few, "validation") == count_steps(prepared, "validation")
    assert count_steps(many, "train") == count_steps(prepared, "train")
    assert len(one_epoch(many)[0]) == len(one_epoch(prepared)[0])


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_removed_by_hand_is_noticed(prepared, part):
    next((prepared.prepared / "train" / part).glob("*.png")).unlink()
    with pytest.raises(ValueError, match="images and masks do not pair one to one; prepare the data set again"):
        load_batches(prepared, "train")


def test_a_file_added_by_hand_is_noticed(prepared):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(prepared.prepared / "train" / "images" / "extra.jpg")
    with pytest.raises(ValueError, match="other files appeared; prepare the data set again"):
        load_batches(prepared, "train")


def test_an_unknown_or_missing_split_is_named(prepared):
    with pytest.raises(ValueError, match="split must be one of train, validation, test, not 'exam'"):
        load_batches(prepared, "exam")
    settings = prepared.replace(split_fractions=(0.85, 0.15, 0.0))
    prepare_dataset(settings, progress=False)
    with pytest.raises(ValueError, match="has no test split; prepare it with one"):
        load_batches(settings, "test")


def test_the_error_without_prepared_data_names_the_step_to_run_first():
    with pytest.raises(FileNotFoundError, match="run notebook 02, or `lungnb prepare phantom`"):
        load_batches(Settings(), "train")


def batches_in_memory(settings, split, epoch=None):
    examples = data._in_memory(open_prepared(settings), split, settings.image_size)
    return MemoryBatches(examples, settings, epoch)


def test_batches_in_memory_are_those_of_tensorflow(prepared):
    expected = arrays(load_batches(prepared, "train"))
    batches = batches_in_memory(prepared, "train")
    assert len(batches) == count_steps(prepared, "train")
    images, masks = (np.concatenate(part) for part in zip(*batches, strict=True))
    np.testing.assert_allclose(images, expected[0], atol=1.01 / 255)  # where one rounds up and the other down
    np.testing.assert_array_equal(masks, expected[1])


def test_an_epoch_in_memory_shows_each_image_as_often_as_asked_and_continues(lopsided):
    settings = lopsided.replace(repeats=2, epochs=2, **PLAIN)
    count = len(read_manifest(settings).query("split == 'train'"))
    batches, steps = [*batches_in_memory(settings, "train", 0)], count_steps(settings, "train")
    first, second = batches[:steps], batches[steps:]
    again = batches_in_memory(settings, "train", 1)
    for one, other in zip(second, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    widths = [
        np.concatenate([np.asarray(masks) for _, masks in epoch]).sum(axis=(1, 2, 3)) for epoch in (first, second)
    ]
    assert sorted(widths[0]) == sorted(widths[1]) == sorted([*widths[0][:count]] * 2)  # all, before one comes again
    assert [*widths[0]] != [*widths[1]]


def test_masks_in_memory_are_changed_with_their_images(lopsided):
    settings = lopsided.replace(contrast=0.0, rotation=30.0)
    plain, changed = (next(iter(batches_in_memory(settings, "train", epoch))) for epoch in (None, 0))
    assert np.abs(np.asarray(plain[0]) - np.asarray(changed[0])).max() > 0.5
    for image, mask in zip(*map(np.asarray, changed), strict=True):
        assert overlap(image > 0.5, mask > 0.5) > 0.9


def test_a_part_of_the_images_in_memory(lopsided):
    batches = batches_in_memory(lopsided.replace(train_images=3, epochs=1), "train", 0)
    assert [len(images) for images, _ in batches] == [3]


def test_a_training_sees_the_batches_of_its_epochs(lopsided):
    """Keras takes a batch, and calls `on_epoch_end`, before the first epoch: neither may change the order."""
    settings = lopsided.replace(epochs=3)
    batches, steps = batches_in_memory(settings, "train", 1), count_steps(settings, "train")
    batches._batch = lambda number, *_: (np.ones((1, 1), np.float32), np.full((1, 1), number, np.float32))
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse", metrics=[lambda number, _: number])
    seen = network.fit(batches, initial_epoch=1, epochs=3, steps_per_epoch=steps, shuffle=False, verbose=0).history
    (means,) = (values for name, values in seen.items() if name != "loss")
    assert means == [np.mean([number for number, _ in batches.order_of(epoch)]) for epoch in (1, 2)]
