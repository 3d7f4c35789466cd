import subprocess
import sys

import numpy as np
import pytest

from lungnb.networks.backend import keras
from lungnb.networks.costs import count_multiplications
from lungnb.networks.losses import get_loss
from lungnb.networks.models import MODELS, build_model
from lungnb.settings import TITLES

SLOW = pytest.mark.slow
MOSTLY_SLOW = ["unet", *(pytest.param(name, marks=SLOW) for name in MODELS if name != "unet")]
NORM = 4  # batch normalisation: scale, shift, mean and variance of each channel


def unet_count(f, depth):
    """Ronneberger 2015: two 3x3 convolutions a stage, 2x2 up-convolutions; normalised, so without biases."""

    def stage(before, c):
        return 9 * before * c + NORM * c + 9 * c * c + NORM * c

    c = [1] + [f * 2**level for level in range(depth + 1)]  # the image, the encoder's levels, the bridge
    encoder = sum(stage(c[level - 1], c[level]) for level in range(1, depth + 2))
    ups = sum(4 * c[level + 1] * c[level] + c[level] for level in range(1, depth + 1))
    decoder = sum(stage(2 * c[level], c[level]) for level in range(1, depth + 1))
    return encoder + ups + decoder + f + 1


def r2unet_count(f, depth):
    """Alom 2018: a 1x1 shortcut, then two recurrent layers of one 3x3 convolution each, whatever the steps."""

    def stage(before, c):
        return before * c + c + 2 * (9 * c * c + NORM * c)

    c = [1] + [f * 2**level for level in range(depth + 1)]
    encoder = sum(stage(c[level - 1], c[level]) for level in range(1, depth + 2))
    ups = sum(4 * c[level + 1] * c[level] + c[level] for level in range(1, depth + 1))
    decoder = sum(stage(2 * c[level], c[level]) for level in range(1, depth + 1))
    return encoder + ups + decoder + f + 1


def resunet_count(f, depth):
    """Zhang 2018: pre-activation residual units with a normalised 1x1 shortcut; nothing to learn in the upsampling."""

    def unit(before, c):
        shortcut = before * c + NORM * c
        return shortcut + NORM * before + 9 * before * c + NORM * c + 9 * c * c + c

    c = [1] + [f * 2**level for level in range(depth + 1)]
    encoder = sum(unit(c[level - 1], c[level]) for level in range(1, depth + 2)) - NORM  # the image is not normalised
    decoder = sum(unit(c[level + 1] + c[level], c[level]) for level in range(1, depth + 1))
    return encoder + decoder + f + 1


def attention_unet_count(f, depth):
    """Oktay 2018: a gate a skip, of a 2x2 convolution of the skip, a 1x1 one of the coarser level, and one to a map."""
    c = [f * 2**level for level in range(depth + 1)]
    gates = sum(4 * c[level] ** 2 + c[level + 1] * c[level] + c[level] + c[level] + 1 for level in range(depth))
    return unet_count(f, depth) + gates


def transunet_count(f, depth, blocks=4):
    """A U-Net; at its bottom a 3x3 depthwise convolution, blocks of attention and perceptron, a last normalisation."""
    c = f * 2**depth
    block = 2 * 2 * c + 4 * c * c + (2 * c * c + 2 * c) + (2 * c * c + c)
    return unet_count(f, depth) + 9 * c + c + blocks * block + 2 * c


def compact_unet_count(f, depth):
    """2x2 patches to four channels and back; between them a U-Net whose channels stop at eight times the first."""

    def stage(before, c):
        return 9 * before * c + NORM * c + 9 * c * c + NORM * c

    c = [4] + [f * min(2**level, 8) for level in range(depth)]
    encoder = sum(stage(c[level - 1], c[level]) for level in range(1, depth + 1))
    ups = sum(4 * c[level + 1] * c[level] + c[level] for level in range(1, depth))
    decoder = sum(stage(2 * c[level], c[level]) for level in range(1, depth))
    return 4 * 4 + encoder + ups + decoder + 4 * f + 1


COUNTS = {
    "unet": unet_count,
    "resunet": resunet_count,
    "r2unet": r2unet_count,
    "attention_unet": attention_unet_count,
    "transunet": transunet_count,
    "compact_unet": compact_unet_count,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("filters", "depth"), [(2, 1), (3, 3), *(pytest.param(*sizes, marks=SLOW) for sizes in ((4, 2), (16, 4), (2, 5)))]
)
def test_parameters_are_as_counted_by_hand(name, filters, depth):
    model = build_model(name, size=2**depth, filters=filters, depth=depth)
    assert model.count_params() == COUNTS[name](filters, depth)


def test_the_unet_of_16_filters_has_1_94_million_parameters():
    assert unet_count(16, 4) == pytest.approx(1.94e6, rel=0.005)


def test_multiplications_are_as_counted_by_hand():
    """One level, 2 filters, 8x8: two 3x3 convolutions a stage, a 2x2 up-convolution, a 1x1 head."""
    pixels, f = 64, 2
    top = pixels * 9 * (1 * f + f * f)
    bridge = pixels // 4 * 9 * (f * 2 * f + 4 * f * f)
    up = pixels // 4 * 4 * (2 * f) * f
    decoder = pixels * 9 * (2 * f * f + f * f)
    model = build_model("unet", size=8, filters=f, depth=1)
    assert count_multiplications(model) == top + bridge + up + decoder + pixels * f


def test_multiplications_count_each_use_and_what_lies_within():
    once, thrice = (build_model("r2unet", size=16, filters=2, depth=1, steps=steps) for steps in (0, 2))
    convolutions = sum(2 * 9 * c * c * p * p for c, p in ((2, 16), (4, 8), (2, 16)))
    assert count_multiplications(thrice) - count_multiplications(once) == 2 * convolutions
    none, one = (build_model("transunet", size=16, filters=2, depth=1, blocks=blocks) for blocks in (0, 1))
    places, c = 64, 4
    block = 4 * places * c * c + 2 * places * places * c + 2 * places * 2 * c * c
    assert count_multiplications(one) - count_multiplications(none) == block


@SLOW
def test_the_designs_networks_take_the_published_settings():
    assert count_multiplications(build_model("unet", size=256)) == pytest.approx(3.0e9, rel=0.01)
    assert count_multiplications(build_model("r2unet", size=256)) == pytest.approx(8.5e9, rel=0.01)
    # Sandler 2018, table 4: MobileNetV2 takes 300 M.
    assert count_multiplications(keras.applications.MobileNetV2(weights=None)) == pytest.approx(300e6, rel=0.01)


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_recurrent_steps_cost_no_parameters(steps):
    model = build_model("r2unet", size=16, filters=2, depth=2, steps=steps)
    assert model.count_params() == r2unet_count(2, 2)
    assert sum(layer.name.endswith(f"_add_{steps}") for layer in model.layers) == (10 if steps else 0)
    with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
        build_model("r2unet", size=16, filters=2, depth=2, steps=-1)


def test_recurrent_steps_change_the_output():
    picture = np.random.default_rng(0).random((1, 16, 16, 1), "float32")
    outputs = []
    for steps in (0, 1, 2):
        keras.utils.set_random_seed(1)
        outputs.append(build_model("r2unet", size=16, filters=2, depth=2, steps=steps).predict_on_batch(picture))
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4
    assert np.abs(outputs[1] - outputs[2]).max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("size", "depth"), [(8, 1), (12, 2), *(pytest.param(*sizes, marks=SLOW) for sizes in ((48, 3), (112, 4)))]
)
def test_any_size_that_the_halvings_divide_works(name, size, depth):
    keras.utils.set_random_seed(1)  # of random weights, some saturate
    model = build_model(name, size=size, filters=2, depth=depth)
    found = np.asarray(model(np.random.default_rng(0).random((2, size, size, 1), "float32")))
    assert model.input_shape == model.output_shape == (None, size, size, 1)
    assert found.shape == (2, size, size, 1)
    assert found.dtype == np.float32
    assert 0 < found.min() < found.max() < 1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 100, "depth": 4}, "size must be a multiple of 16 for a depth of 4: not 100, but 96"),
        ({"size": 4, "depth": 3}, "size must be a multiple of 8 for a depth of 3: not 4, but 8"),
        ({"size": 0}, "size must be a multiple of 16"),
        ({"filters": 0}, "filters must be at least 1, not 0"),
        ({"depth": 0}, "depth must be at least 1, not 0"),
    ],
)
def test_sizes_that_do_not_fit_are_named(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **arguments)


def test_an_unknown_model_lists_the_known_ones():
    known = "unet, resunet, r2unet, attention_unet, transunet, compact_unet"
    with pytest.raises(ValueError, match=f"model must be one of {known}, not 'vnet'"):
        build_model("vnet")
    assert set(TITLES) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_stages_have_the_names_and_sizes_of_the_figure(name):
    if name == "compact_unet":  # whose U is half the image's size
        model = build_model(name, size=64, filters=3, depth=3)
        top = {"lung": (None, 64, 64, 1), "patches": (None, 32, 32, 4)}
    else:
        model = build_model(name, size=32, filters=3, depth=2)
        top = {"lung": (None, 32, 32, 1)}
    expected = top | {
        "encoder_1": (None, 32, 32, 3),
        "encoder_2": (None, 16, 16, 6),
        "bridge": (None, 8, 8, 12),
        "decoder_2": (None, 16, 16, 6),
        "decoder_1": (None, 32, 32, 3),
    }
    assert {stage: model.get_layer(stage).output.shape for stage in expected} == expected
    assert model.name == name
    carried = "decoder_1_gated" if name == "attention_unet" else "decoder_1_skip"
    assert any(tensor is model.get_layer("encoder_1").output for tensor in model.get_layer(carried).input)


def test_a_gate_weighs_the_skip_by_the_coarser_level():
    model = build_model("attention_unet", size=16, filters=2, depth=2)
    gate = model.get_layer("decoder_1_gate")
    assert gate.output.shape == (None, 8, 8, 1)
    gate.set_weights([np.zeros_like(gate.get_weights()[0]), np.array([-50.0])])  # nothing is relevant
    carried = keras.Model(model.input, model.get_layer("decoder_1_gated").output)
    assert np.abs(carried.predict_on_batch(np.ones((1, 16, 16, 1)))).max() < 1e-6


def test_the_transformer_sees_the_whole_picture():
    """A change in one corner reaches the opposite one at the bottom, beyond any convolution's reach."""
    reach = []
    for blocks in (0, 1):
        keras.utils.set_random_seed(1)
        model = build_model("transunet", size=128, filters=2, depth=2, blocks=blocks)
        bottom = keras.Model(model.input, model.get_layer("bridge").output)
        pictures = np.zeros((2, 128, 128, 1), "float32")
        pictures[1, :8, :8] = 1
        without, with_corner = bottom.predict_on_batch(pictures)
        reach.append(np.abs(with_corner - without)[-4:, -4:].max())
    assert reach[0] == 0
    assert reach[1] > 0
    with pytest.raises(ValueError, match="blocks must be at least 0, not -1"):
        build_model("transunet", blocks=-1)


def test_a_unet_without_skips_has_no_way_around_the_bottom():
    """If the bottom gives 0, the output of a U-Net depends on the image through the skips alone."""
    images, spread = np.random.default_rng(0).random((2, 16, 16, 1), "float32"), {}
    for skips in (True, False):
        keras.utils.set_random_seed(1)
        model = build_model("unet", size=16, filters=2, depth=2, skips=skips)
        norm = model.get_layer("bridge_norm_2")
        norm.set_weights([0 * weight if weight.shape else weight for weight in norm.get_weights()])
        first, second = model.predict_on_batch(images)
        spread[skips] = np.abs(first - second).max()
    assert spread[False] == 0 < spread[True]
    saved = sum(9 * channels * channels for channels in (2, 4))  # half the input of each first convolution
    assert model.count_params() == unet_count(2, 2) - saved
    assert not [layer.name for layer in model.layers if layer.name.endswith("_skip")]


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_learns(name):
    keras.utils.set_random_seed(1)
    model = build_model(name, size=16, filters=4, depth=2)
    rng = np.random.default_rng(2)
    pictures, truth = rng.random((4, 16, 16, 1), "float32"), (rng.random((4, 16, 16, 1)) < 0.5).astype("float32")
    # A step of plain descent moves each weight by its gradient, here a hundredfold, lest rounding hide a small one.
    model.compile(keras.optimizers.SGD(100.0), get_loss("bce_iou"), run_eagerly=True)
    before = [np.array(weight) for weight in model.trainable_weights]
    model.train_on_batch(pictures, truth)
    assert len(before) > 20
    for weight, old in zip(model.trainable_weights, before, strict=True):
        moved = np.abs(np.array(weight) - old)
        assert np.isfinite(moved).all() and moved.max() > 0, weight.path


@pytest.mark.parametrize("name", MOSTLY_SLOW)
def test_a_batch_is_learnt(name):
    keras.utils.set_random_seed(1)
    model = build_model(name, size=16, filters=4, depth=2)
    model.compile(keras.optimizers.Adam(0.01), get_loss("bce_iou"), run_eagerly=True)
    pictures = np.random.default_rng(0).random((4, 16, 16, 1), "float32")
    truth = np.zeros_like(pictures)
    truth[:, 4:12, 3:9] = 1
    pictures += truth
    losses = []
    for _ in range(15):
        model.reset_metrics()  # else the mean of all steps
        losses.append(float(model.train_on_batch(pictures, truth)))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("names", [["unet"], pytest.param([*MODELS], marks=SLOW)], ids=["unet", "all"])
def test_models_open_in_a_fresh_process_without_lungnb(trained, tmp_path, names):
    picture = np.random.default_rng(0).random((2, 32, 32, 1), "float32")
    np.save(tmp_path / "picture.npy", picture)
    expected = {}
    for name in names:
        model = build_model(name, size=32, filters=2, depth=2)
        model.save(tmp_path / f"{name}.keras")
        expected[name] = model.predict_on_batch(picture)
    # Also one with loss, scores and optimizer in it, as training writes it.
    (trained.results / "unet" / "model.keras").rename(tmp_path / "trained.keras")
    expected["trained"] = keras.models.load_model(tmp_path / "trained.keras", compile=False).predict_on_batch(picture)
    script = """
import sys
import keras, numpy as np
folder, *names = sys.argv[1:]
for name in names:
    model = keras.models.load_model(f"{folder}/{name}.keras", compile=False, safe_mode=True)
    np.save(f"{folder}/{name}.npy", model.predict_on_batch(np.load(f"{folder}/picture.npy")))
assert "lungnb" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path), *expected], check=True, capture_output=True)
    for name, output in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), output, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", MOSTLY_SLOW)
def test_a_network_begins_with_the_weights_of_a_file(name, tmp_path):
    """The weights may come from a network with another input size, because no layer depends on it."""
    first = build_model(name, size=32, filters=2, depth=2)
    first.save(tmp_path / "first.keras")
    second = build_model(name, size=64, filters=2, depth=2, weights=str(tmp_path / "first.keras"))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))
    with pytest.raises(ValueError, match=rf"first\.keras: not weights for {name} at this width and depth"):
        build_model(name, size=32, filters=3, depth=2, weights=str(tmp_path / "first.keras"))
    with pytest.raises(FileNotFoundError, match=r"none\.keras is not there yet: train it, or name another file"):
        build_model(name, weights=str(tmp_path / "none.keras"))
