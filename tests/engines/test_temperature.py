import json

import numpy as np
import pytest
from scipy.special import expit, logit

from lungnb.engines.engines import engine_of
from lungnb.engines.temperature import read_temperature, with_temperature
from lungnb.formats.opening import digest_of_file
from lungnb.masks import LUNG_THRESHOLD
from lungnb.phantoms.make import make_phantom
from lungnb.segmentation.inference import predict
from lungnb.segmentation.predict import segment


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1.7, 10.0])
def test_logits_are_divided_and_no_pixel_changes_sides(temperature):
    half = np.float32(0.5)
    edge = [0, np.nextafter(half, np.float32(0)), half, np.nextafter(half, np.float32(1)), 1]
    probability = np.concatenate([np.random.default_rng(0).random(1000), edge]).astype(np.float32)
    scaled = with_temperature(probability, temperature)
    assert scaled.dtype == np.float32 and scaled.min() == 0 and scaled.max() == 1
    np.testing.assert_array_equal(scaled > LUNG_THRESHOLD, probability > LUNG_THRESHOLD)
    np.testing.assert_allclose(scaled, expit(logit(probability.astype(float)) / temperature), atol=1e-6)


def test_a_temperature_is_undone_by_its_inverse():
    probability = np.linspace(0.02, 0.98, 50, dtype=np.float32)
    np.testing.assert_allclose(with_temperature(with_temperature(probability, 1.6), 1 / 1.6), probability, atol=1e-5)


def store(model_file, **record):
    model_file.with_name("temperature.json").write_text(json.dumps(record))


@pytest.mark.parametrize("engine", ["keras", "onnx"])
def test_segment_corrects_probabilities_and_no_mask_with_every_engine(model_file, engine):
    if engine == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    film = make_phantom(3, size=96).image
    before = segment(film, model_file, engine=engine)
    store(model_file, temperature=2.5, model=digest_of_file(model_file))
    after = segment(film, model_file, engine=engine)
    np.testing.assert_array_equal(after.mask, before.mask)
    np.testing.assert_array_equal(after.probability, with_temperature(before.probability, 2.5))
    assert (after.probability != before.probability).any()


def test_another_networks_temperature_does_not_count(model_file):
    store(model_file, temperature=2.5, model="0" * 64)
    assert read_temperature(model_file) == 1


@pytest.mark.parametrize(
    "record", [{}, {"temperature": "2"}, {"temperature": 0}, {"temperature": 1e9}, {"temperature": True}]
)
def test_a_damaged_temperature_is_refused(model_file, record):
    store(model_file, **record)
    with pytest.raises(ValueError, match=r"temperature.json: must hold a temperature from 0.1 to 10"):
        segment(make_phantom(3, size=64).image, model_file)


def test_a_network_in_memory_has_no_temperature(model):
    film = make_phantom(3, size=64).image
    assert engine_of(model).temperature == 1
    assert predict(engine_of(model), film).shape == film.shape
