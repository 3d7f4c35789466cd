"""Write a Keras model as ONNX or OpenVINO. `engines.export` checks that it still gives the same masks."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from lungnb import __version__
from lungnb.engines.engines import LUNG_THRESHOLD
from lungnb.masks import Window

if TYPE_CHECKING:
    import keras
    from onnx import GraphProto, ModelProto

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}


def convert(model: keras.Model, format: str, file: Path, half: bool = False, window_hu: Window | None = None) -> None:
    """Write a Keras model to `file` in a format of `FORMATS`; with `half`, store its weights in half precision.

    `window_hu` is that of its training, for the metadata of ONNX.
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
        describe(network, window_hu)
        onnx.save(network, onnx_file)
        if format == "openvino":
            # From the ONNX file, because Keras would call OpenVINO's converter, which reports each use over the web.
            import openvino

            openvino.save_model(openvino.Core().read_model(onnx_file), file, compress_to_fp16=half)


def describe(network: ModelProto, window_hu: Window | None) -> None:
    """Name the tensors of an ONNX network `image` and `probability`; say in its metadata how to use it.

    docs/how-to-onnx.md explains the metadata, which users read without lungnb.
    """
    from onnx.helper import set_model_props

    (image,), (probability,) = network.graph.input, network.graph.output
    new_names = {image.name: "image", probability.name: "probability"}
    for node in network.graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    for tensor in (image, probability):
        tensor.name = new_names[tensor.name]
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    facts = {
        "lungnb_version": __version__,
        "input_size": str(image.type.tensor_type.shape.dim[1].dim_value),
        "input_range": "0 (black) to 1 (white)",
        "padding": "black borders keep the aspect ratio; the image is in the middle",
        "window_hu": "{:g} {:g}".format(*window_hu) if window_hu else "none",
        "sigmoid": "inside",
        "threshold": str(LUNG_THRESHOLD),
    }
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
