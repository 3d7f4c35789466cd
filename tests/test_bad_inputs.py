"""Wrong input over the whole surface gets one sentence: the file or argument, what is wrong with it, what to do.

A row is a name, what is done, and words that the sentence must have. What is done gets a folder with whole files to
spoil (`place`), and raises one of the errors that the terminal shows without a traceback.
"""

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.files import make_pipe
from lungnb import build_model, load_batches, load_model, make_settings, segment, train
from lungnb.__main__ import main
from lungnb.datasets.check import check_dataset
from lungnb.datasets.fetch import download
from lungnb.datasets.prepare import prepare_dataset
from lungnb.datasets.sources import find_source
from lungnb.engines.export import export_model
from lungnb.evaluation import evaluation
from lungnb.evaluation.calibration import examine
from lungnb.evaluation.transfer import train_across
from lungnb.formats.dicom_series import read_dicom_series
from lungnb.formats.images import read_image, read_mask, write_png
from lungnb.formats.nifti import read_nifti
from lungnb.metrics import surface_scores
from lungnb.networks.losses import get_loss
from lungnb.phantoms.make import make_phantom, write_phantoms
from lungnb.presets import parse_changes
from lungnb.segmentation.batch import segment_files
from lungnb.settings import Settings

NO_HEIGHT = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 256, 4, 1, 8, 0)  # as a fuzzer found it
GREY = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)


@pytest.fixture
def place(tmp_path, trained):
    """A folder, a whole image in it, and a trained model."""
    write_png(tmp_path / "film.png", GREY)
    model = trained.results / "unet" / "model.keras"
    return SimpleNamespace(folder=tmp_path, film=tmp_path / "film.png", settings=trained, model=model)


def png(path, width, height, data=b"\0" * 100):
    """Write a PNG with any header."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    )
    parts = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def parse_settings(change):
    return make_settings(**parse_changes([change]))


def half(path, name):
    target = path.with_name(name)
    target.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return target


def saved(place, name, picture=GREY, **options):
    Image.fromarray(picture).save(place.folder / name, **options)
    return place.folder / name


def put(place, name, content):
    path = place.folder / name
    path.write_bytes(content)
    return path


def without_numbers(place, value):
    return saved(place, "a.tif", np.full(GREY.shape, value, np.float32))


def link(place, name, target):
    os.symlink(place.folder / target, place.folder / name)
    return place.folder / name


def loop(place):
    link(place, "b.png", "a.png")
    return link(place, "a.png", "b.png")


def pipe(place):
    make_pipe(place.folder / "pipe.png")
    return place.folder / "pipe.png"


def scans(place, count=6, **changes):
    """Return the settings of a user's data set, which the test will damage."""
    folder = place.folder / "scans"
    for index in range(count):
        phantom = make_phantom(index, size=48)
        write_png(folder / "images" / f"{index}.png", phantom.image)
        write_png(folder / "masks" / f"{index}.png", phantom.mask)
    return Settings(dataset=str(folder), image_size=32, filters=2, depth=2, epochs=1, **changes)


def prepared(place, **changes):
    settings = scans(place, **changes)
    prepare_dataset(settings, progress=False)
    return settings


def prepare(settings):
    return prepare_dataset(settings, progress=False)


def compare(settings):
    return evaluation.compare(settings, ["unet", "resunet"])


def without_images(place):
    folder = place.folder / "scans"
    (folder / "images").mkdir(parents=True)
    return Settings(dataset=str(folder))


def other_model(place, *shape, name="other.keras"):
    from lungnb.networks.backend import keras

    inputs = keras.Input(shape)
    keras.Model(inputs, keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)).save(place.folder / name)
    return place.folder / name


def spoiled_scores(place, change):
    """Return the settings after two score tables were written, the second changed."""
    settings = place.settings
    evaluation.evaluate(settings, "unet", progress=False)
    shutil.copytree(settings.results / "unet", settings.results / "resunet")
    file = settings.results / "resunet" / "scores.csv"
    change(pd.read_csv(file, dtype={"id": str})).to_csv(file, index=False)
    return settings


IMAGES = [
    ("an empty file", lambda at: read_image(put(at, "a.png", b"")), "a.png: the file is empty"),
    ("half a PNG", lambda at: read_image(half(at.film, "half.png")), "half.png: cannot be read as an image"),
    ("half a JPEG", lambda at: read_image(half(saved(at, "a.jpg"), "half.jpg")), "half.jpg: cannot be read"),
    ("half a BMP", lambda at: read_image(half(saved(at, "a.bmp"), "half.bmp")), "half.bmp: cannot be read"),
    ("a TIFF without a height", lambda at: read_image(put(at, "a.tif", NO_HEIGHT)), "8 x 0 pixels: it shows nothing"),
    ("half a TIFF", lambda at: read_image(half(saved(at, "a.tif"), "half.tif")), "half.tif: cannot be read"),
    ("text called PNG", lambda at: read_image(put(at, "a.png", b"hello")), "Check that it is whole and named"),
    ("a WebP", lambda at: read_image(saved(at, "a.webp")), "a.webp: not an image format this reads (.png"),
    ("a WebP called PNG", lambda at: read_image(saved(at, "a.png", format="WEBP")), "not named after its format"),
    ("a mask called WebP", lambda at: read_mask(put(at, "a.webp", b"RIFF")), "a.webp: not a mask format"),
    ("no suffix", lambda at: read_image(put(at, "film", at.film.read_bytes())), "film: not an image format"),
    ("a bomb", lambda at: read_image(png(at.folder / "a.png", 40_000, 40_000)), "has more pixels than Pillow opens"),
    ("no width", lambda at: read_image(png(at.folder / "a.png", 0, 10)), "a.png: cannot be read as an image"),
    ("NaN", lambda at: read_image(without_numbers(at, np.nan)), "a.tif: none of its values is a number"),
    ("infinity", lambda at: read_image(without_numbers(at, np.inf)), "a.tif: none of its values is a number"),
    ("a mask of text", lambda at: read_mask(put(at, "m.png", b"no")), "m.png: cannot be read as an image"),
    ("no file", lambda at: read_image(at.folder / "gone.png"), "gone.png: there is no such file"),
    ("a link to nothing", lambda at: read_image(link(at, "l.png", "gone.png")), "l.png: there is no such file"),
    ("links in a loop", lambda at: read_image(loop(at)), "a.png: cannot be opened: too many levels"),
    ("a folder", lambda at: (at.folder / "d.png").mkdir() or read_image(at.folder / "d.png"), "d.png: not a file"),
    ("a pipe", lambda at: read_image(pipe(at)), "pipe.png: not a file"),
    ("too long a name", lambda at: read_image(at.folder / f"{'x' * 300}.png"), "cannot be opened: file name too long"),
    ("an empty DICOM", lambda at: read_image(put(at, "a.dcm", b"")), "a.dcm: the file is empty"),
    ("a DICOM of a header", lambda at: read_image(put(at, "a.dcm", b"\0" * 128 + b"DICM")), "a.dcm: no picture"),
    ("one number for a window", lambda at: parse_settings("window=400"), "window must be two rising numbers"),
    ("grey as HU", lambda at: read_image(at.film, window=(-100, 200)), "film.png: not in Hounsfield units"),
    ("a window upside down", lambda at: segment(GREY * -4.0, at.model, window=(400, -1000)), "two rising numbers"),
    ("an empty NIfTI", lambda at: read_nifti(put(at, "a.nii", b"")), "a.nii: the file is empty"),
    ("text called NIfTI", lambda at: read_nifti(put(at, "a.nii.gz", b"text")), "a.nii.gz: cannot be read as a NIfTI"),
    ("no series", lambda at: read_dicom_series(at.folder), "no DICOM"),
]  # fmt: skip
ARRAYS = [
    ("one axis", lambda at: segment(np.zeros(5), at.model), "expected (height, width), with 1 to 4 channels"),
    ("five channels", lambda at: segment(np.zeros((4, 4, 5)), at.model), "expected (height, width)"),
    ("no pixels", lambda at: segment(np.zeros((0, 4)), at.model), "not (0, 4)"),
    (
        "NaN in an array",
        lambda at: segment(np.full((4, 4), np.nan), at.model),
        "the array: none of its values is a number",
    ),
    ("words", lambda at: segment(np.array([["a", "b"]]), at.model), "the array: "),
    ("masks of two sizes", lambda at: surface_scores(np.zeros((4, 4), bool), np.zeros((4, 5), bool)), "(4, 5)"),
]
PREPARATION = [
    ("an unknown data set", lambda at: find_source("montgomry"), "Did you mean montgomery?"),
    ("a folder that is not there", lambda at: download("./nowhere"), "nowhere is not there: put images in"),
    ("no images", lambda at: prepare(without_images(at)), "scans: no image"),
    ("one image", lambda at: prepare(scans(at, 1)), "patients"),
    ("images alone", lambda at: prepare(spoiled(at, lambda f: shutil.rmtree(f / "masks"))), "mask"),
    ("masks alone", lambda at: prepare(spoiled(at, lambda f: shutil.rmtree(f / "images"))), "image"),
    ("masks of other names", lambda at: prepare(spoiled(at, rename_masks)), "mask"),
    ("all unreadable", lambda at: prepare(spoiled(at, damage)), "no image with a mask can be used"),
    ("a pattern that is none", lambda at: prepare(scans(at, patient_pattern="(")), "patient_pattern"),
    ("no split file", lambda at: prepare(scans(at, split_file="x.csv")), "x.csv"),
    ("no patient file", lambda at: prepare(scans(at, patient_file="p.csv")), "p.csv"),
    ("shares of 2", lambda at: Settings(split_fractions=(1, 1, 0)), "split_fractions must be three shares"),
    ("too many folds", lambda at: prepare(scans(at, folds=9)), "folds"),
    ("a fold of none", lambda at: Settings(folds=3, fold=4), "fold must be from 1 to the number of folds, 3, not 4"),
    ("no raw data", lambda at: prepare(make_settings("montgomery")), "notebook 01"),
    ("a set without masks", lambda at: prepare(make_settings("rsna-pneumonia")), "without lung"),
    ("nothing to check", lambda at: check_dataset(make_settings("montgomery")), "notebook 01"),
    ("a kind of phantom", lambda at: make_phantom(1, kind="mri"), "kind must be one of xray, ct"),
    ("phantoms without what", lambda at: write_phantoms(at.folder / "p", 3, kind="wild", without="ribs"), "without mu"),
]  # fmt: skip
TRAINING = [
    ("nothing prepared", lambda at: load_batches(make_settings("montgomery"), "train"), "notebook 02"),
    ("an unknown split", lambda at: load_batches(at.settings, "dev"), "train, validation, test"),
    ("an unknown model", lambda at: build_model("vnet"), "model must be one of unet"),
    ("an odd size", lambda at: build_model("unet", size=100), "size must be a multiple of 16"),
    ("no filters", lambda at: build_model("unet", filters=0), "filters must be at least 1, not 0"),
    ("an unknown encoder", lambda at: build_model("unet", encoder="vgg99"), "encoder must be one of"),
    ("an encoder of another", lambda at: build_model("resunet", encoder="vgg16"), "an encoder needs the model unet"),
    ("weights that are not there", lambda at: build_model("unet", weights="w.keras"), "w.keras"),
    ("weights of another", lambda at: build_model("unet", size=32, weights=str(at.model)), "not weights for unet"),
    ("weights of text", lambda at: build_model("unet", weights=str(put(at, "w.keras", b"no"))), "w.keras: not weights"),
    ("an unknown loss", lambda at: get_loss("hinge"), "loss must be one of"),
    ("a setting misspelt", lambda at: make_settings(epoch=3), "Did you mean epochs?"),
    ("a setting of words", lambda at: parse_changes(["epochs=many"]), "epochs takes a value like 50, not 'many'"),
    ("an unknown profile", lambda at: make_settings(profile="fast"), "profile must be one of quick, full"),
    ("an unknown schedule", lambda at: Settings(schedule="step"), "schedule must be one of plateau, cosine"),
    ("a batch of none", lambda at: Settings(batch_size=0), "batch_size must be a whole number from 1"),
    ("no models", lambda at: Settings(models=()), "models must be some of unet, resunet"),
    ("a loss that explodes", lambda at: train(prepared(at, learning_rate=1e30), "unet", False), "lower learn"),
    ("one set twice", lambda at: train_across([at.settings, at.settings]), "name each data set once"),
]  # fmt: skip
MODELS = [
    ("no model", lambda at: load_model("gone.keras"), "gone.keras"),
    ("a model of text", lambda at: load_model(put(at, "m.keras", b"no")), "m.keras: cannot be loaded as a Keras model"),
    ("half a model", lambda at: load_model(half(at.model, "half.keras")), "half.keras: cannot be loaded"),
    ("another zip", lambda at: load_model(zipped(at, "m.keras")), "m.keras: describes a network without its weights"),
    ("a pickle", lambda at: load_model(put(at, "m.pkl", b"cos")), "a model is a .keras file"),
    ("an old model", lambda at: load_model(put(at, "m.h5", b"\x89HDF")), "a model is a .keras file"),
    ("a model of colours", lambda at: load_model(other_model(at, 32, 32, 3)), "(None, size, size, 1) is expected"),
    ("a model of strips", lambda at: load_model(other_model(at, 32, 64, 1)), "(None, size, size, 1) is expected"),
    ("not trained", lambda at: evaluation.evaluate(at.settings, "resunet"), "train it"),
    ("not trained, doubted", lambda at: examine(at.settings, "resunet", "test"), "resunet"),
    ("an unknown engine", lambda at: segment(at.film, at.model, engine="tpu"), "auto, openvino, onnx, keras, not"),
    ("an engine for no file", lambda at: segment(at.film, load_model(at.model), engine="onnx"), "save this one, and"),
    ("an unknown format", lambda at: export_model(at.model, "h5", at.folder), "one of onnx, openvino, not"),
    ("an export of no model", lambda at: export_model(put(at, "m.keras", b"no"), "onnx", at.folder), "m.keras: cannot"),
    ("an onnx for a model", lambda at: segment(at.film, put(at, "m.onnx", b"no")), "a model is a .keras file"),
    ("nothing to segment", lambda at: segment_files([], at.folder / "out", at.model), "no image files"),
    ("an empty folder", lambda at: segment_files([empty(at)], at.folder / "out", at.model), "no image files"),
    ("out is a file", lambda at: segment_files([at.film], at.film, at.model), "is a file, not a folder"),
    ("a model not scored", lambda at: evaluation.compare(at.settings, ["unet"]), "score the models (notebook 06"),
    ("images of one model", lambda at: compare(spoiled_scores(at, lambda t: t.iloc[1:])), "resunet"),
    ("scores of no number", lambda at: compare(spoiled_scores(at, lambda t: t.assign(dice=np.nan))), "dice"),
]  # fmt: skip
COMMANDS = [
    (["prepare", "montgomry"], "Did you mean montgomery?"),
    (["prepare", "montgomery"], "lungnb download montgomery"),
    (["train", "montgomery"], "notebook 01"),
    (["evaluate", "montgomery", "--model", "unet"], "train"),
    (["publish", "montgomery"], "notebook 06"),
    (["check", "./nowhere"], "nowhere"),
    (["train", "phantom", "--set", "image_size=100"], "image_size must be a multiple of 16"),
    (["train", "phantom", "--set", "epochs"], "NAME=VALUE"),
    (["segment", "film.png", "--out", "masks", "--model", "gone.keras"], "gone.keras"),
    (["segment", "film.png", "--out", "masks", "--model", "model.h5"], ".keras"),
    (["segment", ".", "--out", "masks"], "no image files"),
    (["segment", "film.png", "--out", "masks", "--ray", "local", "--json"], "--json cannot be used with --ray"),
    (["segment", "s3://films", "--out", "masks", "--ray", "local"], "mount the storage"),
    (["export", "gone.keras"], "gone.keras"),
]
ROWS = [*IMAGES, *ARRAYS, *PREPARATION, *TRAINING, *MODELS]


def spoiled(place, change):
    settings = scans(place)
    change(place.folder / "scans")
    return settings


def rename_masks(folder):
    for file in (folder / "masks").iterdir():
        file.rename(file.with_name(f"other{file.stem}x.png"))


def damage(folder):
    for file in (folder / "images").iterdir():
        file.write_bytes(b"damaged")


def zipped(place, name):
    with zipfile.ZipFile(place.folder / name, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "os.system"}))
    return place.folder / name


def empty(place):
    (place.folder / "empty").mkdir()
    return place.folder / "empty"


def test_there_are_enough_of_them():
    assert len(ROWS) + len(COMMANDS) >= 60
    assert len({name for name, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("do", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_bad_input_gets_a_sentence(place, do, words):
    with pytest.raises((ValueError, OSError, RuntimeError)) as raised:
        do(place)
    said = str(raised.value)
    assert words in said, said
    assert "\n" not in said and len(said) < 700 and "Traceback" not in said and not said.startswith("[Errno")


@pytest.mark.parametrize(("arguments", "words"), COMMANDS, ids=[" ".join(arguments) for arguments, _ in COMMANDS])
def test_a_command_says_it_and_ends_with_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lungnb: ") and words in said and said.count("\n") == 1, said


@pytest.mark.parametrize("backend", ["theano", "jax"])
def test_a_wrong_keras_backend_is_said(backend, place):
    if backend == "jax" and importlib.util.find_spec("jax"):
        pytest.skip("JAX is installed here, and therefore no wrong backend")
    command = [sys.executable, "-m", "lungnb", "segment", str(place.film), "--out", str(place.folder / "out")]
    command += ["--engine", "keras"]  # the others need none
    found = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True)
    assert found.returncode == 2 and found.stderr.count("\n") == 1, found.stderr
    assert (
        f"the Keras backend {backend} cannot be loaded" in found.stderr and "KERAS_BACKEND=tensorflow" in found.stderr
    )


def test_one_bad_file_never_stops_the_others(place, capsys):
    """The good ones among them are of the odd kinds that cameras, scanners and offices make."""
    out, films = place.folder / "out", place.folder / "films"
    films.mkdir()
    place.folder = films
    deep = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60) * 20
    good = [
        saved(place, "ünïcødé 肺 film.png"), saved(place, f"{'long' * 50}.png"),
        saved(place, "big endian.tif", deep.astype(">u2")),
        saved(place, "one bit.png", GREY > 99), saved(place, "pixel.png", GREY[:1, :1]),
        saved(place, "strip.png", np.zeros((2, 200), np.uint8)), saved(place, "deep.png", deep),
        saved(place, "animated.png", save_all=True, append_images=[Image.fromarray(GREY)]),
    ]  # fmt: skip
    Image.fromarray(GREY).convert("CMYK").save(films / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    good += [films / "cmyk.jpg", saved(place, "turned.jpg", exif=exif)]
    bad = [put(place, "text.png", b"text"), put(place, "empty.jpg", b""), png(films / "bomb.png", 40_000, 40_000)]
    bad += [loop(place), place.folder / "b.png", without_numbers(place, np.nan)]
    assert main(["segment", str(films), "--out", str(out), "--model", str(place.model)]) == 1
    said = capsys.readouterr()
    assert f"{len(good)} of {len(good) + len(bad)} images segmented" in said.out
    table = pd.read_csv(out / "segmentation.csv")
    assert set(table.loc[table["status"] == "failed", "file"]) == {str(file) for file in bad}
    assert len(list(out.glob("*_mask.png"))) == len(good)
    for row in table[table["status"] != "failed"].itertuples():
        assert read_mask(out / row.mask).shape == read_image(row.file).shape
