"""What exported networks say of themselves, and the recipe of docs/how-to-onnx.md: lungnb's masks without lungnb."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from helpers.networks import bright
from helpers.paths import ROOT
from lungnb.engines.export import export_model
from lungnb.formats.opening import digest_of_file
from lungnb.formats.pixels import to_grey
from lungnb.masks import LUNG_THRESHOLD, clean_mask
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.predict import segment
from lungnb.settings import SHIPPED

PAGE = (ROOT / "docs" / "how-to-onnx.md").read_text(encoding="utf-8")
needs_onnx = pytest.mark.skipif(not find_spec("onnxruntime"), reason="needs the extra `fast`")
RUN = """
import sys
session = onnxruntime.InferenceSession(sys.argv[1])
images = np.load(sys.argv[2])
answers = {name: (*segment(image, session), looks_like_chest(image, session)) for name, image in images.items()}
np.savez(sys.argv[3], **{f"{name}_{part}": array for name, pair in answers.items() for part, array in enumerate(pair)})
assert not {"lungnb", "keras", "PIL"} & {*sys.modules}
"""


def pictures():
    """Return films of many proportions, larger and smaller than the network's input, and some that are odd."""
    random = np.random.default_rng(3)
    film = make_phantom(2, seed=9, size=640).image
    films = {f"film{height}x{width}": film[:height, :width] for height, width in ((640, 640), (640, 423), (301, 640))}
    films |= {
        "ct": to_grey(make_phantom(1, seed=9, size=384, kind="ct").image),
        "small": film[::8, ::7],
        "wide": film[300:303],
    }
    specks = np.kron(random.random((40, 50)) > 0.5, np.ones((7, 9))).astype(np.uint8) * np.uint8(255)  # many regions
    return films | {
        "specks": specks,
        "blank": np.full((50, 70), 9, np.uint8),
        "pixel": np.array([[100, 105]], np.uint8),
    }


@needs_onnx
def test_the_recipe_gives_the_masks_of_lungnb(tmp_path):
    code = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "recipe.py").write_text(code + RUN)
    films = pictures()
    np.savez(tmp_path / "films.npz", **films)
    files = [str(SHIPPED.with_suffix(".onnx")), str(tmp_path / "films.npz"), str(tmp_path / "answers.npz")]
    done = subprocess.run([sys.executable, "recipe.py", *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    for name, film in films.items():
        expected = segment(film, engine="onnx")
        np.testing.assert_array_equal(answers[f"{name}_1"], expected.probability, err_msg=name)
        np.testing.assert_array_equal(answers[f"{name}_0"], expected.mask, err_msg=name)
        assert answers[f"{name}_2"] == expected.chest, name
    raw = answers["specks_1"] > LUNG_THRESHOLD
    assert not (clean_mask(raw) == raw).all()  # so that cleaning is tested too


@pytest.mark.skipif(not find_spec("tf2onnx"), reason="needs the extra `fast`")
@needs_onnx
def test_an_export_says_how_to_use_it(tmp_path):
    import onnxruntime

    bright(64).save(tmp_path / "own.keras")
    (tmp_path / "run.json").write_text('{"plan": {"settings": {"window": [-1000.0, 400.0]}}}')
    for file, window in ((export_model(tmp_path / "own.keras", "onnx", tmp_path), "-1000 400"), (SHIPPED, "none")):
        session = onnxruntime.InferenceSession(file.with_suffix(".onnx"))
        names, has_chest = [tensor.name for tensor in session.get_outputs()], file == SHIPPED
        assert names == ["probability", "chest"][: 1 + has_chest] and session.get_inputs()[0].name == "image"
        facts = session.get_modelmeta().custom_metadata_map
        assert set(facts) == set(re.findall(r"(?m)^\| `(\w+)` \| `", PAGE)) - {"temperature"} - (
            set() if has_chest else {"chest_threshold"}
        )  # the temperature is 1
        assert facts["input_size"] == str(session.get_inputs()[0].shape[1]) and facts["window_hu"] == window
        assert float(facts["threshold"]) == LUNG_THRESHOLD and facts["sigmoid"] == "inside"


@pytest.mark.skipif(not find_spec("tf2onnx"), reason="needs the extra `fast`")
@needs_onnx
def test_the_recipe_corrects_probabilities_by_the_temperature_of_the_network(tmp_path):
    import onnxruntime

    bright(64).save(tmp_path / "own.keras")
    record = {"temperature": 1.7, "model": digest_of_file(tmp_path / "own.keras")}
    (tmp_path / "temperature.json").write_text(json.dumps(record))
    file = export_model(tmp_path / "own.keras", "onnx", tmp_path)
    session, recipe = onnxruntime.InferenceSession(file), {}
    assert float(session.get_modelmeta().custom_metadata_map["temperature"]) == 1.7
    exec("".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), recipe)
    film = pictures()["film301x640"]
    mask, probability = recipe["segment"](film, session)
    expected = segment(film, tmp_path / "own.keras", engine="onnx")
    np.testing.assert_array_equal(mask, expected.mask)
    np.testing.assert_allclose(probability, expected.probability, atol=1e-6)
    assert not np.allclose(probability, segment(film, bright(64)).probability, atol=0.01)  # without a temperature
