"""Write a Keras model as ONNX or OpenVINO. `engines.export` checks that it still gives the same masks."""

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
    """Write a Keras model to `file` in a format of `FORMATS`; with `half`, store its weights in half precision."""
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
        onnx.save(network, onnx_file)
        if format == "openvino":
            # From the ONNX file, because Keras would call OpenVINO's converter, which reports each use over the web.
            import openvino

            openvino.save_model(openvino.Core().read_model(onnx_file), file, compress_to_fp16=half)


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
