"""Read `.keras` files from any source safely: check them as data, and only then let Keras build the network.

A `.keras` file is a zip archive of a network's configuration (`config.json`) and its weights (`model.weights.h5`). The
configuration can name any class of Keras and any number. So lungnb builds only the layers listed here, and only after
`network_costs` has computed what the network needs. Keras never opens the archive itself.
"""

import json
import math
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any  # Any: what a network's configuration holds
from zipfile import BadZipFile, ZipFile

import h5py
import numpy as np

from lungnb.formats.opening import LIMIT_VARIABLE, Refused, memory_limit, open_file, refuse_memory
from lungnb.networks.backend import keras
from lungnb.networks.costs import Unfit, network_costs

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
MAX_CONFIG_BYTES = 2_000_000  # of the configuration; a U-Net with DenseNet121 has 357,000
MAX_DEPTH = 50  # brackets within brackets; that U-Net has 14
MAX_CALLS = 1_000  # of layers for one image; that U-Net makes 366
MAX_TRIES, MAX_PASSES = 20_000, 100  # Keras's attempts to call layers, some of whose inputs do not exist yet
MAX_INFLATION = 20  # bytes of weights for each stored byte; Keras does not compress them
_MIN_INFLATED_BYTES = 1_000_000  # weights may always have as many bytes as this
MAX_ARRAYS = 15_000  # groups and arrays of weights; that U-Net has 4,000
_MAX_ROUNDING = 1e-3  # by which a probability may lie outside 0 to 1
MULTIPLICATIONS_PER_BYTE = 2_000  # of the memory limit; this is about a minute per image on two cores

Json = dict[str, Any] | list[Any] | str | float | bool | None
Classes = Set[tuple[str | None, str]]  # module and name of each


def _classes(module: str, names: str) -> Classes:
    return {(module, name) for name in names.split()}


_NETWORKS = (
    _classes("keras", "Sequential Functional")
    | _classes("keras.models", "Sequential Functional")
    | _classes("keras.src.models.sequential", "Sequential")
    | _classes("keras.src.models.functional", "Functional")
)
# Layers of image networks that read no file, and whose costs follow from the shapes of their inputs and outputs.
_LAYERS = (
    _classes(
        "keras.layers",
        "InputLayer Identity Activation ReLU LeakyReLU PReLU ELU Softmax Add Subtract Multiply Average Maximum Minimum "
        "Concatenate Conv1D Conv2D Conv2DTranspose DepthwiseConv2D SeparableConv2D Dense MultiHeadAttention "
        "MaxPooling2D AveragePooling2D GlobalMaxPooling2D GlobalAveragePooling2D UpSampling2D ZeroPadding2D Cropping2D "
        "Flatten Reshape Permute RepeatVector BatchNormalization LayerNormalization GroupNormalization "
        "UnitNormalization Normalization Rescaling Dropout SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout "
        "RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast RandomBrightness",
    )
    | _classes("keras.src.ops.numpy", "Add Subtract Multiply Divide TrueDivide Maximum Minimum Mean Max Concatenate")
    | _classes("keras.src.ops.nn", "Relu Sigmoid Silu Gelu Softmax")
)
# Classes that a layer's settings may contain.
_PARTS = (
    {(None, "__keras_tensor__"), ("keras", "DTypePolicy"), ("builtins", "function"), ("keras.activations", "function")}
    | _classes("keras.layers", "ReLU LeakyReLU ELU Softmax")
    | _classes("keras.regularizers", "L1 L2 L1L2")
    | _classes("keras.constraints", "MaxNorm MinMaxNorm NonNeg UnitNorm")
)
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
SAVE = "Save the whole network where it was built, by model.save('name.keras')."
HDF5 = f"is a model in the HDF5 format of an older Keras. Load it there with keras.models.load_model. {SAVE}"
WEIGHTS_ONLY = f"holds only weights, without the network that they belong to. {SAVE}"
_ZEROS: Json = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}


def read_network(path: Path) -> keras.Model:
    """Return the network in a `.keras` file with its weights, not compiled.

    Raises Refused for a file without a network, a network with code, and one that needs more than `memory_limit`.
    """
    with open_file(path) as file, TemporaryDirectory() as folder:
        try:
            content, weights = _unpack(file, Path(folder))
            config: Any = _checked(content, _NETWORKS)
            _check_costs(path, config)
            check_weights(weights)
            network = keras.saving.deserialize_keras_object(config, safe_mode=True)
            network.load_weights(weights)
        except Unfit as error:
            raise Refused(f"{path}: {error}") from error
        except Refused:
            raise
        except (BadZipFile, zlib.error, EOFError) as error:
            raise Refused(
                f"{path}: cannot be loaded as a Keras model, because it is damaged. Copy or download it again."
            ) from error
        except Exception as error:  # Keras, h5py and JSON raise many kinds
            raise Refused(
                f"{path}: cannot be loaded as a Keras model: it is not what Keras {keras.__version__} writes. Save the "
                f"network again with this version, by model.save('{path.name}')."
            ) from error
    return network


def refuse_unreadable(model: keras.Model, name: str) -> None:
    """Raise Refused for a network that `read_network` would not read from its file, as with a layer of your own."""
    try:
        _checked(json.loads(model.to_json()), _NETWORKS)
    except Unfit as error:
        raise Refused(f"{name}: {error}") from error


def refuse_logits(model: keras.Model, name: object) -> None:
    """Raise ValueError if a network does not give probabilities for an image of noise that is black at the top."""
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ValueError(
            f"{name}: has weights that are not numbers (NaN), as after a training that failed. Train it again, with a "
            "smaller learning_rate."
        )
    last = [model.layers[-1]] if len(model.outputs) == 1 else [model.get_layer(each) for each in model.output_names]
    last = [layer.layers[-1] if isinstance(layer, keras.Model) else layer for layer in last]  # `chest` is a network
    if all(getattr(layer, "activation", None) is keras.activations.sigmoid for layer in last):
        return  # a sigmoid needs no trial, which takes time
    size = model.input_shape[1]
    shade = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    image = np.random.default_rng(0).random((size, size), np.float32) * shade
    outputs = keras.tree.flatten(model.predict_on_batch(image[None, :, :, None]))
    values = np.concatenate([output.ravel() for output in outputs])
    low, high = float(values.min()), float(values.max())
    if not -_MAX_ROUNDING <= low <= high <= 1 + _MAX_ROUNDING:  # also if they are not numbers
        raise ValueError(
            f"{name}: gives values from {low:.3g} to {high:.3g}, not probabilities from 0 to 1. If they are logits, "
            "add keras.layers.Activation('sigmoid') as its last layer, and save it again."
        )


def check_weights(file: Path) -> None:
    """Raise ValueError if a `.weights.h5` file refers to other files, or claims more data than it has.

    Keras stores arrays whole and uncompressed. Chunks and filters could unpack to any size; links could read any file.
    """
    if not os.path.isfile(file):  # because HDF5 would wait for a pipe
        raise Unfit("is not a regular file; name a file of weights.")
    with h5py.File(file) as weights:
        names: list[str] = []

        def fault_of(name: str, link: object) -> str | None:
            names.append(name)
            if len(names) > MAX_ARRAYS:
                return f"holds more than {MAX_ARRAYS:,} arrays of weights"
            if not isinstance(link, h5py.HardLink):
                return "holds weights that are links to other places"
            array = weights.get(name)
            return _wrong_array(array, file.stat().st_size) if isinstance(array, h5py.Dataset) else None

        if reason := weights.visititems_links(fault_of):
            raise Unfit(f"{reason}; save the model with Keras again.")


def _wrong_array(array: h5py.Dataset, file_bytes: int) -> str | None:
    """Return what is wrong with an array of weights, or None."""
    if array.external or array.is_virtual:
        return "holds weights that lie in other files"
    if array.chunks or array.dtype.kind not in "fiubV" or array.dtype.fields:
        return "holds weights that are compressed, or no numbers"
    if array.nbytes > file_bytes:
        return "claims more weights than it holds"
    return None


def _unpack(file: IO[bytes], folder: Path) -> tuple[Json, Path]:
    """Return the configuration in a `.keras` file, and write its weights to a file in a folder."""
    start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        with h5py.File(file) as stored:
            has_network = "model_config" in stored.attrs
        raise Unfit(HDF5 if has_network else WEIGHTS_ONLY)
    if not start.startswith(b"PK"):
        raise Unfit(f"cannot be loaded as a Keras model: it is not a .keras file, whatever its name. {SAVE}")
    with ZipFile(file) as archive:
        names = archive.namelist()
        if "config.json" not in names:
            raise Unfit(f"cannot be loaded as a Keras model: it is a zip archive of other files. {SAVE}")
        if "model.weights.h5" not in names:
            raise Unfit(f"describes a network without its weights. {SAVE}")
        if len(set(names)) < len(names) or not set(names) <= MEMBERS:
            raise Unfit("holds other files besides a network's; save the model with Keras again.")
        config, stored = archive.getinfo("config.json"), archive.getinfo("model.weights.h5")
        if config.file_size > MAX_CONFIG_BYTES:
            raise Unfit(f"describes its layers in {config.file_size:,} bytes; {MAX_CONFIG_BYTES:,} are the limit.")
        if stored.file_size > min(MAX_INFLATION * stored.compress_size + _MIN_INFLATED_BYTES, memory_limit()):
            raise Unfit(f"unpacks to {stored.file_size / 1e9:.1f} GB of weights; save the model with Keras again.")
        weights = folder / "model.weights.h5"
        with archive.open(stored) as source, weights.open("wb") as target:
            shutil.copyfileobj(source, target)
        return json.loads(archive.read(config)), weights


def _checked(item: Json, allowed: Classes, depth: int = 0) -> Json:
    """Return what lungnb needs of a part of a configuration; raise Unfit for a class that is not `allowed`.

    Initializers become zeros, because all weights come from the file. The settings of training, and references to
    objects elsewhere in the configuration, are left out.
    """
    if depth > MAX_DEPTH:
        raise Unfit(f"nests its layers more than {MAX_DEPTH} brackets deep; build the network in a simpler way.")
    if isinstance(item, list):
        return [_checked(each, _PARTS, depth + 1) for each in item]
    if not isinstance(item, dict):
        return item
    kind = _kind(item)
    if "class_name" in item and not (all(isinstance(name, str | None) for name in kind) and kind in allowed):
        raise Unfit(_wrong_class(item, allowed))
    result: dict[str, Any] = {}
    for key, value in item.items():
        if key.endswith("_initializer"):
            result[key] = _ZEROS
        elif key == "config" and kind in _NETWORKS:
            layers = [_checked(layer, _LAYERS | _NETWORKS, depth + 3) for layer in value["layers"]]
            settings: Any = _checked({**value, "layers": []}, _PARTS, depth + 1)
            result[key] = settings | {"layers": layers}
        elif key not in ("compile_config", "shared_object_id", "registered_name"):
            result[key] = _checked(value, _PARTS, depth + 1)
    return result


def _wrong_class(item: dict[str, Any], allowed: Classes) -> str:
    """Return the reason for refusing an object in the configuration of a network."""
    name = str(item["config"] if item["class_name"] == "function" else item["class_name"])[:50]
    if name in _CODE:
        return f"holds code (a {name} layer), which is not run; build the network without it."
    if not str(item.get("module")).startswith("keras"):
        return f"holds {name!a}, which is not a class of Keras, and whose code is not run; build it of Keras's layers."
    if allowed is _NETWORKS:
        return f"holds a {name!a}, not a network; save the whole model."
    return f"holds a {name!a}, which is not among the layers that lungnb opens; build the network without it."


def _check_costs(path: Path, config: dict[str, Any]) -> None:
    """Raise Unfit or Refused for a network that needs too much time or memory."""
    if _calls(config) > MAX_CALLS:
        raise Unfit(f"calls more than {MAX_CALLS:,} layers for one image; take a smaller network.")
    costs = network_costs(config)
    refuse_memory(path, costs.bytes, "its network", "Take a smaller network")
    gigabytes = costs.multiplications / MULTIPLICATIONS_PER_BYTE / 1e9  # a memory limit that would allow them
    if gigabytes > memory_limit() / 1e9:
        raise Unfit(
            f"its network needs {costs.multiplications:.0e} multiplications for one image, and the limit is "
            f"{MULTIPLICATIONS_PER_BYTE * memory_limit():.0e}. Take a smaller network, or set "
            f"{LIMIT_VARIABLE}={math.ceil(gigabytes)}."
        )


def _calls(network: dict[str, Any]) -> int:
    """Return how often Keras calls layers when it builds a network, including the networks within it."""
    layers = network["config"]["layers"]
    costs = [_calls(layer) if _kind(layer) in _NETWORKS else 1 for layer in layers]
    if network["class_name"] == "Sequential":  # for each added layer, Keras calls all of them again
        return sum((len(costs) - index) * cost for index, cost in enumerate(costs))
    _check_order(layers)
    return sum(cost * max(len(layer["inbound_nodes"]), 1) for cost, layer in zip(costs, layers, strict=True))


def _check_order(layers: list[dict[str, Any]]) -> None:
    """Raise Unfit for an order of layers that Keras follows slowly.

    Keras goes through the list again and again, and calls each layer if its inputs exist.
    """
    waiting = {layer["name"]: [list(_sources(call)) for call in layer["inbound_nodes"]] for layer in layers}
    calls_done = Counter(layer["name"] for layer in layers if not layer["inbound_nodes"] or _kind(layer) in _NETWORKS)
    tries = passes = 0
    has_progress = True
    while waiting and has_progress:
        has_progress, passes = False, passes + 1
        for name, calls in [*waiting.items()]:
            while calls and all(calls_done[source] >= max(index + 1, -index) for source, index in calls[0]):
                tries += 1 + len(calls.pop(0))
                calls_done[name] += 1
                has_progress = True
            if calls:
                tries += 1 + len(calls[0])
            else:
                del waiting[name]
        if tries > MAX_TRIES or passes > MAX_PASSES:
            raise Unfit("lists its layers in an order that takes too long to follow; save it with Keras again.")


def _sources(item: Json) -> Iterator[tuple[str, int]]:
    """Yield the layer that made each input tensor of a call, and the number of that layer's call."""
    if isinstance(item, dict) and item.get("class_name") == "__keras_tensor__":
        name, index, _ = item["config"]["keras_history"]
        yield name, index
    elif isinstance(item, (list, dict)):
        for each in item.values() if isinstance(item, dict) else item:
            yield from _sources(each)


def _kind(item: dict[str, Any]) -> tuple[Any, Any]:
    """Return the module and the class of an object in a configuration."""
    return item.get("module"), item.get("class_name")
