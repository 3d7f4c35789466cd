import numpy as np
import pytest

from lungnb.datasets.prepared import open_prepared
from lungnb.lessons import memory
from lungnb.lessons.memory import Memory, Study


@pytest.fixture(scope="module")
def drawn_study():
    return memory.draw_study(patients=12)


def test_a_study_has_several_alike_but_different_images_of_each_patient(drawn_study):
    images, masks, patients = drawn_study
    assert images.shape == masks.shape == (48, 64, 64) and images.dtype == np.uint8 and masks.dtype == bool
    assert np.bincount(patients).tolist() == [4] * 12
    assert not (images[0] == images[1]).all()
    known = memory.remember(drawn_study)
    is_same = patients[:, None] == patients[None, :]
    assert known.likeness[is_same].mean() > known.likeness[~is_same].mean()
    assert (memory.draw_study(patients=2).images == images[:8]).all()  # the same in each run


def test_all_pairs_of_masks_have_their_dice():
    masks = np.zeros((3, 2, 2), bool)
    masks[0, 0], masks[1, :, 0] = True, True  # two pixels each, one of them shared; the third mask is empty
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    known = memory.remember(Study(images, masks, np.arange(3)))
    np.testing.assert_allclose(known.dice, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(np.diag(known.likeness), 1, rtol=1e-5)


def test_dealt_patients_are_never_in_both_parts_and_dealt_images_are(drawn_study):
    known = memory.remember(drawn_study)
    table = memory.deal_both_ways(known, deals=5)
    assert [*table["way"]] == ["images"] * 5 + ["patients"] * 5
    means = table.groupby("way").mean()
    assert means.loc["patients", "same_patient"] == 0 and means.loc["images", "same_patient"] > 0.7
    assert means.loc["images", "dice"] > means.loc["patients", "dice"] + memory.RELEVANT_GAP
    said = memory.say_deals(table, known)
    assert "A split by image makes the score 0.0" in said and "too high, although nothing was learned" in said


def test_a_deal_tests_a_fifth_and_answers_from_the_rest(drawn_study):
    answers = memory.deal(memory.remember(drawn_study), "images", seed=3)
    assert len(answers) == round(0.2 * 48) and not {*answers["image"]} & {*answers["nearest"]}


def test_patients_that_are_not_recognised_or_alone_are_said_to_be():
    rng = np.random.default_rng(1)
    noise = Study(
        rng.integers(0, 255, (20, 64, 64), np.uint8), np.ones((20, 64, 64), bool), np.repeat(np.arange(10), 2)
    )
    known = memory.remember(noise)
    assert "scores hardly differ" in memory.say_deals(memory.deal_both_ways(known, 3), known)
    alone = memory.remember(noise._replace(patients=np.arange(20)))
    assert memory.say_deals(memory.deal_both_ways(alone, 3), alone).startswith("Each patient has one image here")
    one = memory.remember(noise._replace(patients=np.zeros(20, int)))
    assert memory.say_deals(memory.deal_both_ways(one, 3), one).startswith("All images are of one patient")


def test_the_example_is_of_a_recognised_patient(drawn_study):
    known = memory.remember(drawn_study)
    tested, nearest, other = memory.pick_example(known)
    assert known.patients[tested] == known.patients[nearest] != known.patients[other] and tested != nearest
    one_each = Memory(np.arange(5), np.eye(5), np.eye(5))
    tested, _, other = memory.pick_example(one_each)
    assert tested != other


def test_a_prepared_set_is_a_study(prepared):
    study = memory.read_study(open_prepared(prepared))
    assert study.images.shape == study.masks.shape == (12, 64, 64)
    assert len({*study.patients}) == 12
    assert study.masks.any(axis=(1, 2)).all()
