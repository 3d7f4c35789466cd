"""Files called `.keras`: structures that grow, that hold code, that are not networks, and damaged ones."""

import json
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from hostile import Case
from hostile.archives import Member, archive
from hostile.places import link, pipe
from hostile.streams import GB
from lungnb.settings import SHIPPED

COMMAND = ("segment", "{good}", "--out", "{out}", "--engine", "keras", "--model", "{path}")
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"


@cache
def shipped() -> dict[str, bytes]:
    """Return the members of the file of the network that lungnb ships."""
    with zipfile.ZipFile(SHIPPED) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def model(path: Path, **changes: bytes | tuple | None) -> None:
    """Write that file with changed members (config, weights, metadata, more); None leaves one out."""
    names = {"config": CONFIG, "weights": WEIGHTS, "metadata": METADATA}
    members = shipped() | {names.get(name, name): content for name, content in changes.items()}
    parts = {
        name: content if isinstance(content, tuple) else (content,)
        for name, content in members.items()
        if content is not None
    }
    path.write_bytes(archive(*[Member(name, content) for name, content in parts.items()]))


def configured(path: Path, change: Callable[[dict], object]) -> None:
    """Write that file with a changed structure; `change` changes it in place or returns another."""
    config = json.loads(shipped()[CONFIG])
    changed = change(config)
    config = config if changed is None else changed
    model(path, config=config if isinstance(config, bytes) else json.dumps(config).encode())


def layer(name: str, config: dict, module: str = "keras.layers", registered: str | None = None) -> dict:
    """Return the structure of a layer, or of anything else that has a module and a class."""
    return {"module": module, "class_name": name, "config": config, "registered_name": registered, "build_config": {}}


def sequence(*layers: dict, shape: tuple = (None, 32, 32, 1)) -> dict:
    """Return the structure of layers in a row."""
    start = layer("InputLayer", {"batch_shape": shape, "dtype": "float32", "name": "image"})
    return layer("Sequential", {"name": "x", "layers": [start, *layers]}, "keras")


def first_convolution(config: dict, **changes: object) -> None:
    """Change settings of a network's first convolution."""
    layers = config["config"]["layers"]
    next(each for each in layers if each["class_name"] == "Conv2D")["config"].update(changes)


def structures() -> Iterator[tuple[str, Callable[[dict], object]]]:
    """Yield names and changes of structures that lungnb must refuse."""
    dense, code = partial(layer, "Dense"), {"class_name": "__lambda__", "config": {"value": "4wE="}}
    for name, top in {
        "list": [],
        "number": 5,
        "text": "x",
        "none": b"null",
        "empty": {},
        "nan": b"NaN",
        "cut": b"{",
        "binary": b"\xff\xfe",
    }.items():
        yield f"is_{name}", lambda _, top=top: top
    yield "nested_3MB", lambda _: b'{"a":' * 600_000 + b"1" + b"}" * 600_000
    yield "nested_lists", lambda _: b"[" * 1_500_000 + b"]" * 1_500_000
    yield "nested_layers", lambda config: nest(config, 3_000)
    yield "number_of_5MB", lambda _: b"1" * 5_000_000
    yield "text_of_9MB", lambda config: config.update(name="x" * 9_000_000)
    yield "keys_500k", lambda config: config.update({f"k{number}": 0 for number in range(500_000)})
    for count in (2_000, 50_000):
        yield (
            f"layers_{count}",
            lambda _, count=count: sequence(
                *[layer("Activation", {"name": f"a{number}", "activation": "relu"}) for number in range(count)]
            ),
        )
    for units in (0, -1, 10**6, 10**9, 2**62, 10**30, "x", None):
        yield f"dense_{units}", lambda _, units=units: sequence(dense({"name": "d", "units": units}))
        yield f"filters_{units}", lambda config, units=units: first_convolution(config, filters=units)
    for size in ([0, 0], [10**5, 10**5], [-1, 2], "x", [10**30, 1]):
        yield (
            f"kernel_{str(size)[:12].strip('[]').replace(', ', 'x')}",
            lambda config, size=size: first_convolution(config, kernel_size=size),
        )
    for shape in (
        (None, 10**5, 10**5, 1),
        (None, None, None, 1),
        (10**9, 32, 32, 1),
        (None, 32, 32, 3),
        (None, 0, 0, 1),
        (None, 2**62, 2**62, 1),
        (),
        None,
    ):
        yield f"input_{str(shape).replace(', ', 'x').strip('()')}", lambda _, shape=shape: sequence(shape=shape)
    yield (
        "upsampled",
        lambda _: sequence(
            *[layer("UpSampling2D", {"name": f"u{number}", "size": [1000, 1000]}) for number in range(3)]
        ),
    )
    yield "padded", lambda _: sequence(layer("ZeroPadding2D", {"name": "p", "padding": [[10**6, 0], [10**6, 0]]}))
    yield (
        "repeated",
        lambda _: sequence(layer("Flatten", {"name": "f"}), layer("RepeatVector", {"name": "r", "n": 10**8})),
    )
    yield (
        "constant_large",
        lambda _: sequence(
            dense(
                {
                    "name": "d",
                    "units": 1,
                    "bias_initializer": layer("Constant", {"value": [[0.0] * 1000] * 300}, "keras.initializers"),
                }
            )
        ),
    )
    for name, top in {
        "dense": dense({"units": 1}),
        "optimizer": layer("Adam", {}, "keras.optimizers"),
        "loss": layer("Dice", {}, "keras.losses"),
        "dtype": layer("DTypePolicy", {"name": "float32"}, "keras"),
        "function": {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"},
    }.items():
        yield f"top_{name}", lambda _, top=top: top
    for name, (module, class_name) in {
        "os": ("os", "system"),
        "subprocess": ("subprocess", "Popen"),
        "builtins": ("builtins", "eval"),
        "pickle": ("pickle", "loads"),
        "file": ("keras.utils", "get_file"),
        "model": ("keras.models", "load_model"),
        "missing": ("no.such", "Module"),
        "relative": ("..", "x"),
    }.items():
        yield f"module_{name}", lambda _, m=module, c=class_name: layer(c, {"name": "touch escaped"}, m)
        yield f"layer_module_{name}", lambda _, m=module, c=class_name: sequence(layer(c, {"name": "touch escaped"}, m))
    yield "lambda", lambda _: sequence(layer("Lambda", {"name": "l", "function": code}))
    yield "lambda_activation", lambda config: first_convolution(config, activation=code)
    yield "lambda_initializer", lambda config: first_convolution(config, kernel_initializer=code)
    yield "tf_saved_model", lambda _: sequence(layer("TFSMLayer", {"name": "t", "filepath": "/"}))
    yield "vocabulary_file", lambda _: sequence(layer("StringLookup", {"name": "s", "vocabulary": "/etc/passwd"}))
    yield "secret_unicode", lambda config: config.update(class_name="\ud800\x1b[31m\nforged")


def nest(config: dict, depth: int) -> bytes:
    """Return a network in a network, and so on, as text."""
    start, end = json.dumps(layer("Sequential", {"name": "n", "layers": ["|"]}, "keras")).split('"|"')
    return (start * depth + json.dumps(config) + end * depth).encode()


def cases() -> Iterator[Case]:
    """Yield the cases."""
    whole, made = SHIPPED.read_bytes(), []
    for name, change in structures():
        # Weights replace what an initializer computes, so that it need not be run.
        answer = "either" if "initializer" in name else "sentence"
        made.append(Case(f"structure_{name}.keras", partial(configured, change=change), answer))
    members = {
        "config_2GB": {"config": (2 * GB,)}, "config_spaces": {"config": (b"{", b" " * 10**6 * 9, b"}")},
        "metadata_2GB": {"metadata": (2 * GB,)},
        "weights_3GB": {"weights": (3 * GB,)}, "weights_junk": {"weights": b"junk"},
        "weights_cut": {"weights": shipped()[WEIGHTS][:99_999]},
        "weights_none": {"weights": None}, "config_none": {"config": None}, "outside": {"../escaped": b"x"},
        "assets_2GB": {"assets/x": (2 * GB,)},
        "weights_flipped": {"weights": shipped()[WEIGHTS][:2_000] + b"\xff" * 500 + shipped()[WEIGHTS][2_500:]},
    }  # fmt: skip
    for name, changes in members.items():
        answer = "either" if name in ("metadata_2GB", "outside", "assets_2GB", "weights_flipped") else "sentence"
        made.append(Case(f"member_{name}.keras", partial(model, **changes), answer))
    contents = {
        "cut": whole[:-1000],
        "empty": b"",
        "text": b"no model",
        "hdf5": shipped()[WEIGHTS],
        "pickle": b"\x80\4\x95.",
        "zeros": bytes(10**6),
    }
    made += [
        Case(f"{name}.keras", lambda path, c=content: path.write_bytes(c), "sentence")
        for name, content in contents.items()
    ]
    made += [
        Case(f"named_{end}", lambda path: path.write_bytes(whole), "sentence", f"x.{end}")
        for end in ("h5", "pkl", "pb", "onnx")
    ]
    made.append(Case("pipe.keras", pipe, "sentence"))
    made.append(Case("link_zero.keras", partial(link, to="/dev/zero"), "sentence"))
    made.append(Case("folder.keras", Path.mkdir, "sentence"))
    made.append(Case("good.keras", lambda path: path.write_bytes(whole), "nothing"))
    yield from (case._replace(command=COMMAND) for case in made)
