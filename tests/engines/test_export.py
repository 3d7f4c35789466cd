"""Each export gives the masks of Keras, or it is refused."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from lungnb.__main__ import main
from lungnb.engines import engines, export
from lungnb.engines.engines import ENGINES, Engine, ExportError, load_model, open_exported
from lungnb.engines.export import export_model, open_network
from lungnb.engines.parity import (
    MIN_MEAN_DICE,
    Parity,
    Reference,
    add_parities,
    draw_reference,
    measure_parity,
    parities,
    read_reference,
    write_reference,
)
from lungnb.files import NotWritten
from lungnb.formats.images import write_png
from lungnb.networks.backend import keras
from lungnb.networks.models import MODELS, build_model
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.batch import segment_files
from lungnb.segmentation.predict import segment
from lungnb.settings import SHIPPED

FAST = [name for name in ENGINES if name != "keras"]
exports = pytest.mark.skipif(
    not all(map(find_spec, ("tf2onnx", "openvino", "onnxruntime"))), reason="needs the extra `fast`"
)


@pytest.fixture(autouse=True)
def forgetful():
    """Networks that an earlier test opened are opened anew."""
    export._open.cache_clear()


@pytest.fixture
def cached(model_file, tmp_path, monkeypatch):
    """A cache of this test's own, with the export of the trained U-Net."""
    open_network(model_file, "onnx")
    export._open.cache_clear()
    own = tmp_path / "own"
    own.mkdir()
    for file in export.cache_folder().glob(f"{export.digest_of_file(model_file)}*"):
        shutil.copy(file, own)
    monkeypatch.setenv("LUNGNB_CACHE", str(own))
    return own


@exports
@pytest.mark.parametrize("engine", FAST)
def test_shipped_network_gives_the_masks_of_keras(engine):
    image = make_phantom(5, seed=3, kind="wild").image
    found, expected = (segment(image, engine=each) for each in (engine, "keras"))
    assert found.mask.any() and np.mean(found.mask != expected.mask) < 1e-3
    np.testing.assert_allclose(found.probability, expected.probability, atol=0.02)


def test_shipped_export_is_of_the_shipped_network():
    file = SHIPPED.with_suffix(".onnx")
    assert export._exported(SHIPPED) == file
    assert all(parity.passed and parity.images_with_lung >= 36 for parity in parities(file).values())
    assert {name.split()[0] for name in parities(file)} == set(FAST)
    assert sum(part.stat().st_size for part in SHIPPED.parent.glob("phantom.*")) < 8e6


@exports
@pytest.mark.parametrize("engine", ["auto", *FAST])
def test_shipped_network_waits_for_no_tensorflow(engine, tmp_path):
    write_png(tmp_path / "film.png", make_phantom(1, size=128).image)
    script = (
        "import sys; from lungnb.__main__ import main; assert main(sys.argv[1:]) == 0;"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    arguments = ["segment", str(tmp_path / "film.png"), "--out", str(tmp_path), "--engine", engine]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "film_mask.png").exists()


@exports
@pytest.mark.parametrize("encoder", [None, pytest.param("mobilenetv2", marks=pytest.mark.slow)])
def test_a_network_trained_in_half_the_bits_runs_in_float32(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_CACHE", str(tmp_path / "own"))
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_model("unet", size=32, filters=2, depth=2, encoder=encoder, weights=None)
    finally:
        keras.config.set_dtype_policy("float32")
    random = np.random.default_rng(1)  # as in the next test
    network.set_weights([weight + 0.1 * random.random(weight.shape) for weight in network.get_weights()])
    network.save(tmp_path / "half.keras")
    model = engines.load_model(tmp_path / "half.keras")
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"float32"}
    monkeypatch.setattr(engines, "precisions", lambda engine: ("f32",))
    image = random.random((1, 32, 32, 1), np.float32)
    for engine in FAST:
        found = open_network(tmp_path / "half.keras", engine)(image)
        np.testing.assert_allclose(found, model.predict(image, verbose=0), atol=1e-4)


@exports
@pytest.mark.parametrize(("name", "form"), [
    ("unet", "onnx"), ("unet", "openvino"),
    *(pytest.param(name, "onnx", marks=pytest.mark.slow) for name in (*MODELS, "mobilenetv2") if name != "unet"),
])  # fmt: skip
def test_every_network_can_be_exported(name, form, tmp_path):
    architecture = {"name": name} if name in MODELS else {"name": "unet", "encoder": name}
    keras.utils.set_random_seed(1)
    network, random = build_model(**architecture, size=32, filters=2, depth=2), np.random.default_rng(1)
    # With biases of 0, as before training, what is black has a probability of 0.5, and may be anything in a mask.
    network.set_weights([weight + 0.1 * random.random(weight.shape) for weight in network.get_weights()])
    network.save(tmp_path / "model.keras")
    if not engines.installed(export.READERS[form][0]):
        pytest.skip(f"needs what runs {form}")
    file = export_model(tmp_path / "model.keras", form, tmp_path)
    picture = np.random.default_rng(1).random((2, 32, 32, 1), np.float32)
    expected = load_model(tmp_path / "model.keras").predict_on_batch(picture)
    for engine in export.READERS[form]:
        opened = open_exported(engine, file)
        assert opened.size == 32
        np.testing.assert_allclose(opened(picture), expected, atol=1e-4)
        assert parities(file)[opened.name].passed


@exports
def test_a_model_is_exported_once(model_file, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LUNGNB_CACHE", str(tmp_path / "own"))
    first = open_network(model_file, "onnx")
    assert "Exporting" in capsys.readouterr().out
    monkeypatch.setattr(export, "load_model", None)  # nor is Keras asked for it again
    export._open.cache_clear()
    picture = np.zeros((1, first.size, first.size, 1), np.float32)
    np.testing.assert_array_equal(open_network(model_file, "onnx")(picture), first(picture))
    assert open_network(model_file).name.startswith(FAST[0])
    assert sorted(file.name.partition(".")[2] for file in (tmp_path / "own").iterdir()) == [
        "onnx", "onnx.json", "onnx.npz",
    ]  # fmt: skip


@exports
def test_a_changed_model_is_exported_anew(model_file, capsys):
    open_network(model_file, "onnx")
    network = load_model(model_file)
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    network.save(model_file)
    capsys.readouterr()
    changed = open_network(model_file, "onnx")
    np.testing.assert_allclose(changed(np.ones((1, changed.size, changed.size, 1), np.float32)), 0.5, atol=1e-6)
    assert "Exporting" in capsys.readouterr().out


def test_check_tells_by_how_much_masks_differ():
    masks = np.zeros((4, 8, 8), bool)
    masks[:3, 2:6, 2:6] = True
    reference = Reference(masks.astype(np.uint8) * np.uint8(255), masks)
    same = Engine("same", 8, lambda batch: batch)
    shifted = Engine("shifted", 8, lambda batch: np.roll(batch, 1, axis=1))
    assert measure_parity(same, reference) == Parity(1.0, 1.0, 4, 3) and measure_parity(same, reference).passed
    found = measure_parity(shifted, reference)
    assert found.worst_dice == pytest.approx(0.75) and found.mean_dice == pytest.approx((3 * 0.75 + 1) / 4)
    assert not found.passed
    fainter, too_faint = (Engine("faint", 8, lambda batch, share=share: share * batch) for share in (0.55, 0.5))
    assert measure_parity(fainter, reference).passed and measure_parity(too_faint, reference).worst_dice == 0


def test_check_tells_by_how_much_the_output_chest_differs():
    masks = np.zeros((2, 8, 8), bool)
    masks[0, 2:6, 2:6] = True
    reference = Reference(masks.astype(np.uint8) * np.uint8(255), masks, np.array([1, 0], np.float32))
    lower = Engine("lower", 8, lambda batch: [batch, np.array([[0.9 * batch.max()]], np.float32)])
    assert measure_parity(lower, reference) == Parity(1.0, 1.0, 2, 1, chest_difference=0.1)


@pytest.mark.parametrize(
    ("mean", "worst", "chest", "passed"),
    [(0.9995, 0.995, 0.05, True), (0.9994, 1, 0, False), (1, 0.9949, 0, False), (1, 1, 0.0501, False)],
)
def test_each_bound_holds(mean, worst, chest, passed):
    assert Parity(mean, worst, 24, 24, chest).passed is passed


def test_reference_is_always_the_same():
    class Bright:
        input_shape = (None, 64, 64, 1)

        def predict_on_batch(self, batch):
            return batch

    first, second = draw_reference(Bright()), draw_reference(Bright())
    np.testing.assert_array_equal(first.images, second.images)
    assert first.images.shape == (4, 64, 64) and first.masks.any(axis=(1, 2)).all()


def spoil(monkeypatch, *names):
    """Let the engines whose names begin or end with one of `names` give wrong probabilities."""
    honest = engines.open_exported

    def opened(engine, file, precision="f32"):
        found = honest(engine, file, precision)
        wrong = found._replace(run=lambda batch: np.roll(found(batch), 9, axis=1))
        return wrong if found.name.startswith(names) or found.name.endswith(names) else found

    monkeypatch.setattr(export, "open_exported", opened)


@exports
def test_an_export_with_other_masks_is_refused_and_not_kept(tmp_path, monkeypatch):
    spoil(monkeypatch, "onnx")
    with pytest.raises(ExportError, match=r"onnx .* f32 is not used: the Dice of its masks with those of Keras is 0"):
        export_model(None, "onnx", tmp_path)
    assert not any(tmp_path.iterdir())


@exports
def test_an_engine_of_another_version_is_checked_before_it_is_used(monkeypatch, tmp_path):
    monkeypatch.setenv("LUNGNB_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(engines, "engine_name", lambda engine, precision="f32": f"{engine} 99 {precision}")
    monkeypatch.setattr(engines, "precisions", lambda engine: ("f32",))
    spoil(monkeypatch, "onnx 99")
    open_network(None, "openvino")
    with pytest.raises(ExportError, match="onnx 99 f32 is not used"):
        open_network(None, "onnx")
    notes = json.loads(next((tmp_path / "own").glob("*.json")).read_text())["parity"]
    assert set(notes) >= {"openvino 99 f32"} and "onnx 99 f32" in notes
    spoil(monkeypatch, *FAST)
    export._open.cache_clear()
    (tmp_path / "own").rename(tmp_path / "forgotten")
    with pytest.warns(UserWarning, match="is not used.*Another engine is taken"):
        assert open_network().name.startswith("keras")


@exports
def test_bf16_that_gives_other_masks_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("LUNGNB_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(engines, "precisions", lambda engine: ("bf16", "f32"))
    spoil(monkeypatch, "bf16")
    assert open_network(None, "openvino").name.endswith("f32")
    notes = json.loads(next((tmp_path / "own").glob("*.json")).read_text())["parity"]
    assert min(found["mean_dice"] for name, found in notes.items() if name.endswith("bf16")) < MIN_MEAN_DICE
    export._open.cache_clear()
    tried, known = [], export.open_exported
    monkeypatch.setattr(export, "open_exported", lambda *given: tried.append(given[2]) or known(*given))
    assert open_network(None, "openvino").name.endswith("f32") and tried == ["f32"]  # what is known is not tried again


@exports
@pytest.mark.parametrize("spoilt", ["onnx", "onnx.json", "onnx.npz"])
def test_a_damaged_export_is_made_anew(model_file, cached, capsys, spoilt):
    expected = open_network(model_file, "onnx")
    export._open.cache_clear()
    (file,) = cached.glob(f"*.{spoilt}")
    file.write_bytes(b"[]") if spoilt != "onnx.npz" else file.unlink()
    capsys.readouterr()
    picture = np.random.default_rng(0).random((1, expected.size, expected.size, 1), np.float32)
    np.testing.assert_array_equal(open_network(model_file, "onnx")(picture), expected(picture))
    assert "Exporting" in capsys.readouterr().out


@exports
def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_export", lambda *_: pytest.fail("the work began"))
    (tmp_path / "out").touch()
    with pytest.raises(NotWritten, match="is a file, not a folder; move it away, or name another place"):
        export.export_model(None, "onnx", tmp_path / "out")
    with pytest.raises(ValueError, match="the folder of the export is empty"):
        export.export_model(None, "onnx", "")


def test_an_export_that_cannot_be_checked_is_not_used(model_file, cached, monkeypatch):
    next(cached.glob("*.npz")).write_bytes(b"no images")
    monkeypatch.setattr(engines, "engine_name", lambda engine, precision="f32": f"{engine} 99 {precision}")
    with pytest.raises(ExportError, match=r"npz: is damaged\. Remove it and the export beside it"):
        open_network(model_file, "onnx")
    with pytest.warns(UserWarning, match="is damaged"):
        assert open_network(model_file).name.startswith("keras")


@exports
def test_an_export_that_cannot_be_kept_is_replaced_by_keras_once_for_all(model_file, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LUNGNB_CACHE", str(tmp_path / "file" / "own"))
    with pytest.raises(ExportError, match=r"cannot be kept in .*own: set LUNGNB_CACHE to another folder"):
        open_network(model_file, "onnx")
    with pytest.warns(UserWarning, match="LUNGNB_CACHE"):
        first = open_network(model_file)
    monkeypatch.setattr(export, "_export", None)  # it is not tried again
    assert first.name.startswith("keras") and open_network(model_file) is first


@exports
def test_an_engine_that_is_broken_is_said(monkeypatch):
    monkeypatch.setattr(engines, "_open_onnx", lambda *_: exec("raise ImportError('libtbb.so.12: no such file')"))
    with pytest.raises(ExportError, match=r"engine onnx is installed, and cannot be imported \(libtbb"):
        open_network(None, "onnx")


def test_without_the_extra_keras_is_taken(monkeypatch, model_file):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert open_network(model_file).name.startswith("keras")
    assert open_network().name.startswith("keras")
    with pytest.raises(ValueError, match=r"engine onnx needs onnxruntime: pip install 'lungnb\[fast\]'"):
        open_network(None, "onnx")


@exports
def test_half_precision_halves_the_file(tmp_path):
    size = export_model(None, "onnx", tmp_path, half=True).stat().st_size
    assert size < 0.51 * 4 * load_model().count_params()  # 4 bytes each in full


@exports
@pytest.mark.parametrize("engine", FAST)
def test_files_get_the_same_masks(engine, tmp_path):
    for index in range(3):
        write_png(tmp_path / "films" / f"{index}.png", make_phantom(index, size=200).image)
    fast, slow = (
        segment_files(tmp_path / "films", tmp_path / each, progress=False, engine=each) for each in (engine, "keras")
    )
    np.testing.assert_allclose(fast["lung"], slow["lung"], atol=1e-3)


@exports
def test_command_exports(tmp_path, capsys):
    assert main(["export", "--format", "openvino", "--out", str(tmp_path)]) == 0
    assert "Dice with the masks of Keras 1.0000" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "phantom.bin", "phantom.xml", "phantom.xml.json", "phantom.xml.npz",
    ]  # fmt: skip


GOOD = Parity(1.0, 1.0, 40, 40)._asdict()


@pytest.mark.parametrize("parity", [
    [], 3, None, {"onnx 1 f32": []}, {"onnx 1 f32": {}}, {"onnx 1 f32": GOOD | {"mean_dice": "1"}},
    {"onnx 1 f32": GOOD | {"worst_dice": float("nan")}}, {"onnx 1 f32": GOOD | {"more": 1}},
])  # fmt: skip
def test_what_a_damaged_json_says_of_an_engine_is_forgotten(tmp_path, parity):
    file = tmp_path / "x.onnx"
    (tmp_path / "x.onnx.json").write_text(json.dumps({"model": "m", "file": "f", "parity": parity}))
    assert parities(file) == {}
    found = Parity(**GOOD)
    add_parities(file, {"model": "m", "file": "f"}, {"onnx 2 f32": found})
    assert parities(file) == {"onnx 2 f32": found}


def test_parities_of_another_export_are_forgotten_and_those_of_the_same_one_kept(tmp_path):
    file, found, digests = tmp_path / "x.onnx", Parity(**GOOD), {"model": "m", "file": "f"}
    worse = found._replace(worst_dice=0.5)
    add_parities(file, digests, {"onnx 1 f32": found, "onnx 2 f32": found})
    add_parities(file, digests, {"onnx 2 f32": worse})
    assert parities(file) == {"onnx 1 f32": found, "onnx 2 f32": worse}
    add_parities(file, digests | {"file": "g"}, {"onnx 3 f32": found})
    assert parities(file) == {"onnx 3 f32": found}


@pytest.mark.parametrize("chest", [None, np.array([0.9, 0.1], np.float32)])
def test_a_reference_is_read_as_it_was_written(tmp_path, chest):
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12), np.uint8)  # 12 px do not fill two bytes
    write_reference(tmp_path / "x.onnx", Reference(images, images > 127, chest))
    found = read_reference(tmp_path / "x.onnx.npz", 12)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.masks, images > 127)
    assert found.chest is None if chest is None else (found.chest == chest).all()


def arrays(images, masks):
    return {"images": images, "masks": masks}


@pytest.mark.parametrize("stored", [
    {}, arrays(np.zeros((2, 8, 8), np.uint8), np.zeros((1, 8, 1), np.uint8)),
    arrays(np.zeros((2, 16, 8), np.uint8), np.zeros((2, 16, 1), np.uint8)),
    arrays(np.zeros((2, 8, 8), float), np.zeros((2, 8, 1), np.uint8)),
    arrays(np.array([{}], dtype=object), np.zeros((1, 8, 1), np.uint8)), arrays(np.zeros(3), np.zeros(3, np.uint8)),
    arrays(np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 1), np.uint8)) | {"chest": np.zeros(3, np.float32)},
    arrays(np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 1), np.uint8)) | {"chest": np.zeros(2)},
])  # fmt: skip
def test_other_arrays_are_not_a_reference(tmp_path, stored):
    np.savez_compressed(tmp_path / "x.npz", **stored)
    with pytest.raises(ExportError, match=r"x\.npz: is damaged"):
        read_reference(tmp_path / "x.npz", 8)


def test_a_reference_that_unpacks_to_gigabytes_is_not_read(tmp_path, monkeypatch):
    np.savez_compressed(
        tmp_path / "x.npz", **arrays(np.zeros((200, 512, 512), np.uint8), np.zeros((200, 512, 64), np.uint8))
    )
    assert len(read_reference(tmp_path / "x.npz", 512).images) == 200
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.05")
    with pytest.raises(ExportError, match=r"x\.npz: is damaged"):
        read_reference(tmp_path / "x.npz", 512)
