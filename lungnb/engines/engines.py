"""Open a network with OpenVINO, ONNX Runtime or Keras, each behind the same callable.

`.keras` files are checked before Keras reads them (`networks.model_files`). Exported files hold no code, but their
readers are not safe for untrusted files. So lungnb opens only the files that it wrote itself (`engines.export`).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from lungnb.artefacts import MODEL, given_path
from lungnb.files import need
from lungnb.networks.machine import cores, has_fast_bf16
from lungnb.settings import SHIPPED

if TYPE_CHECKING:
    import keras

PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "keras": "keras"}
_OTHER_KINDS = {  # by the end of a file's name
    ".weights.h5": "holds only weights, without their network; ",
    ".h5": "is a model in the HDF5 format of an older Keras; ",
    ".hdf5": "is a model in the HDF5 format of an older Keras; ",
}
ENGINES = ("openvino", "onnx", "keras")  # `auto` takes the first that is installed


class ExportError(ValueError):
    """An export that could not be made or opened, or whose masks differ from those of Keras."""


Outputs: TypeAlias = np.ndarray | Sequence[np.ndarray]  # of a network with one output, or with two


class Prediction(NamedTuple):
    """The prediction of a network for a batch."""

    probability: np.ndarray  # (batch, size, size, 1), float32, of lung, 0 to 1
    chest: np.ndarray | None = None  # (batch, 1), float32, 0 to 1, near 1 for a chest; None without that output


class Engine(NamedTuple):
    """A network that is ready to run. It takes `(batch, size, size, 1)` float32, 0 to 1, and returns probabilities.

    `segment` corrects them by the temperature (`lungnb.engines.temperature`), which is the same for all engines.
    """

    name: str  # of the engine, with its version and precision
    size: int  # px, side of the square image that the network takes
    run: Callable[[np.ndarray], Outputs]  # returns the probabilities, or these and `chest`
    temperature: float = 1.0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return the probabilities of lung for a batch."""
        return self.predict(batch).probability

    def predict(self, batch: np.ndarray) -> Prediction:
        """Return all that the network predicts for a batch."""
        outputs = self.run(batch)
        return Prediction(outputs) if isinstance(outputs, np.ndarray) else Prediction(*outputs)


Network: TypeAlias = "Engine | keras.Model"  # a network in memory


def engine_of(model: Network) -> Engine:
    """Return a Keras model as an engine; return an engine as it is."""
    if isinstance(model, Engine):
        return model
    if not hasattr(model, "predict_on_batch"):
        raise ValueError(f"a model is the path of a .keras file, a Keras model or an Engine, not {model!r}.")
    # `predict_on_batch` is as fast as a `tf.function`, and returns NumPy arrays with every backend of Keras.
    return Engine(engine_name("keras"), model.input_shape[1], model.predict_on_batch)


def installed(engine: str) -> bool:
    """Return whether the package of an engine is installed."""
    return find_spec(PACKAGES[engine]) is not None


def require(engine: str) -> None:
    """Raise a ValueError that names the package to install if an engine is not installed."""
    if not installed(engine):
        raise ValueError(f"engine {engine} needs {PACKAGES[engine]}: pip install 'lungnb[fast]', or take engine keras.")


def engine_name(engine: str, precision: str = "f32") -> str:
    """Return an engine's name with its version and a precision, such as `onnx 1.32.0 f32`."""
    try:
        version = importlib.metadata.version(PACKAGES[engine])
    except importlib.metadata.PackageNotFoundError:  # because onnxruntime-gpu also installs the module onnxruntime
        version = getattr(importlib.import_module(PACKAGES[engine]), "__version__", "unknown")
    return f"{engine} {version} {precision}"


def precisions(engine: str) -> tuple[str, ...]:
    """Return the precisions to try an engine in, the fastest first."""
    return ("bf16", "f32") if engine == "openvino" and has_fast_bf16() else ("f32",)


def open_exported(engine: str, file: Path, precision: str = "f32") -> Engine:
    """Open an exported network: `.onnx` with `openvino` or `onnx`, `.xml` with `openvino`. May raise ExportError."""
    require(engine)
    try:
        return _open_onnx(file, precision) if engine == "onnx" else _open_openvino(file, precision)
    except ImportError as error:
        raise ExportError(f"engine {engine} is installed, and cannot be imported ({error}).") from error
    except Exception as error:  # engines raise many kinds
        raise ExportError(
            f"{file}: engine {engine} cannot open it. Remove it, and lungnb exports the model again."
        ) from error


def network_path(model: str | Path | None = None) -> Path:
    """Return the path of a network: the given one, its `model.keras` if it is a folder, or the one that lungnb ships.

    Raises ValueError for an empty path, because a variable that is not set must not mean another network.
    """
    path = SHIPPED if model is None else given_path(model, "the path of the network")
    return path / MODEL if (path / MODEL).is_file() else path


def load_model(model: str | Path | None = None) -> keras.Model:
    """Load a trained model from a `.keras` file; None means the one that lungnb ships.

    Run no code from the file (`model_files.read_network`); refuse other formats. Raises FileNotFoundError if there is
    no such file. Raises ValueError for a file that is not a model, or whose model does not take one grey image or does
    not give probabilities. A second output `chest` is allowed (`lungnb.networks.chest_output`).
    """
    path = model_file(model)
    return _load(path, path.stat().st_mtime_ns)


def model_file(model: str | Path | None = None) -> Path:
    """Return the resolved path of a `.keras` file, or of `model.keras` in a folder; None means the shipped network.

    Raises the errors of `load_model`.
    """
    path = network_path(model)
    if not path.suffix:
        need(path, "train or adapt a network, or name another file,")
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        networks = ", ".join(str(file.parent) for file in sorted(path.glob(f"*/{MODEL}")))
        what = f"Name one of {networks}." if networks else "Name a .keras file, or the folder of a training."
        raise ValueError(f"{path}: is a folder without a {MODEL}. {what}")
    if path.suffix != ".keras":
        kinds = [kind for end, kind in _OTHER_KINDS.items() if path.name.lower().endswith(end)]
        kinds += ["is a SavedModel folder; "] if (path / "saved_model.pb").is_file() else [""]
        raise ValueError(
            f"{path}: {kinds[0]}a model is a .keras file; other formats can carry code and are not opened. Save the "
            "whole network where it was built, by model.save('name.keras')."
        )
    if not need(path, "train a model, or name another file,").is_file():
        raise ValueError(f"{path}: is not a regular file; name a .keras file.")
    return path.resolve()


@lru_cache(maxsize=4)
def _load(path: Path, _modified: int) -> keras.Model:
    from lungnb.networks.chest_output import has_chest
    from lungnb.networks.model_files import read_network, refuse_logits

    model = read_network(path)
    shape, mask_shape = model.input_shape, model.output_shape[0] if has_chest(model) else model.output_shape
    if shape != mask_shape or not isinstance(shape, tuple) or shape != (None, *shape[1:2] * 2, 1):
        raise ValueError(
            f"{path}: takes {shape}, gives {model.output_shape}; (None, size, size, 1) is expected of both: "
            f"{_form_remedy(model)}, and save it again."
        )
    compute_in_float32(model)
    model.jit_compile = False  # XLA takes seconds to compile and is no faster afterwards on a CPU
    refuse_logits(model, path)
    return model


def _form_remedy(model: keras.Model) -> str:
    """Return how to change a network that does not take one grey image and give one mask of its size."""
    if len(model.inputs) > 1 or len(model.outputs) > 1:
        return "take one input and one output of it, by keras.Model(model.inputs[0], model.outputs[0])"
    if model.inputs[0].shape[-1] != 1:
        return "build it for grey images, which have one channel"
    if model.outputs[0].shape[-1] != 1:
        return "let it end with one channel, the probability of lung, as Conv2D(1, 1, activation='sigmoid') gives it"
    return "build it for square images, and for masks of the same size"


def compute_in_float32(model: keras.Model) -> None:
    """Let a network that was trained in half precision compute in float32, which all engines and CPUs can."""
    for layer in model.layers:
        layer.dtype_policy = "float32"
        if hasattr(layer, "layers"):
            compute_in_float32(layer)


def _open_openvino(file: Path, precision: str) -> Engine:
    import openvino

    core, lock = openvino.Core(), Lock()
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": cores()}
    network = core.compile_model(core.read_model(file), "CPU", options)
    request = network.create_infer_request()

    def run(batch: np.ndarray) -> Outputs:
        with lock:  # because only one thread at a time may use a request
            return [*request.infer([batch]).values()]

    return Engine(engine_name("openvino", precision), network.input(0).partial_shape[1].get_length(), run)


def _open_onnx(file: Path, precision: str) -> Engine:
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # because on Windows no environment variable stops them
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    # Because threads that spin while they wait take the cores from those that read and write files.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    name = engine_name("onnx", precision)
    return Engine(name, image.shape[1], lambda batch: session.run(None, {image.name: batch}))
