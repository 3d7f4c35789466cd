import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion

from lungnb import make_settings
from lungnb.datasets.fetch import download
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.sources import PHANTOMS
from lungnb.evaluation.published import published_adaptation
from lungnb.formats.images import read_image, read_mask, read_volume
from lungnb.lessons import own_images
from lungnb.segmentation.predict import Segmentation
from lungnb.settings import counted


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_HOME", str(tmp_path))
    monkeypatch.setitem(PHANTOMS, "xray", 60)
    settings = make_settings("phantom", "quick", image_size=32)
    download("phantom", progress=False)
    prepare_dataset(settings, progress=False)
    return settings


def read_pairs(folder):
    files = (folder / "images").glob("*.png")
    return {file.stem: (read_image(file), read_mask(folder / "masks" / file.name)) for file in files}


def test_the_example_draws_five_patients_to_correct_and_six_others_to_test_on(settings):
    practice = own_images.start_practice(settings)
    corrected, unseen = (read_pairs(folder) for folder in (practice.corrected, practice.truth.parent))
    assert len(corrected) == 5 and len(unseen) == 6
    patients = [name.rpartition("_image")[0] for name in (*corrected, *unseen)]
    assert len(set(patients)) == 11
    assert practice.images == [practice.truth.parent / "images"]


def test_the_reader_draws_outside_the_ground_truth(settings):
    from lungnb.datasets.prepared import open_prepared

    prepared, corrected = open_prepared(settings), read_pairs(own_images.start_practice(settings).corrected)
    rows = [row for row in prepared.rows("train") if row["id"] in corrected]
    assert len(rows) == 5
    for row in rows:
        image, mask = prepared.pair(row)
        shown, drawn = corrected[row["id"]]
        assert (shown == image).all() and drawn[mask].all()
        assert binary_erosion(drawn, iterations=5)[mask].mean() > 0.95


def test_practice_begins_anew_but_keeps_an_adapted_network(settings):
    folder = settings.results / "reader_example"
    for name in ("before", "mine"):
        (folder / name).mkdir(parents=True)
    own_images.start_practice(settings)
    assert not (folder / "before").exists() and (folder / "mine").exists()


def test_own_images_have_no_truth_and_the_pairs_of_the_browser(settings, tmp_path):
    practice = own_images.start_practice(settings, ["films"])
    assert practice == (tmp_path / "data" / "corrected", ["films"], None)
    assert read_pairs(practice.corrected) == {}


def test_images_to_begin_with_were_in_no_training(settings):
    from lungnb.datasets.prepared import open_prepared

    manifest = open_prepared(settings).manifest
    files = own_images.unseen_images(settings)
    splits = {manifest.set_index("id").loc[file.stem, "split"] for file in files}
    assert len(files) == 3 and splits == {"test"} and all(file.exists() for file in files)


def test_odd_images_replace_earlier_ones(tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "old.png").touch()
    film, turned, half, arm = own_images.write_odd_images(tmp_path / "odd")
    assert sorted((tmp_path / "odd").iterdir()) == sorted([film, turned, half, arm])
    image = read_image(film)
    assert (read_image(turned) == np.rot90(image)).all()
    assert (read_image(half) == image[:, : image.shape[1] // 2]).all()
    assert read_image(arm).std() > 10


def test_the_volume_lies_as_the_slice_was_drawn(tmp_path):
    from lungnb.phantoms import make_phantom

    volume = read_volume(own_images.write_volume(tmp_path / "new" / "volume.nii"))
    assert volume.hounsfield.shape == (8, 256, 256)
    assert volume.spacing_mm == pytest.approx((25, 1.4, 1.4))
    assert np.abs(volume.hounsfield[3] - make_phantom(1, kind="ct").image).max() < 1


def test_without_nibabel_there_is_no_volume(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(own_images, "find_spec", lambda _: None)
    assert own_images.write_volume(tmp_path / "volume.nii") is None
    assert 'extra "medical"' in capsys.readouterr().out and not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("columns", "said"), [((10, 40), "look at it: one lung only"), ((0, 0), "look at it: no lung")]
)
def test_an_unusual_mask_is_named(columns, said):
    mask = np.zeros((100, 100), bool)
    mask[20:80, slice(*columns)] = True
    assert said in own_images.say_segmentation(Segmentation(mask * np.uint8(9), mask, mask.astype(np.float32)))


def test_a_mask_has_the_reasons_of_review():
    """The probabilities of 0.7 were 0.97 before they were corrected with a temperature of 4.1."""
    mask = np.zeros((100, 100), bool)
    mask[20:80, 10:40] = mask[20:80, 60:85] = True
    segmentation = Segmentation(mask * np.uint8(9), mask, np.where(mask, np.float32(0.7), np.float32(0)))
    assert "look at it: the network is uncertain (uncertain" in own_images.say_segmentation(segmentation)
    assert "Nothing about" in own_images.say_segmentation(segmentation._replace(temperature=4.1))
    assert "like an upright chest film" in own_images.say_segmentation(segmentation._replace(chest=0.2))


def test_a_volume_has_slices_in_its_size():
    mask = np.zeros((3, 20, 20), bool)
    mask[:, 4:16, 2:8] = mask[:, 4:16, 12:18] = True
    said = own_images.say_segmentation(Segmentation(mask * np.uint8(9), mask, np.full(mask.shape, 0.5)))
    assert "has 3 x 20 x 20 pixels" in said and "36% of it: the right lung 18%, the left lung 18%" in said
    assert "(probability 0.1 to 0.9): 277.8% of the size of the mask.\n" in said


def test_review_names_each_file_that_needs_a_look():
    rows = [
        ("a/x.png", "ok", "", ""),
        ("a/y.png", "ok", "one lung only", ""),
        ("z.png", "failed", "", "z.png: is empty."),
    ]
    table = pd.DataFrame(rows, columns=["file", "status", "review", "error"])
    assert own_images.say_segmented_files(table).splitlines() == [
        "2 of 3 files have masks. 1 of the masks needs a look.",
        "y.png: one lung only.",
        "z.png has no mask: z.png: is empty.",
    ]


def test_without_corrections_the_sentence_says_what_to_do():
    assert "Correct five in the browser" in own_images.say_rules([], [])


def test_adaptation_before_and_after():
    rows = [("before", "a", 0.8), ("before", "b", 0.9), ("after", "a", 0.95), ("after", "b", 0.85)]
    scores = pd.DataFrame(rows, columns=["model", "id", "dice"])
    assert own_images.say_adaptation(scores).endswith("0.850 before and 0.900 after: 1 of them improved.")
    assert "Set ADAPT to True" in own_images.say_adaptation(scores[scores["model"] == "before"])


def test_published_figures_in_words():
    table = published_adaptation()
    lines = own_images.say_published(table).splitlines()
    assert [line.partition(":")[0] for line in lines] == [*table.index.unique("dataset")]
    for line in lines:
        row = table.loc[(line.partition(":")[0], 5)]
        assert f"{row['before']:.3f} before, {row['after']:.3f} after five" in line
        assert line.endswith(f"higher in {row['helped']:.0f} of {counted(int(row['draws']), 'draw')}.")


def test_the_border_is_counted_in_each_image_on_its_own():
    truths = np.zeros((2, 40, 40), bool)
    truths[0, 10:30, 10:30] = True
    predictions = truths.copy()
    predictions[0, 20, 20] = False  # 10 px from the border
    predictions[0, 10, 10] = False  # at the border
    predictions[1, 10, 10] = True  # in an image without lung, which has no border
    near = (28**2 - 12**2) / truths.size
    assert own_images.say_border(truths, predictions) == (
        f"33% of the wrong pixels are within 4 px of the true border, where {near:.0%} of all pixels are."
    )
    assert own_images.say_border(truths, truths).startswith("0% of the wrong pixels")
