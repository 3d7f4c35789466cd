import numpy as np
import pytest

from lungnb.commands import make_parser
from lungnb.datasets.prepared import Prepared
from lungnb.engines.temperature import has_temperature, read_temperature
from lungnb.evaluation import scaling
from lungnb.evaluation.calibration import examine, save_temperature
from lungnb.evaluation.evaluation import evaluate
from lungnb.evaluation.scaling import choose_temperature
from lungnb.segmentation.predict import segment


def no_images(*_):
    raise AssertionError("images were read again")


def test_a_temperature_is_chosen_on_validation_images_alone_and_once(trained, model_file, monkeypatch):
    splits = []
    rows = Prepared.rows
    monkeypatch.setattr(Prepared, "rows", lambda self, *names: splits.append(names) or rows(self, *names))
    assert not has_temperature(model_file)
    temperature = choose_temperature(trained, "unet", progress=False)
    assert splits == [("validation",)]
    assert read_temperature(model_file) == temperature != 1
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "rows", no_images)
        assert choose_temperature(trained, "unet", progress=False) == temperature
    model_file.with_name("temperature.json").write_text('{"temperature": 3, "model": "of another network"}')
    assert choose_temperature(trained, "unet", progress=False) == temperature


def test_it_is_the_temperature_of_an_examination(trained):
    validation = examine(trained, "unet", "validation", progress=False)
    assert choose_temperature(trained, "unet", progress=False) == save_temperature(trained, "unet", validation)


def test_scoring_chooses_it_and_it_changes_neither_scores_nor_masks(trained, model_file):
    image = next((trained.prepared / "test" / "images").iterdir())
    before = segment(image, model_file)
    scores = evaluate(trained, "unet", progress=False)
    assert has_temperature(model_file)
    after, again = segment(image, model_file), evaluate(trained, "unet", progress=False)
    np.testing.assert_array_equal(after.mask, before.mask)
    assert not np.allclose(after.probability, before.probability, atol=0.01)
    assert scores.drop(columns="milliseconds").equals(again.drop(columns="milliseconds"))


def test_training_by_the_command_line_chooses_it(trained, model_file, monkeypatch):
    monkeypatch.setattr("lungnb.commands.actions._settings", lambda _: trained)
    options = make_parser().parse_args(["train", trained.dataset, "--model", "unet"])
    options.run(options)  # the network is trained already
    assert has_temperature(model_file)


def test_probabilities_that_are_not_numbers_are_refused(trained, monkeypatch):
    monkeypatch.setattr(scaling, "predict", lambda _, grey: np.full(grey.shape, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"unet gives probabilities of case_.. that are not numbers; train it again"):
        choose_temperature(trained, "unet", progress=False)


def test_an_untrained_model_names_the_step_to_run(prepared):
    with pytest.raises(FileNotFoundError, match="lungnb train"):
        choose_temperature(prepared, "unet", progress=False)
