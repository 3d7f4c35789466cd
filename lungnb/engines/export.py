"""Export a trained network for other engines, and open it with one of them if its masks are those of Keras.

`segment` exports a network once, into lungnb's folder in the user's cache, under the checksum of its `.keras` file. The
network that lungnb ships comes with its export. So a later run needs neither TensorFlow nor Keras. An engine of another
version or precision is checked before it is used (`parity`).
"""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import ExitStack, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from lungnb import __version__
from lungnb.artefacts import RUN, given_path
from lungnb.engines import engines, parity
from lungnb.engines.engines import ENGINES, Engine, ExportError, load_model, model_file, open_exported
from lungnb.engines.parity import Parity
from lungnb.engines.temperature import read_temperature
from lungnb.files import writable, written
from lungnb.formats.opening import digest_of_file
from lungnb.masks import CHEST_THRESHOLD, LUNG_THRESHOLD, Window
from lungnb.messages import print_lines
from lungnb.networks.records import trained_window
from lungnb.settings import SHIPPED

if TYPE_CHECKING:
    import keras
    from onnx import GraphProto, ModelProto

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
_LAYOUT = 3  # of exported files; those of another layout, in caches of earlier versions, are made anew
_TENSORS = ("image", "probability", "chest")  # their names in ONNX; networks without the last output have two
READERS = {"onnx": ("onnx", "openvino"), "openvino": ("openvino",)}  # the engines that read each format


def export_model(
    model: str | Path | None = None, format: str = "onnx", folder: str | Path = ".", half: bool = False
) -> Path:
    """Write a trained model for another engine, check that it gives the same masks, and return the file.

    Write `<stem>.onnx`, or `<stem>.xml` with `<stem>.bin`, and beside it the `.npz` and the `.json` of the parity
    check. The exported network takes `image`, `(batch, size, size, 1)` float32, 0 to 1, and gives `probability`, that
    of lung, in the same shape. If the model has the output `chest`, `(batch, 1)`, the export has it too. The metadata
    of the ONNX file say how to use it; docs/how-to-onnx.md does so without lungnb.

    `model` is a `.keras` file, None for the network that lungnb ships. `format` is `onnx` or `openvino`. With `half`,
    the weights of ONNX are stored in half precision, which halves the file, and computed in float32.

    Raises ValueError for an unknown format, a package that is not installed, and an export whose masks differ too much
    from those of Keras (MIN_MEAN_DICE, MIN_WORST_DICE). Such an export is removed.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}.")
    path, folder = model_file(model), given_path(folder, "the folder of the export")
    with writable(folder / path.name):  # before minutes of work
        folder.mkdir(parents=True, exist_ok=True)
    return _export(path, format, folder / path.stem, half)


def open_network(model: str | Path | None = None, engine: str = "auto") -> Engine:
    """Open a trained model with an engine: `openvino`, `onnx`, `keras`, or `auto` for the first that is installed.

    OpenVINO and ONNX Runtime run on the CPU; with a GPU, `keras` may be faster. OpenVINO computes in bf16 if the
    processor is faster in it (`machine.has_fast_bf16`) and the masks remain those of Keras.

    Raises FileNotFoundError if there is no model, ValueError if the file is not a model, or if the engine is not
    installed or does not give the masks of Keras. In the last case `auto` warns and takes the next engine.
    """
    if engine not in ("auto", *ENGINES):
        raise ValueError(f"engine must be one of auto, {', '.join(ENGINES)}, not {engine!r}.")
    path = model_file(model)
    return _open(path, path.stat().st_mtime_ns, engine)


def cache_folder() -> Path:
    """Return the folder of exported networks: LUNGNB_CACHE, else lungnb's folder in the user's cache."""
    return given_path(os.environ.get("LUNGNB_CACHE") or platformdirs.user_cache_path("lungnb"), "LUNGNB_CACHE")


def _cached(digest: str) -> Path:
    """Return the place of an exported network in the cache, without its suffix."""
    return cache_folder() / f"{digest}_{_LAYOUT}"


@lru_cache(maxsize=4)
def _open(path: Path, _modified: int, engine: str) -> Engine:
    """Open a model with an engine; export it and check the engine if that was not done before."""
    if engine == "auto":
        return _open_first(path)
    if engine == "keras":
        return engines.engine_of(load_model(path))
    engines.require(engine)
    file = _exported(path)
    if file is None:
        print_lines(f"Exporting {path.name} for {engine}, this once ...")
        try:
            file = _export(path, "onnx", _cached(digest_of_file(path)))
        except OSError as error:
            hint = "set LUNGNB_CACHE to another folder, or take engine keras, which needs none"
            raise ExportError(f"{path}: its export cannot be kept in {cache_folder()}: {hint} ({error}).") from error
    *faster, last = engines.precisions(engine)
    for precision in faster:
        with suppress(ExportError):  # the JSON records it, and the last precision is the usual one
            return _open_checked(engine, file, precision)
    return _open_checked(engine, file, last)


def _open_first(path: Path) -> Engine:
    """Open a model with the first engine that is installed and gives the masks of Keras; Keras is the last."""
    for name in ENGINES[:-1]:
        if engines.installed(name) and (_exported(path) or find_spec("tf2onnx")):
            try:
                return _open(path, path.stat().st_mtime_ns, name)
            except ExportError as error:
                warnings.warn(f"{error} Another engine is taken.", stacklevel=5)
    return engines.engine_of(load_model(path))


def _open_checked(engine: str, file: Path, precision: str) -> Engine:
    """Open an exported file with an engine; check this version of the engine once, and record the result."""
    name, record = engines.engine_name(engine, precision), parity.read_record(file)
    notes = _cached(record["model"]).with_suffix(".onnx")  # the same file, unless it is the one that lungnb ships
    known = (parity.parities(notes) | parity.parities(file)).get(name)
    if known:
        parity.refuse_disagreement(name, known, file)  # before the file is opened, which takes a while
        return open_exported(engine, file, precision)
    opened = open_exported(engine, file, precision)
    measured = parity.measure_parity(opened, parity.read_reference(parity.beside(file, ".npz"), opened.size))
    with suppress(OSError):  # if the cache cannot be written, only time is lost
        parity.add_parities(notes, record, {name: measured})
    parity.refuse_disagreement(name, measured, file)
    return opened


def _export(path: Path, format: str, base: Path, half: bool = False) -> Path:
    """Write a model in another format as `base` with its suffix, if the engines that read it agree with Keras."""
    readers = [engine for engine in READERS[format] if engines.installed(engine)]
    file = base.with_name(base.name + FORMATS[format])
    if not readers:
        raise ExportError(f"{file}: to check it, {READERS[format][0]} is needed: pip install 'lungnb[fast]'.")
    model = load_model(path)
    reference = parity.draw_reference(model)
    measured: dict[str, Parity] = {}
    with ExitStack() as stack:
        temporary = stack.enter_context(written(file))
        if format == "openvino":
            stack.enter_context(written(file.with_suffix(".bin")))  # OpenVINO writes it beside the `.xml`
        try:
            _convert(model, format, temporary, half, trained_window(path.with_name(RUN)), read_temperature(path))
        except Exception as error:  # converters raise many kinds
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ExportError(f"{path}: cannot be exported to {format} ({reason}).") from error
        for engine in readers:
            opened = open_exported(engine, temporary)
            measured[opened.name] = parity.measure_parity(opened, reference)
            parity.refuse_disagreement(opened.name, measured[opened.name], file)
        parity.write_reference(file, reference)
        parity.add_parities(file, {"model": digest_of_file(path), "file": digest_of_file(temporary)}, measured)
    return file


def _exported(path: Path) -> Path | None:
    """Return the ONNX file of a model, shipped with lungnb or in the cache, if it was checked and not changed since."""
    digest = digest_of_file(path)
    for file in (SHIPPED.with_suffix(".onnx"), _cached(digest).with_suffix(".onnx")):
        record, is_whole = parity.read_record(file), file.is_file() and parity.beside(file, ".npz").exists()
        if is_whole and record.get("model") == digest and record.get("file") == digest_of_file(file):
            return file
    return None


def _convert(
    model: keras.Model, format: str, file: Path, half: bool, window_hu: Window | None, temperature: float
) -> None:
    """Write a Keras model to `file` in a format of `FORMATS`; with `half`, store its weights in half precision.

    `window_hu` is that of its training. It and `temperature` are for the metadata of ONNX.
    """
    import keras
    import onnx

    from lungnb.networks.backend import quiet_stderr

    # Because Keras knows the input only of a model that was called before.
    signature = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")]
    for library in ("tensorflow", "tf2onnx"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with quiet_stderr(), warnings.catch_warnings(action="ignore"), TemporaryDirectory() as folder:
        onnx_file = file if format == "onnx" else Path(folder, "model.onnx")
        model.export(str(onnx_file), format="onnx", verbose=False, input_signature=signature)
        network = onnx.load(onnx_file)
        _replace_erfc(network.graph)
        if half:
            _halve(network.graph)
        describe(network, window_hu, temperature)
        onnx.save(network, onnx_file)
        if format == "openvino":
            # From the ONNX file, because Keras would call OpenVINO's converter, which reports each use over the web.
            import openvino

            openvino.save_model(openvino.Core().read_model(onnx_file), file, compress_to_fp16=half)


def describe(network: ModelProto, window_hu: Window | None, temperature: float = 1.0) -> None:
    """Name the tensors of an ONNX network `image`, `probability` and `chest`; say in its metadata how to use it.

    docs/how-to-onnx.md explains the metadata, which users read without lungnb.
    """
    from onnx.helper import set_model_props

    (image,), outputs = network.graph.input, [*network.graph.output]
    new_names = dict(zip((image.name, *(output.name for output in outputs)), _TENSORS, strict=False))
    for node in network.graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    for tensor in (image, *outputs):
        tensor.name = new_names[tensor.name]
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    facts = {
        "lungnb_version": __version__, "input_size": str(image.type.tensor_type.shape.dim[1].dim_value),
        "input_range": "0 (black) to 1 (white)",
        "padding": "black borders keep the aspect ratio; the image is in the middle",
        "window_hu": "{:g} {:g}".format(*window_hu) if window_hu else "none", "sigmoid": "inside",
        "threshold": str(LUNG_THRESHOLD),
    }  # fmt: skip
    facts |= {"temperature": str(temperature)} if temperature != 1 else {}
    facts |= {"chest_threshold": str(CHEST_THRESHOLD)} if len(outputs) > 1 else {}
    set_model_props(network, facts)


def _replace_erfc(graph: GraphProto) -> None:
    """Replace erfc(x), which ONNX does not have and TensorFlow writes for GELU, by 1 - erf(x)."""
    from onnx import helper, numpy_helper

    nodes = [node for node in graph.node if node.op_type == "Erfc"]
    if nodes:
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "one"))
    for node in nodes:
        place, inner = [*graph.node].index(node), f"{node.output[0]}_erf"
        graph.node.insert(place, helper.make_node("Erf", [*node.input], [inner]))
        node.CopyFrom(helper.make_node("Sub", ["one", inner], [*node.output], name=node.name))


def _halve(graph: GraphProto) -> None:
    """Store the weights in half precision; engines cast them to float32 when they open the network."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]:
        stored = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{weight.name}_half")
        graph.initializer.remove(weight)
        graph.initializer.append(stored)
        graph.node.insert(0, helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT))
