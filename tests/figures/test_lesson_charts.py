from helpers.figures import drawn
from lungnb.evaluation import search_lesson
from lungnb.figures import lesson_charts


def test_a_panel_an_invented_network():
    axes = drawn(lesson_charts.confidence_chart())
    assert [axis.get_title().partition(",")[0] for axis in axes] == ["over-confident", "calibrated", "under-confident"]


def test_four_forms_of_an_image_with_their_masks(trained):
    from lungnb.datasets.prepared import open_prepared

    prepared = open_prepared(trained)
    row = prepared.rows(prepared.scoring_split())[0]
    axes = drawn(lesson_charts.augmentation_grid(trained, "unet", row["id"]))
    titles = [axis.get_title().partition(",")[0] for axis in axes]
    assert titles == ["as it is", "mirrored", "brighter", "darker"]
    shown = [axis.images[0].get_array() for axis in axes]
    assert (shown[1] == shown[0][:, ::-1]).all() and shown[2].sum() > shown[0].sum() > shown[3].sum()


def test_the_samplers_have_a_line_and_a_panel_each():
    searches = search_lesson.repeat_searches(trials=7, seeds=[1, 2])
    progress, random, tpe = drawn(lesson_charts.sampler_chart(searches))
    assert [text.get_text() for text in progress.get_legend().get_texts()] == [*search_lesson.SAMPLERS.values()]
    assert [len(axis.collections[0].get_offsets()) for axis in (random, tpe)] == [14, 14]
