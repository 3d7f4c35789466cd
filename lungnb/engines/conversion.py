"""Write a Keras model as ONNX or OpenVINO. Whether it still gives the same masks is checked by `engines.export`."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    from onnx import GraphProto

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}


def convert(model: keras.Model, format: str, file: Path, half: bool = False) -> None:
    """Write a Keras model to `file` in a format of `FORMATS`; with `half`, store its weights in half precision.

    Raises whatever Keras and the converters raise.
    """
    import keras

    from lungnb.networks.backend import quiet_stderr

    # Keras finds the input by itself only of a model that was called before.
    given = [keras.InputSpec(shape=model.input_shape, dtype="float32", name="image")]
    for talker in ("tensorflow", "tf2onnx"):
        logging.getLogger(talker).setLevel(logging.ERROR)
    with quiet_stderr(), warnings.catch_warnings(action="ignore"), TemporaryDirectory() as folder:
        onnx = file if format == "onnx" else Path(folder, "model.onnx")
        model.export(str(onnx), format="onnx", verbose=False, input_signature=given)
        _mend(onnx, half)
        if format == "openvino":
            # From the mended ONNX file. Keras would call OpenVINO's converter, which is made to report each use.
            import openvino

            openvino.save_model(openvino.Core().read_model(onnx), file, compress_to_fp16=half)


def _mend(file: Path, half: bool) -> None:
    """Write out what ONNX has no word for, and store weights in half precision if asked to."""
    import onnx

    network = onnx.load(file)
    _write_out_erfc(network.graph)
    if half:
        _halve(network.graph)
    onnx.save(network, file)


def _write_out_erfc(graph: GraphProto) -> None:
    """Replace erfc(x), which TensorFlow makes of GELU and tf2onnx hands on as it is, by 1 - erf(x)."""
    from onnx import helper, numpy_helper

    found = [node for node in graph.node if node.op_type == "Erfc"]
    if found:
        graph.initializer.append(numpy_helper.from_array(np.float32(1), "one"))
    for node in found:
        place, inner = [*graph.node].index(node), f"{node.output[0]}_erf"
        graph.node.insert(place, helper.make_node("Erf", [*node.input], [inner]))
        node.CopyFrom(helper.make_node("Sub", ["one", inner], [*node.output], name=node.name))


def _halve(graph: GraphProto) -> None:
    """Store weights in half precision, each cast to float32 when the network is opened."""
    from onnx import TensorProto, helper, numpy_helper

    for weight in [each for each in graph.initializer if each.data_type == TensorProto.FLOAT]:
        stored = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), f"{weight.name}_half")
        graph.initializer.remove(weight)
        graph.initializer.append(stored)
        graph.node.insert(0, helper.make_node("Cast", [stored.name], [weight.name], to=TensorProto.FLOAT))
