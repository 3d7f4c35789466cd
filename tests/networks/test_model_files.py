"""Untrusted `.keras` files: each is refused with a sentence or loaded, in 10 s and 1 GB, and runs no code."""

import io
import itertools
import json
import time
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile

import h5py
import numpy as np
import pytest

from helpers.files import make_pipe
from lungnb.engines.engines import load_model
from lungnb.networks.backend import keras
from lungnb.networks.costs import network_costs
from lungnb.networks.encoders import take_weights
from lungnb.networks.model_files import check_weights
from lungnb.networks.models import MODELS, build_model

SIZE = 64


def pack(path, config, weights, method=ZIP_DEFLATED, **others):
    """Write a `.keras` file of a structure, or its text, and weights."""
    with ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.json", "{}")
        config, weights = (part() if callable(part) else part for part in (config, weights))
        archive.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        archive.writestr("model.weights.h5", weights)
        for name, text in others.items():
            archive.writestr(name, text)


def layer(name, source, kind, module="keras.layers", calls=None, **settings):
    """Return a layer as `config.json` has it, called on the outputs of the layers `source`."""
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": [of, 0, 0]}}
        for of in ([source] if isinstance(source, str) else source)
    ]
    call = {"args": [tensors[0] if isinstance(source, str) else tensors], "kwargs": {}}
    return {
        "module": module, "class_name": kind, "config": {"name": name} | settings, "registered_name": None,
        "name": name, "inbound_nodes": calls if calls is not None else [call],
    }  # fmt: skip


def image(size=SIZE, name="image", channels=1):
    return layer(name, [], "InputLayer", calls=[], batch_shape=[None, size, size, channels])


def functional(*layers, name="network", output=None):
    """Return the structure of a network: from its first layer to its last."""
    config = {
        "name": name, "trainable": True, "layers": [*layers],
        "input_layers": [[layers[0]["name"], 0, 0]], "output_layers": [[output or layers[-1]["name"], 0, 0]],
    }  # fmt: skip
    module = "keras.src.models.functional"
    return {"module": module, "class_name": "Functional", "config": config, "registered_name": "Functional"}


def chain(*layers, size=SIZE):
    """Return the structure of a network of layers `(kind, settings)` in a row, with a 1x1 convolution at its end."""
    items, last = [image(size)], "image"
    for index, (kind, settings) in enumerate((*layers, ("Conv2D", {"filters": 1, "kernel_size": 1}))):
        items.append(layer(f"layer_{index}", last, kind, **settings))
        last = f"layer_{index}"
    return functional(*items)


def attention(source):
    """Return a layer in which each place looks at every other."""
    item = layer("attention", source, "MultiHeadAttention", num_heads=1, key_dim=1)
    item["inbound_nodes"][0]["args"] *= 2
    return item


def hdf5(write):
    """Return an HDF5 file as `write` fills it."""
    stored = io.BytesIO()
    with h5py.File(stored, "w") as file:
        write(file)
    return stored.getvalue()


def nested(levels, text):
    """Return a structure of networks within networks, each with the text in it."""
    inner = chain(("Conv2D", {"filters": 1, "kernel_size": 1, "unknown": 1}))
    for level in range(levels):
        inner = functional(image(), inner | layer("inner", "image", "") | inner, name=f"n{level}")
        inner["config"]["note"] = text
    return inner


def many_calls():
    """Return a structure of 4 levels of networks, each of which calls the one below 30 times."""
    inner = chain()
    for level in range(4):
        calls = [
            layer("x", "image", "x")["inbound_nodes"][0] if not index else layer("x", "inner", "x")["inbound_nodes"][0]
            for index in range(30)
        ]
        for index, call in enumerate(calls[1:], 1):
            call["args"][0]["config"]["keras_history"][1] = index
        outer = functional(image(), inner | {"name": "inner", "inbound_nodes": calls}, name=f"level_{level}")
        outer["config"]["output_layers"] = [["inner", 30, 0]]
        inner = outer
    return inner


def backwards(count):
    """Return a structure whose layers are listed from the last to the first."""
    names = ["image", *(f"layer_{index}" for index in range(count))]
    layers = [layer(name, before, "Identity") for before, name in itertools.pairwise(names)]
    return functional(image(), *layers[::-1], output=names[-1])


WEIGHTS = hdf5(lambda file: file.create_group("layers"))
FOREIGN = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
DEEP = "[" * 100_000 + "]" * 100_000
BRACES = '{"a":' * 400 + "1" + "}" * 400
CONFIGS = {  # structures, and what is said of them
    "a list": ([], "cannot be loaded"),
    "a number": (1, "cannot be loaded"),
    "no JSON": ("{", "cannot be loaded"),
    "no text": (b"\xff\x00\xfe", "cannot be loaded"),
    "NaN": ('{"class_name": NaN, "config": Infinity}', "cannot be loaded|holds"),
    "brackets": (DEEP, "cannot be loaded|brackets deep"),
    "brackets in a layer": (json.dumps(chain()).replace('"trainable"', f'"x": {"[" * 400 + "]" * 400}, "trainable"'),
                            "brackets deep"),
    "braces in a layer": (json.dumps(chain()).replace('"trainable"', f'"x": {BRACES}, "trainable"'), "brackets deep"),
    "3 MB of lists": ("[" + "[]," * 1_000_000 + "[]]", "describes its layers in 3,000,004 bytes"),
    "2 MB of lists": ("[" + "[]," * 660_000 + "[]]", "cannot be loaded"),
    "networks within networks": (nested(60, "x" * 20_000), "brackets deep"),
    "networks with long texts": (nested(10, "x" * 150_000), "cannot be loaded"),
    "a bomb": (lambda: b" " * 200_000_000, "describes its layers in 200,000,000 bytes"),
    "a layer": (layer("dense", "image", "Dense", units=1), r"holds a 'Dense', not a network"),
    "an optimizer": ({"module": "keras.optimizers", "class_name": "Adam", "config": {}}, "'Adam', not a network"),
    "a subclass": (functional(image()) | {"module": None, "class_name": "Mine"}, "'Mine', which is not a class"),
    "a Lambda": (chain(("Lambda", {"function": {"class_name": "__lambda__"}})), r"holds code \(a Lambda layer\)"),
    "a lambda as activation": (
        chain(("Activation", {"activation": {"class_name": "__lambda__", "config": {"value": "x"}}})), "holds code"),
    "a TFSMLayer": (chain(("TFSMLayer", {"filepath": "/"})), r"holds code \(a TFSMLayer layer\)"),
    "a function of the system": (chain(("Activation", {"activation": FOREIGN})), "holds 'system', which"),
    "a layer of another module": (functional(image(), layer("x", "image", "system", module="os")), "holds 'system'"),
    "a registered loss": (
        chain(("Activation", {"activation": {"module": None, "class_name": "lungnb>x", "config": {}}})), "'lungnb>x'"),
    "a loader": (
        chain(("Activation", {"activation": {"module": "keras.saving", "class_name": "function",
                                             "config": "load_model"}})), "holds a 'load_model'"),
    "a vocabulary": (chain(("StringLookup", {"vocabulary": "/etc/passwd"})), "holds a 'StringLookup', which is not"),
    "a layer of the old form": (functional(image(), {"name": "x", "class_name": "Dense", "config": {}}), "'Dense'"),
    "a name of a million letters": (chain(("x" * 1_000_000, {})), "holds a 'x{50}', which"),
    "escapes in a name": (chain(("\x1b[31m", {})), r"holds a '\\x1b\[31m', which"),
    "a billion weights": (chain(("Conv2D", {"filters": 30_000, "kernel_size": 1}),
                                ("Conv2D", {"filters": 30_000, "kernel_size": 1})), "would need about"),
    "a dense layer": (
        chain(("Flatten", {}), ("Dense", {"units": 1_000_000}), ("Reshape", {"target_shape": [1000, 1000, 1]})),
        "would need about"),
    "a million channels": (chain(("Conv2D", {"filters": 1_000_000, "kernel_size": 1})), "would need about 16"),
    "a large image": (
        chain(size=32_768),
        r"would need about 8\.6 GB of memory, and the limit is 1 GB\. .* LUNGNB_MAX_GB=9"),
    "upsampling": (chain(("UpSampling2D", {"size": [1000, 1000]}), ("AveragePooling2D", {"pool_size": [1000, 1000]})),
                   "would need about"),
    "padding": (
        chain(("ZeroPadding2D", {"padding": 100_000}), ("Cropping2D", {"cropping": 100_000})), "would need about"),
    "repetition": (
        chain(("Flatten", {}), ("RepeatVector", {"n": 1_000_000}), ("Reshape", {"target_shape": [64, 64, -1]})),
        "would need about"),
    "attention of all pixels": (
        functional(image(512), layer("row", "image", "Reshape", target_shape=[-1, 1]), attention("row"),
                   layer("square", "attention", "Reshape", target_shape=[512, 512, 1])), "would need about"),
    "batches joined": (
        functional(image(), *(layer(f"l{n}", [f"l{n - 1}" if n else "image"] * 2, "Concatenate", axis=0)
                              for n in range(30))), "would need about"),
    "a fixed batch": (functional(image() | {"config": {"name": "image", "batch_shape": [100_000, SIZE, SIZE, 1]}},
                                 layer("x", "image", "Conv2D", filters=1, kernel_size=1)), "would need about"),
    "many separable channels": (chain(("SeparableConv2D", {"filters": 1, "kernel_size": 1,
                                                           "depth_multiplier": 1_000_000})), "would need about"),
    "far apart pixels": (chain(("Conv2D", {"filters": 1, "kernel_size": 3, "padding": "same",
                                           "dilation_rate": 100_000})), "would need about 3"),
    "a wide window": (chain(("MaxPooling2D", {"pool_size": 60, "strides": 1, "padding": "same"}),
                            *[("Conv2D", {"filters": 500, "kernel_size": 1}),
                              ("MaxPooling2D", {"pool_size": 1000, "strides": 1, "padding": "same"})]),
                      r"needs 2e\+12 multiplications .* set LUNGNB_MAX_GB=2"),
    "a convolution as activation": (
        chain(("Activation", {"activation": layer("x", "image", "Conv2D", filters=1_000_000, kernel_size=1)})),
        "holds a 'Conv2D', which"),
    "a convolution in a list": (
        chain(("Activation", {"activation": [layer("x", "image", "Conv2D", filters=1_000_000, kernel_size=1)]})),
        "holds a 'Conv2D', which"),
    "a function among a network's settings": (
        {**chain(), "config": chain()["config"] | {"note": FOREIGN}}, "holds 'system', which"),
    "a large constant": (
        chain(("Activation", {"activation": {"class_name": "__numpy__",
                                             "config": {"value": "", "dtype": "U1000000000"}}})),
        "holds '__numpy__'"),
    "2,000 layers": (chain(*[("Identity", {})] * 2_000), "calls more than 1,000 layers"),
    "60 layers in a row of Keras": (
        {"module": "keras", "class_name": "Sequential",
         "config": {"name": "s", "layers": [image()] + [layer(f"l{n}", "image", "Identity") for n in range(60)]}},
        "calls more than 1,000 layers"),
    "networks called again and again": (many_calls(), "calls more than 1,000 layers"),
    "layers backwards": (backwards(1_000), "order that takes too long"),
    "few layers backwards": (backwards(110), "order that takes too long"),
    "no input": ({"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": []}},
                 "cannot be loaded"),
    "an orthogonal start": (
        chain(("Flatten", {}), ("Dense", {"units": 4_096, "kernel_initializer": "orthogonal"}),
              ("Reshape", {"target_shape": [64, 64, 1]})), "cannot be loaded"),  # without weights
}  # fmt: skip


CLEAR = Path("/proc/self/clear_refs")  # Linux


@pytest.fixture
def limited():
    """Check that refusing takes less than 10 s of a processor and, on Linux, 1 GB."""
    if CLEAR.exists():
        CLEAR.write_text("5")  # forget the peak so far
    start, before = time.process_time(), peak_bytes()
    yield
    assert time.process_time() - start < 10
    assert peak_bytes() - before < 1e9


def peak_bytes():
    """Return the peak of this process's memory since it was cleared; 0 if the system does not tell."""
    if not CLEAR.exists():
        return 0
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("name", CONFIGS)
def test_structures_are_refused(tmp_path, name, limited):
    config, said = CONFIGS[name]
    pack(tmp_path / "x.keras", config, WEIGHTS)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/x\.keras: .*({said})") as raised:
        load_model(tmp_path / "x.keras")
    assert len(str(raised.value)) < 400 + len(str(tmp_path)) and str(raised.value).isprintable()


PLAIN = {"filters": 1, "kernel_size": 1}
OUTSIDE = "other.h5"


def reference(file):
    """Fill a file as Keras stores the weights of `chain()`."""
    values = file.create_group("layers/conv2d/vars")
    values["0"], values["1"] = np.ones((1, 1, 1, 1), "f4"), np.zeros(1, "f4")


def weights_with(change):
    """Return the weights of `chain()` as `change(group of its variables)` leaves them."""

    def write(file):
        reference(file)
        change(file["layers/conv2d/vars"])

    return hdf5(write)


def put(name, *arguments, **settings):
    """Return what replaces a variable by another array."""

    def change(values):
        del values[name]
        values.create_dataset(name, *arguments, **settings)

    return change


def link(name, target):
    """Return what replaces a variable, or a group, by a link."""

    def change(values):
        del values[name]
        values[name] = target

    return change


def virtual(values):
    layout = h5py.VirtualLayout((1,), "f4")
    layout[:] = h5py.VirtualSource(OUTSIDE, "x", (1,))
    del values["1"]
    values.create_virtual_dataset("1", layout)


def external_groups(values):
    file = values.file
    del file["layers"]
    file["layers"] = h5py.ExternalLink("pipe", "/")


HOSTILE_WEIGHTS = {
    "nothing": (b"", "cannot be loaded"),
    "no HDF5": (b"x" * 1000, "cannot be loaded"),
    "half": (weights_with(lambda values: None)[:700], "cannot be loaded"),
    "no variables": (WEIGHTS, "cannot be loaded"),
    "4 GB of zeros": (weights_with(put("0", (1_000_000_000,), "f4")), "claims more weights than it holds"),
    "compressed": (weights_with(put("0", (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip")), "are compressed"),
    "large chunks": (weights_with(put("0", (1,), "f4", chunks=(1 << 29,), maxshape=(None,))), "are compressed"),
    "texts": (weights_with(put("0", data=["x" * 100] * 10, dtype=h5py.string_dtype())), "or no numbers"),
    "records": (weights_with(put("0", (3,), [("x", "f4"), ("y", "f4")])), "or no numbers"),
    "another file's bytes": (weights_with(put("0", (4,), "u1", external=[("/etc/passwd", 0, 4)])), "in other files"),
    "another file's array": (weights_with(virtual), "in other files"),
    "a soft link": (weights_with(link("0", h5py.SoftLink("/layers/conv2d/vars/1"))), "links to other places"),
    "an external link": (weights_with(link("0", h5py.ExternalLink(OUTSIDE, "/x"))), "links to other places"),
    "a link to a pipe": (weights_with(external_groups), "links to other places"),
    "a loop of groups": (weights_with(link("0", h5py.SoftLink("/"))), "links to other places"),
    "many groups": (
        lambda: weights_with(lambda values: [values.create_group(f"g{n}") for n in range(15_001)]),
        "15,000 arrays",
    ),
    "a bomb": (lambda: b"\0" * 300_000_000, "unpacks to 0.3 GB of weights"),
}


@pytest.mark.parametrize("name", HOSTILE_WEIGHTS)
def test_weights_are_refused(tmp_path, name, limited, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "pipe" in name:
        make_pipe("pipe")
    weights, said = HOSTILE_WEIGHTS[name]
    pack("x.keras", chain(), weights, ZIP_DEFLATED if name == "a bomb" else ZIP_STORED)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/x\.keras: .*({said})"):
        load_model(tmp_path / "x.keras")


@pytest.mark.parametrize("name", ["4 GB of zeros", "compressed", "a link to a pipe"])
def test_files_of_weights_alone_are_refused_too(tmp_path, name, limited, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "pipe" in name:
        make_pipe("pipe")
    weights, said = HOSTILE_WEIGHTS[name]
    (tmp_path / "x.weights.h5").write_bytes(weights)
    with pytest.raises(ValueError, match=rf"x\.weights\.h5: not weights for .*{said}"):
        take_weights(build_model("unet", size=32, filters=2, depth=2), tmp_path / "x.weights.h5")


def test_the_plain_network_of_these_tests_is_opened(tmp_path):
    pack(tmp_path / "x.keras", chain(), weights_with(lambda values: None))
    network = load_model(tmp_path / "x.keras")
    picture = np.random.default_rng(0).random((1, SIZE, SIZE, 1), "f4")
    np.testing.assert_array_equal(network.predict_on_batch(picture), picture)


def test_archives_are_refused(tmp_path, limited):
    good = weights_with(lambda values: None)
    for others in ({"../evil": b"x"}, {"assets/words.txt": b"x"}, {"model.weights.npz": b"x"}):
        pack(tmp_path / "x.keras", chain(), good, **others)
        with pytest.raises(ValueError, match="holds other files besides a network's"):
            load_model(tmp_path / "x.keras")
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack(tmp_path / "x.keras", chain(), good, **{"config.json": "{}"})
    with pytest.raises(ValueError, match="holds other files besides a network's"):
        load_model(tmp_path / "x.keras")
    (tmp_path / "x.keras").write_bytes(good)
    with pytest.raises(ValueError, match="holds only weights"):
        load_model(tmp_path / "x.keras")


def test_paths_that_are_not_files_are_refused(tmp_path, limited):
    make_pipe(tmp_path / "pipe.keras")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "zeros.keras").symlink_to("/dev/zero")
    for file in tmp_path.glob("*.keras"):
        with pytest.raises(ValueError, match=r"is not a regular file|is a folder without a model\.keras"):
            load_model(file)


def test_what_keras_would_look_up_by_name_is_left_out(tmp_path, monkeypatch):
    """Initializers, and classes that someone registered, come neither from the file nor by its names."""
    deserialize, asked = keras.saving.deserialize_keras_object, []

    def noted(config, **how):
        asked.append(how)
        return deserialize(config, **how)

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", noted)
    config = chain(("Identity", {}))
    config["config"]["layers"][1]["registered_name"] = "mine>Other"
    config["config"]["layers"][2]["config"]["kernel_initializer"] = FOREIGN
    pack(tmp_path / "x.keras", config, weights_with(lambda values: None))
    with keras.saving.custom_object_scope({"mine>Other": keras.layers.ReLU}):
        network = load_model(tmp_path / "x.keras")
    assert asked and all(how == {"safe_mode": True} for how in asked)
    assert type(network.layers[1]) is keras.layers.Identity


def test_damaged_archives_are_named_so(tmp_path):
    pack(tmp_path / "x.keras", chain(), weights_with(lambda values: None))
    content = (tmp_path / "x.keras").read_bytes()
    start = content.index(b"model.weights.h5") + len("model.weights.h5")
    for damaged in (content[:-30], content[:start] + b"\xff" + content[start + 1 :]):
        (tmp_path / "x.keras").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.keras: .* because it is damaged\. Copy or download it again"):
            load_model(tmp_path / "x.keras")


def test_weights_above_the_limit_of_memory_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNGNB_MAX_GB", "0.001")
    pack(tmp_path / "x.keras", chain(), bytes(1_000_001))
    with pytest.raises(ValueError, match=r"unpacks to 0\.0 GB of weights"):
        load_model(tmp_path / "x.keras")


def test_weights_that_are_not_a_regular_file_are_refused(tmp_path):
    make_pipe(tmp_path / "x.weights.h5")
    with pytest.raises(ValueError, match="is not a regular file; name a file of weights"):
        check_weights(tmp_path / "x.weights.h5")


QUICK = [("unet", ZIP_DEFLATED), ("unet", ZIP_BZIP2), *((name, ZIP_STORED) for name in MODELS)]
ALL = [(name, method) for name in (*MODELS, "mobilenetv2") for method in (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2)]


@pytest.mark.parametrize(
    ("name", "method"), [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in ALL if each not in QUICK)]
)
def test_every_network_is_opened_as_keras_opens_it(tmp_path, name, method):
    architecture = {"name": name} if name in MODELS else {"name": "unet", "encoder": name}
    network = build_model(**architecture, size=32, filters=2, depth=2)
    network.compile("adam", "binary_crossentropy")
    network.save(tmp_path / "saved.keras")
    with ZipFile(tmp_path / "saved.keras") as archive:
        config, weights = archive.read("config.json"), archive.read("model.weights.h5")
    pack(tmp_path / "x.keras", config, weights, method)
    opened = load_model(tmp_path / "x.keras")
    for found, expected in zip(opened.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    picture = np.random.default_rng(0).random((1, 32, 32, 1), "f4")
    np.testing.assert_array_equal(opened.predict_on_batch(picture), network.predict_on_batch(picture))


@pytest.mark.parametrize(
    "encoder", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet50", "densenet121"))]
)
def test_large_networks_are_within_the_limits(encoder):
    with keras.StatelessScope(initialize_variables=False):  # so that it takes no memory here
        config = keras.saving.serialize_keras_object(build_model("unet", size=512, filters=64, encoder=encoder))
    costs = network_costs(json.loads(json.dumps(config)))
    assert 0.5e9 < costs.bytes < 1e9 and costs.multiplications < 2e12


def test_more_memory_may_be_allowed(tmp_path, monkeypatch):
    pack(tmp_path / "x.keras", chain(("Conv2D", {"filters": 100_000, "kernel_size": 1})), WEIGHTS)
    with pytest.raises(ValueError, match=r"would need about 1\.7 GB .* set LUNGNB_MAX_GB=2"):
        load_model(tmp_path / "x.keras")
    monkeypatch.setenv("LUNGNB_MAX_GB", "2")
    with pytest.raises(ValueError, match="cannot be loaded"):  # for its weights are missing
        load_model(tmp_path / "x.keras")
