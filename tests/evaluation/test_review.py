import numpy as np
import pytest

from helpers.tables import examined
from lungnb.evaluation.review import review_gain, review_reasons


def test_what_is_unusual_is_reviewed_first():
    validation = examined(disagreement=np.linspace(0, 0.1, 21), true_area=np.linspace(0.2, 0.4, 21))
    images = examined(regions=[2, 3, 2, 2, 3], area=[0.3, 0.3, 0.6, 0.3, 0.05], disagreement=[0.095, 0, 0.05, 0.05, 0])
    found = review_reasons(images, validation)
    assert found["reasons"].to_dict() == {
        4: "number of lungs, area",
        2: "area",
        1: "number of lungs",
        0: "predictions disagree",
        3: "",
    }
    assert found.index.tolist() == [4, 2, 1, 0, 3]
    usual = examined(area=[0.17, 0.49], disagreement=[0.06, 0.04])  # from 0.8 x 0.2 to 1.25 x 0.4, and about the median
    assert review_reasons(usual, validation)["reasons"].tolist() == ["", ""]
    assert review_reasons(usual, validation, share=0.5)["reasons"].tolist() == ["predictions disagree", ""]


def test_slices_with_one_lung_are_usual_where_validation_has_them():
    validation = examined(true_regions=[1] * 3 + [2] * 17)
    found = review_reasons(examined(regions=[1, 2, 0]), validation).sort_index()
    assert found["reasons"].tolist() == ["", "", "number of lungs"]


def test_the_gain_by_a_review_by_hand():
    reviewed = examined(dice=[0.6, 0.9, 0.5, 0.8])
    found = review_gain(reviewed, 0.25)
    assert found["looked_at"] == 1 and found["worst"] == 0.5
    assert found["worst_left"] == 0.5 and found["worst_ideal"] == 0.6
    assert found["worst_by_chance"] == pytest.approx(0.75 * 0.5 + 0.25 * 0.6)
    assert found["mean"] == pytest.approx(0.7) and found["mean_left"] == pytest.approx(2.2 / 3)
    two = review_gain(reviewed, 0.5)
    assert two["worst_by_chance"] == pytest.approx(0.5 * 0.5 + 0.5 * (2 / 3 * 0.6 + 1 / 3 * 0.8))
    assert [review_gain(reviewed, share)["looked_at"] for share in (0.01, 0.4, 1)] == [1, 2, 3]  # one at least is left
    with pytest.raises(ValueError, match="two images at least"):
        review_gain(reviewed.head(1))


@pytest.mark.parametrize("regions", [[1] + [2] * 19, [1] + [2] * 9, [1, 2, 2]])
def test_one_odd_validation_image_does_not_make_its_number_of_lungs_usual(regions):
    found = review_reasons(examined(regions=[1, 2]), examined(true_regions=regions)).sort_index()
    assert found["reasons"].tolist() == ["number of lungs", ""]


def test_with_one_validation_image_its_number_of_lungs_is_usual():
    found = review_reasons(examined(regions=[2, 1]), examined(true_regions=[2])).sort_index()
    assert found["reasons"].tolist() == ["", "number of lungs"]
