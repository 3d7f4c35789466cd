"""Adapting a network to a few corrected masks: what is read, what is written, and what an interruption changes."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import lungnb
from lungnb.__main__ import main
from lungnb.datasets.reading import ReadOptions
from lungnb.engines.engines import load_model
from lungnb.evaluation import adaptation
from lungnb.evaluation.adaptation import adapt_network as adapt
from lungnb.evaluation.films import Film
from lungnb.files import NotWritten, write_json
from lungnb.formats.images import write_png
from lungnb.formats.tables import read_table
from lungnb.networks import tuning
from lungnb.networks.examples import examples_of
from lungnb.networks.tuning import fine_tune, share_for
from lungnb.phantoms.make import make_phantom


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Ten steps in two parts instead of 600."""
    monkeypatch.setattr(tuning, "STEPS", 10)
    monkeypatch.setattr(tuning, "_STEPS_PER_IMAGE", 0)
    monkeypatch.setattr(tuning, "_STEPS_KEPT", 5)


@pytest.fixture
def corrected(tmp_path):
    """A folder with three films and the masks of a reader who leaves the lower half of the lungs out."""
    folder = tmp_path / "corrected"
    for index in range(3):
        phantom = make_phantom(index, size=64)
        mask = phantom.mask.copy()
        mask[32:] = False
        write_png(folder / "images" / f"film_{index}.png", phantom.image)
        write_png(folder / "masks" / f"film_{index}.png", mask)
    return folder


def weights_of(file):
    return [array.copy() for array in load_model(file).get_weights()]


@pytest.mark.slow
def test_the_network_follows_the_reader(corrected, tmp_path, model_file, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 100)
    monkeypatch.setattr(tuning, "LEARNING_RATE", 0.03)
    monkeypatch.setattr(tuning, "share_for", lambda images: 1.0)  # because the network to start from is hardly trained
    result = adapt(corrected, tmp_path / "mine", model_file, estimate=False, progress=False)
    films, _ = adaptation.read_films(corrected, ReadOptions(), None)
    gain = [
        adaptation.dice_of_film(load_model(result.file), film) - adaptation.dice_of_film(load_model(model_file), film)
        for film in films
    ]
    assert np.mean(gain) > 0.05 and result.images == 3


@pytest.mark.slow
def test_the_folder_is_a_model_for_segment_with_every_engine(corrected, tmp_path, model_file):
    before = weights_of(model_file)
    out = tmp_path / "mine"
    result = adapt(corrected, out, model_file, progress=False)
    assert (
        result.file == out / "model.keras" and load_model(out).count_params() == load_model(model_file).count_params()
    )
    film = corrected / "images" / "film_0.png"
    masks = [lungnb.segment(film, out, engine=engine).mask for engine in ("keras", "onnx")]
    assert (masks[0] == masks[1]).mean() > 0.999
    for one, other in zip(before, weights_of(model_file), strict=True):  # the network from before is as it was
        np.testing.assert_array_equal(one, other)
    assert not (out / "training").exists()


def test_the_card_says_where_the_weights_come_from(corrected, tmp_path, model_file):
    adapt(corrected, tmp_path / "mine", model_file, estimate=False, progress=False)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert "3 images of 3 patients from the folder\n`corrected`" in card and "derived from the images and masks" in card
    assert "The benefit was not estimated." in card and str(tmp_path) not in card
    assert "lies 57% of the way" in card  # of three images


@pytest.mark.slow
def test_the_estimate_has_each_image_once(corrected, tmp_path, model_file):
    result = adapt(corrected, tmp_path / "mine", model_file, progress=False)
    table = read_table(tmp_path / "mine" / "estimate.csv")
    assert sorted(table["id"]) == ["film_0", "film_1", "film_2"]
    pd.testing.assert_frame_equal(table, result.estimate)
    assert f"Dice {table['before'].mean():.3f} before, {table['after'].mean():.3f} after" in result.sentence


@pytest.mark.slow
def test_a_patient_is_never_on_both_sides_of_the_estimate(corrected, tmp_path, model_file, monkeypatch):
    for name in ("images", "masks"):
        shutil.copy(corrected / name / "film_0.png", corrected / name / "film_0b.png")
    image = make_phantom(9, size=64)
    write_png(corrected / "images" / "film_0b.png", image.image)
    write_png(corrected / "masks" / "film_0b.png", image.mask)
    counts = []
    examples = adaptation._examples
    monkeypatch.setattr(
        adaptation, "_examples", lambda films, *rest: counts.append(len(films)) or examples(films, *rest)
    )
    result = adapt(corrected, tmp_path / "mine", model_file, patient_pattern=r"film_(\d)", progress=False)
    assert result.estimate["patient"].nunique() == 3 and sorted(counts[1:]) == [2, 3, 3]


@pytest.mark.parametrize("has_chest", [True, False])
def test_negatives_are_learned_as_they_are_predicted(monkeypatch, has_chest):
    monkeypatch.setattr(adaptation, "has_chest", lambda network: has_chest)
    image, mask = make_phantom(3, size=64)[:2]
    films = [Film(name, name, picture, mask) for name, picture in {"film": image, "negative": 255 - image}.items()]
    film, negative = adaptation._examples(films, SimpleNamespace(input_shape=(None, 64, 64, 1))).images
    np.testing.assert_array_equal(negative, film if has_chest else 255 - film)


def test_the_sentence_names_images_whose_masks_seem_to_follow_other_rules():
    after = [0.97, 0.941, 0.948, 0.93, 0.93, 0.93, 0.9299]
    table = pd.DataFrame({"id": [*"abcdefg"], "patient": [*"abcdefg"], "before": 0.96, "after": after})
    said = adaptation._sentence(table, 7, True)
    assert "worse by more than 0.02 on `g`, `d`, `e`, `f`. Check that all masks follow the same rules" in said
    many = adaptation._sentence(table.assign(after=0.9), 7, True)
    assert "on `a`, `b`, `c`, `d`, `e` and 2 more. Check" in many
    assert "rules" not in adaptation._sentence(table.assign(after=0.95), 7, True)


def test_patients_and_not_images_decide_whether_the_network_got_worse():
    """One patient has two films. The sentence gives means over patients too."""
    table = pd.DataFrame({"id": [*"abc"], "patient": [*"xxy"], "before": 0.90, "after": [0.88, 0.88, 0.93]})
    assert not adaptation._is_worse(table) and "Dice 0.900 before, 0.905 after" in adaptation._sentence(table, 2, True)
    assert adaptation._is_worse(table.assign(after=0.89))


def test_two_patients_give_no_estimate_and_a_sentence(corrected, tmp_path, model_file):
    (corrected / "images" / "film_2.png").unlink()
    result = adapt(corrected, tmp_path / "mine", model_file, progress=False)
    assert result.estimate is None
    assert result.sentence == (
        "The benefit was not estimated: it takes images of 3 patients, and these are of 2 patients."
    )


@pytest.mark.slow
def test_a_network_that_got_worse_is_not_used(corrected, tmp_path, model_file, monkeypatch):
    scores = iter([0.9] * 3 + [0.8] * 3)
    monkeypatch.setattr(adaptation, "dice", lambda *_: next(scores))
    out = tmp_path / "mine"
    copies, copyfile = [], shutil.copyfile
    monkeypatch.setattr(
        shutil, "copyfile", lambda *files: copies.append(files) or (copies[1:] and 1 / 0) or copyfile(*files)
    )
    with pytest.raises(ZeroDivisionError):  # an interruption after `adapted.keras` was written
        adapt(corrected, out, model_file, progress=False)
    assert (out / "model.keras").read_bytes() == (out / "adapted.keras").read_bytes() != model_file.read_bytes()
    monkeypatch.undo()
    result = adapt(corrected, out, model_file, progress=False)
    assert (out / "model.keras").read_bytes() == model_file.read_bytes()
    assert (out / "adapted.keras").is_file() and "model.keras is the network from before" in result.sentence
    card = (out / "README.md").read_text()
    assert "model.keras is the network from before" in card and "`adapted.keras` lies 57% of the way" in card
    scores = iter([0.9] * 3)  # `estimate.csv` is there, so the card still says what is in the folder
    adapt(corrected, out, model_file, estimate=False, progress=False)
    assert (out / "README.md").read_text() == card


@pytest.mark.slow
def test_an_interruption_changes_nothing(corrected, tmp_path, model_file, monkeypatch):
    adapt(corrected, tmp_path / "whole", model_file, progress=False)
    again, Backup = tmp_path / "again", tuning.Backup
    for dies_after in (1, 3):  # in the training, and in the estimate

        class Dies(Backup):
            left = dies_after

            def on_epoch_end(self, epoch, logs=None):
                super().on_epoch_end(epoch, logs)
                Dies.left -= 1
                if not Dies.left:
                    raise KeyboardInterrupt

        monkeypatch.setattr(tuning, "Backup", Dies)
        with pytest.raises(KeyboardInterrupt):
            adapt(corrected, again, model_file, progress=False)
    monkeypatch.setattr(tuning, "Backup", Backup)
    adapt(corrected, again, model_file, progress=False)
    for one, other in zip(weights_of(tmp_path / "whole"), weights_of(again), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    pd.testing.assert_frame_equal(
        read_table(again / "estimate.csv"), read_table(tmp_path / "whole" / "estimate.csv"), atol=1e-3
    )


def test_a_finished_run_is_not_repeated_and_another_one_is_kept(corrected, tmp_path, model_file, monkeypatch, capsys):
    out = tmp_path / "mine"
    adapt(corrected, out, model_file, estimate=False, progress=False)
    first = (out / "model.keras").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(adaptation, "fine_tune", None)
        adapt(corrected, out, model_file, estimate=False, progress=False)
    write_png(corrected / "masks" / "film_2.png", make_phantom(2, size=64).mask)
    adapt(corrected, out, model_file, estimate=False)
    assert (tmp_path / "earlier" / "mine-1" / "model.keras").read_bytes() == first
    assert (
        json.loads((out / "run.json").read_text())["adaptation"]["images"]
        and "earlier/mine-1" in capsys.readouterr().out
    )


def test_one_image_is_enough(corrected, tmp_path, model_file):
    for index in (1, 2):
        (corrected / "images" / f"film_{index}.png").unlink()
    assert adapt(corrected, tmp_path / "mine", model_file, progress=False).images == 1


def test_files_that_cannot_be_used_are_named_and_the_rest_is_used(corrected, tmp_path, model_file, capsys):
    shutil.copy(corrected / "images" / "film_0.png", corrected / "images" / "same.png")
    shutil.copy(corrected / "masks" / "film_0.png", corrected / "masks" / "same.png")
    write_png(corrected / "masks" / "film_1.png", np.zeros((64, 64), bool))
    write_png(corrected / "images" / "wide.png", make_phantom(5, size=64).image)
    write_png(corrected / "masks" / "wide.png", np.ones((20, 64), bool))
    result = adapt(corrected, tmp_path / "mine", model_file)
    reasons = dict(result.left_out)
    assert reasons["same"] == "shows the same image as film_0, which is used. Remove one of the two."
    assert reasons["film_1"].startswith("its mask is empty")
    assert "64x20" in reasons["images/wide.png"] and result.images == 2
    assert "film_1: its mask is empty" in capsys.readouterr().out


@pytest.mark.slow
def test_other_patients_are_another_run(corrected, tmp_path, model_file):
    first = adapt(corrected, tmp_path / "mine", model_file, progress=False)
    again = adapt(corrected, tmp_path / "mine", model_file, patient_pattern="(film)", progress=False)
    assert first.estimate is not None and again.estimate is None


def test_slices_that_the_browser_saved_are_shown_through_the_window_already(corrected, tmp_path, model_file):
    """The browser saves corrected CT slices with 8 bits, through the window of the network."""
    windowed = tmp_path / "windowed.keras"
    shutil.copy(model_file, windowed)
    (tmp_path / "run.json").write_text('{"plan": {"settings": {"window": [-125.0, 275.0]}}}')
    result = adapt(corrected, tmp_path / "mine", windowed, estimate=False, progress=False)
    adapted = adapt(corrected, tmp_path / "other", model_file, estimate=False, progress=False)
    for one, other in zip(weights_of(result.file), weights_of(adapted.file), strict=True):
        np.testing.assert_array_equal(one, other)
    table = lungnb.segment_files(corrected / "images", tmp_path / "masks", result.file, progress=False)
    assert all("taken for -125 to 275 HU" in note for note in table["note"])


def test_nothing_to_adapt_to_gives_a_sentence(corrected, tmp_path, model_file):
    with pytest.raises(FileNotFoundError, match="nowhere is not there yet: make it, with images/"):
        adapt(tmp_path / "nowhere", tmp_path / "mine", model_file)
    for file in (corrected / "masks").iterdir():
        write_png(file, np.zeros((64, 64), bool))
    with pytest.raises(ValueError, match="no image with a mask can be used; the last: film_2: its mask is empty"):
        adapt(corrected, tmp_path / "mine", model_file)
    assert not (tmp_path / "mine").exists()


def test_a_place_that_cannot_hold_the_network_gives_a_sentence(corrected, model_file):
    with pytest.raises(ValueError, match="mine: lies in the folder of the images"):
        adapt(corrected, corrected / "mine", model_file)
    with pytest.raises(ValueError, match=r"film_0\.png: is a file\. Name the folder with images"):
        adapt(corrected / "images" / "film_0.png", corrected.parent / "mine", model_file)
    (corrected.parent / "mine").touch()
    with pytest.raises(ValueError, match="mine: is a file"):
        adapt(corrected, corrected.parent / "mine", model_file)
    with pytest.raises(FileNotFoundError, match="nowhere is not there yet: train or adapt a network"):
        adapt(corrected, corrected.parent / "other", corrected / "nowhere")


def test_a_full_disk_gives_a_sentence(corrected, tmp_path, model_file, monkeypatch):
    class Full(tuning.Backup):
        def on_epoch_end(self, epoch, logs=None):
            raise OSError(28, "Can't synchronously write data (error message = 'No space left on device')")

    monkeypatch.setattr(tuning, "Backup", Full)
    with pytest.raises(NotWritten, match="mine: cannot be written: the disk is full; make room"):
        adapt(corrected, tmp_path / "mine", model_file, progress=False)


def test_labels_that_no_mask_has_give_a_sentence(corrected, tmp_path, model_file):
    with pytest.raises(ValueError, match="film_2: its mask has no pixel of the labels 7, 8"):
        adapt(corrected, tmp_path / "mine", model_file, labels=[7, 8])


def test_doubts_are_said_before_the_training(corrected, tmp_path, model_file, monkeypatch, capsys):
    monkeypatch.setattr(adaptation, "fine_tune", None)
    write_png(corrected / "masks" / "film_1.png", np.zeros((64, 64), bool))
    (corrected / "images" / "broken.png").write_bytes(b"no image")
    write_png(corrected / "masks" / "broken.png", np.ones((64, 64), bool))
    with pytest.raises(TypeError):
        adapt(corrected, tmp_path / "mine", model_file)
    lines = capsys.readouterr().out
    assert "film_1: its mask is empty" in lines and lines.count("broken.png") == 1


def test_a_network_of_somebody_else_is_not_replaced(corrected, tmp_path, model_file):
    out = tmp_path / "theirs"
    out.mkdir()
    shutil.copy(model_file, out / "model.keras")
    with pytest.raises(NotWritten, match=r"theirs: holds model\.keras, which `lungnb adapt` did not write"):
        adapt(corrected, out, model_file)


@pytest.mark.parametrize("name", ["README.md", "run.json", "estimate.csv", "estimate.png"])
def test_a_file_that_a_person_wrote_is_not_replaced(corrected, tmp_path, model_file, name):
    out = tmp_path / "notes"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(NotWritten, match=f"notes: holds {name}, which `lungnb adapt` did not write"):
        adapt(corrected, out, model_file)
    assert (out / name).read_text() == "mine"


def test_an_unfinished_training_of_another_kind_is_not_taken_for_an_adapted_network(corrected, tmp_path, model_file):
    out = tmp_path / "unet"
    write_json(out / "training" / "plan.json", {"epochs": 12})
    shutil.copy(model_file, out / "model.keras")
    with pytest.raises(NotWritten, match=r"unet: holds model\.keras, which `lungnb adapt` did not write"):
        adapt(corrected, out, model_file)
    assert (out / "training" / "plan.json").exists()


def test_a_card_shows_names_and_obeys_none(tmp_path):
    names = ["`<img src=x>", "a`![x](https:x)`b", "x\n# forged", "z\u202egpj"]
    films = [Film(name, name, np.zeros((2, 2), np.uint8), np.ones((2, 2), bool)) for name in names]
    table = pd.DataFrame({"id": names, "patient": names, "before": 0.9, "after": 0.5})
    sentence = adaptation._sentence(table, 4, True)
    card = adaptation._card(tmp_path / names[0], tmp_path / f"{names[0]}.keras", films, sentence, "model.keras")
    shown = r"`'<img src=x>`, `a'![x](https:x)'b`, `x\n# forged`, `z\u202egpj`"
    assert card.count(shown) == 2 and card.count("`'<img src=x>`") == 3 and "`'<img src=x>.keras`" in card


def test_the_network_to_start_from_is_not_replaced(corrected, tmp_path, model_file):
    adapt(corrected, tmp_path / "mine", model_file, estimate=False, progress=False)
    before = (tmp_path / "mine" / "model.keras").read_bytes()
    with pytest.raises(ValueError, match="mine: holds the network to start from"):
        adapt(corrected, tmp_path / "mine", tmp_path / "mine")
    assert (tmp_path / "mine" / "model.keras").read_bytes() == before


def test_a_mask_of_another_film_is_asked_about(corrected, tmp_path, model_file, monkeypatch, capsys):
    monkeypatch.setattr(adaptation, "doubts_of", lambda films, predictions: ["film_1: a doubt"])
    adapt(corrected, tmp_path / "mine", model_file, estimate=False)
    assert "film_1: a doubt\n" in capsys.readouterr().out


@pytest.mark.slow
def test_the_estimate_is_drawn(corrected, tmp_path, model_file, capsys):
    out = tmp_path / "mine"
    lungnb.adapt(corrected, out, model_file, progress=False)
    assert (out / "estimate.png").stat().st_size > 5_000
    (out / "estimate.png").unlink()
    assert main(["adapt", str(corrected), "--out", str(out), "--model", str(model_file)]) == 0
    assert (out / "estimate.png").stat().st_size > 5_000
    assert f"lungnb segment IMAGES --out masks-mine --model {out}" in capsys.readouterr().out


def test_tuning_does_not_change_the_network_that_it_starts_from(model_file, tmp_path):
    model = load_model(model_file)
    before = [array.copy() for array in model.get_weights()]
    phantom = make_phantom(0, size=32)
    tuned = fine_tune(model, examples_of([(phantom.image, phantom.mask)], 32), tmp_path, "", progress=False)
    assert any((one != other).any() for one, other in zip(before, tuned.get_weights(), strict=True))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_image_changes_the_network_less_than_five():
    shares = [share_for(images) for images in (1, 2, 3, 4, 5, 6, 100)]
    assert shares == sorted(shares) and shares[0] < 0.5 < shares[-1] < 1 and shares[-3] == shares[-1]


@pytest.mark.slow
def test_the_result_lies_the_share_of_its_number_of_images_on_the_way(model_file, tmp_path):
    model, phantom = load_model(model_file), make_phantom(0, size=32)
    for images in (1, 3):
        examples = examples_of([(phantom.image, phantom.mask)] * images, 32)
        whole, usual = (
            fine_tune(model, examples, tmp_path / f"{images}_{share}", "", progress=False, share=share).get_weights()
            for share in (1.0, None)
        )
        for old, new, mixed in zip(model.get_weights(), whole, usual, strict=True):
            np.testing.assert_allclose(mixed, old + share_for(images) * (new - old), rtol=1e-4, atol=1e-5)


def test_another_backend_than_tensorflow_is_refused(corrected, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adaptation.backend, "HAS_TENSORFLOW", False)
    assert main(["adapt", str(corrected), "--out", str(tmp_path / "mine")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "needs TensorFlow" in said and "KERAS_BACKEND" in said
    assert not (tmp_path / "mine").exists()
