import numpy as np
import pandas as pd
import pytest

import lungnb
from helpers.browsing import in_file_order
from lungnb.browser import cases, controls, entry
from lungnb.datasets.prepared import read_manifest
from lungnb.engines.engines import Engine
from lungnb.formats.images import Picture, read_image, read_mask, write_png
from lungnb.masks import clean_mask
from lungnb.metrics import count_pixels, scores
from lungnb.phantoms.make import make_phantom


class Dark:
    """Predict dark pixels as lung, and count the predictions."""

    asked = 0

    def find(self, batch):
        self.asked += 1
        return 1 - np.asarray(batch)


def network(name="dark"):
    return Engine(name, 64, Dark().find)


@pytest.fixture
def films(home):
    for index in range(12):
        write_png(home / "films" / f"film_{index:02}.png", make_phantom(index, size=64).image)
    return home / "films"


@pytest.fixture
def looked(films):
    return in_file_order(films, network())


def idle(looked):
    """Wait until the thread has looked at all it was asked to."""
    looked.predictions.pool.submit(int).result()


def test_only_what_is_shown_and_the_next_is_segmented(looked):
    idle(looked)
    assert looked.predictions.engine.run.__self__.asked == 2
    looked.next.click()
    idle(looked)
    assert (
        looked.predictions.engine.run.__self__.asked == 3
        and looked.number.value == 2
        and "film_01.png" in looked.caption.value
    )
    looked.threshold.value, looked.view.value = 0.7, "probability"
    idle(looked)
    assert looked.predictions.engine.run.__self__.asked == 3
    looked.previous.click()
    assert "film_00.png" in looked.caption.value and looked.predictions.engine.run.__self__.asked == 3
    looked.number.value = 12
    assert looked.next.disabled and not looked.previous.disabled and looked.predictions.engine.run.__self__.asked == 4


def test_a_thousand_files_are_not_read_at_once(films, monkeypatch):
    read = []
    black = Picture(np.zeros((64, 64), np.uint8))
    monkeypatch.setattr(cases, "read_picture", lambda path, window: read.append(path) or black)
    monkeypatch.setattr(cases, "list_images", lambda paths: [films / f"{index}.png" for index in range(1000)])
    looked = in_file_order(films, network())
    for number in range(1, 60):
        looked.number.value = number
    idle(looked)
    assert (
        len(read) == 60 and len(looked.predictions.kept) <= 24 and "of 1,000" in str(looked.widget.children[0].children)
    )


def test_the_threshold_changes_the_outline(looked):
    before, caption = looked.left.value, looked.caption.value
    looked.threshold.value = 0.9
    assert looked.left.value != before and looked.caption.value != caption
    predicted = looked.predictions.predict(0).result()
    share = clean_mask(predicted.probabilities[0] > 0.9).mean()
    assert f"lung {share:.1%} of" in looked.caption.value and "Dice" not in looked.caption.value


def test_each_view_has_its_picture_and_scale(looked):
    pictures = {}
    for view in controls.VIEWS:
        looked.view.value = view
        pictures[view] = looked.right.value
        assert ("gradient" in looked.right_legend.value) == (view != "image")
    assert len(set(pictures.values())) == 3 and all(value[:2] == b"\xff\xd8" for value in pictures.values())
    assert "disagreement 0." in looked.caption.value
    looked.view.value = "image"
    assert looked.right.value == pictures["image"]


def test_marks_are_kept_at_once_and_shown_again(looked, films, home):
    looked.next.click()
    looked.threshold.value = 0.35
    looked.wrong.click()
    table = pd.read_csv(home / "results" / "marks.csv")
    assert table.drop(columns="marked").values.tolist() == [[str(films / "film_01.png"), "dark", 0.35]]
    assert looked.wrong.description == "Marked as wrong"
    assert looked.status.value == f"&nbsp;1 marked, in {home / 'results' / 'marks.csv'}"
    looked.previous.click()
    assert looked.wrong.description == "Mark as wrong"
    again = in_file_order(films / "film_01.png", network())
    assert again.wrong.description == "Marked as wrong"
    again.wrong.click()
    assert pd.read_csv(home / "results" / "marks.csv").empty
    assert again.status.value == f"&nbsp;marks go to {home / 'results' / 'marks.csv'}"


def test_only_the_marked_images_are_shown_again(looked):
    looked.order.value = "marked images"
    assert looked.order.value == "all images" and "no image is marked yet" in looked.status.value
    for number in (3, 11):
        looked.number.value = number
        looked.wrong.click()
    looked.order.value = "marked images"
    assert "film_02.png" in looked.caption.value and looked.total.value.startswith("of 2") and looked.number.value == 1
    looked.next.click()
    assert "film_10.png" in looked.caption.value and looked.next.disabled
    looked.wrong.click()  # unmarked, and still there, because a person may change their mind
    assert "film_10.png" in looked.caption.value and looked.wrong.description == "Mark as wrong"
    looked.order.value = "all images"
    assert "film_00.png" in looked.caption.value and looked.total.value.startswith("of 12")
    assert [looked.cases[index].name for index in looked._marked()] == ["film_02.png"]


def test_uncertain_images_can_come_first(home):
    """The answer of the network is one minus the picture: 115 is uncertain, and white has no lung."""
    films = [np.zeros((64, 64), np.uint8) for _ in range(4)]
    for film, middle in zip(films, (0, 40, 10, 64), strict=True):
        film[:, :middle] = 115 if middle < 64 else 255
    films[0][0, 0], films[3][0, 0] = 1, 254  # because pictures of one grey have no lung
    (home / "broken.png").write_bytes(b"no image")
    looked = in_file_order([home / "broken.png", *films], network())
    looked.order.value = "uncertain images first"
    names = []
    for number in range(1, 6):
        looked.number.value = number
        names.append(looked.caption.value.split("</b>")[0].removeprefix("<b>"))
    assert names == ["array 5", "array 3", "array 4", "array 2", "broken.png"]
    looked.number.value = 2
    assert "uncertainty 0.62" in looked.caption.value


def test_the_order_can_be_given(films):
    black = np.zeros((64, 64), np.uint8)
    black[0, 0] = 1
    write_png(films / "z.png", black)
    looked = in_file_order(films, network(), order="uncertain images first")
    assert looked.order.value == "uncertain images first" and len(looked.predictions.kept) == 13
    numbers = []
    for number in range(1, 14):
        looked.number.value = number
        numbers.append(looked._shown[number - 1])
    values = [looked.predictions.predict(index).result().uncertainty for index in numbers]
    assert values == sorted(values, reverse=True) and sorted(numbers) == [*range(13)] != numbers
    assert in_file_order(films, network(), order="marked images").order.value == "all images"
    with pytest.raises(ValueError, match="order must be one of all images, marked images, uncertain images first, not"):
        in_file_order(films, network(), order="random")


def test_a_volume_has_a_slider_for_its_slices(home):
    pytest.importorskip("nibabel")
    from helpers.volumes import write_nifti

    values = np.linspace(-900, 300, 9)[:, None, None] + np.zeros((9, 12, 10)) + np.eye(12, 10) * 50
    write_nifti(home / "scans" / "a.nii.gz", values)
    write_nifti(home / "scans" / "c.nii.gz", values[:5])
    write_png(home / "scans" / "b.png", make_phantom(0, size=64).image)
    looked = in_file_order(home / "scans", network())
    first = looked.left.value
    assert looked.slice.layout.display is None and (looked.slice.value, looked.slice.max) == (4, 8)
    looked.slice.value = 8
    assert looked.left.value != first and looked._index == 0
    looked.next.click()
    assert "b.png" in looked.caption.value and looked.slice.layout.display == "none"
    assert looked.threshold.layout.display is None
    looked.next.click()
    assert (looked.slice.value, looked.slice.max) == (2, 4)
    looked.number.value = 1
    assert (looked.slice.value, looked.slice.max) == (4, 8) and looked.left.value == first


def test_marks_of_another_network_and_of_another_browser_stay(films, home):
    first, second = in_file_order(films, network()), in_file_order(films, network("other"))
    first.wrong.click()
    second.wrong.click()
    assert pd.read_csv(home / "results" / "marks.csv")["model"].tolist() == ["dark", "other"]


def test_another_table_is_refused_and_left_alone(films, home):
    (home / "scores.csv").write_text("id,dice\n1,0.9\n")
    with pytest.raises(ValueError, match=r"scores\.csv: not a table of marks .*name another file"):
        in_file_order(films, network(), marks=home / "scores.csv")
    assert (home / "scores.csv").read_text() == "id,dice\n1,0.9\n"


def test_marks_that_cannot_be_written_are_said(films, home):
    (home / "file").write_text("")
    looked = in_file_order(films, network(), marks=home / "file" / "marks.csv")
    looked.wrong.click()
    assert "is a file, not a folder" in looked.status.value and looked.wrong.description == "Mark as wrong"


def test_an_unreadable_file_says_so_and_the_rest_goes_on(films):
    (films / "a<b>&.png").write_bytes(b"no image")
    write_png(films / "b$_^$.png", np.zeros((64, 64), np.uint8))  # which is not a formula
    looked = in_file_order(films, network())
    assert "a&lt;b&gt;&amp;.png" in looked.caption.value and "<b>&" not in looked.caption.value
    assert "cannot be read as an image" in looked.caption.value
    assert looked.wrong.disabled and looked.pictures.layout.display == "none"
    looked.next.click()
    assert "b$_^$.png" in looked.caption.value and not looked.wrong.disabled
    assert looked.pictures.layout.display is None and looked.picture().axes


def test_arrays_are_known_by_what_they_hold(home):
    arrays = [make_phantom(index, size=64).image for index in range(2)]
    looked = in_file_order(arrays, network())
    looked.next.click()
    assert "array 2" in looked.caption.value
    looked.wrong.click()
    single = in_file_order(arrays[1].copy(), network())
    assert single.wrong.description == "Marked as wrong" and len(single.cases) == 1
    assert "expected (height, width)" in in_file_order([np.zeros((2, 2, 2, 2))], network()).caption.value


def test_the_truth_of_a_prepared_set_is_shown(trained):
    looked = in_file_order(trained)
    rows = read_manifest(trained).query("split == 'validation'").to_dict("records")
    assert [case.name for case in looked.cases] == [row["id"] for row in rows]
    looked.threshold.value = 0.3
    truth = read_mask(trained.prepared / rows[0]["mask"])
    probability = lungnb.segment(read_image(trained.prepared / rows[0]["image"]), looked.predictions.engine).probability
    dice = scores(count_pixels(truth, probability > 0.3))["dice"]
    assert f"Dice <b>{dice:.3f}</b>" in looked.caption.value
    assert "ground truth" in looked.left_legend.value and "dashed" in looked.left_legend.value
    assert looked.marks.file == trained.results / "marks.csv"
    assert looked.marks.model.endswith("model.keras")
    with pytest.raises(ValueError, match="split must be one of"):
        in_file_order(trained, split="tset")


def test_nothing_to_look_at_is_said(prepared, home):
    with pytest.raises(FileNotFoundError, match="no trained model there yet"):
        in_file_order(prepared)
    with pytest.raises(ValueError, match="no images to browse"):
        in_file_order([], network())
    (home / "empty").mkdir()
    with pytest.raises(ValueError, match="no image files"):
        in_file_order(home / "empty", network())


def test_large_films_are_shown_like_prepared_ones(home):
    looked = in_file_order(np.zeros((3000, 1500), np.uint8), network())
    assert "512 x 1024 px" in looked.caption.value


def test_without_a_kernel_the_first_cases_are_shown(looked, home):
    bundle, metadata = looked._repr_mimebundle_()
    assert bundle["text/plain"] == "<Browser of 12 images>" and bundle["image/jpeg"][:2] == b"\xff\xd8"
    assert len(bundle["image/jpeg"]) < 150_000
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == looked.widget.model_id
    assert looked.predictions.engine.run.__self__.asked == 6 and str(home) not in str((bundle, metadata))
    assert metadata["image/jpeg"]["alt"].startswith("Images with the contours of their masks. ")


def test_uncertain_images_come_first_unless_there_are_many(films, monkeypatch):
    assert lungnb.browse(films, network()).order.value == "uncertain images first"
    monkeypatch.setattr(entry, "_FEW", 1)
    assert lungnb.browse(films, network()).order.value == "all images"
