"""The memory, multiplications and parameters that a network needs, computed from the shapes of its layers.

Keras builds the network without values for its variables, so nothing is allocated. A layer takes about a millisecond.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple  # Any: what a network's configuration holds

from lungnb.networks.backend import Tensor, keras, layers

if TYPE_CHECKING:
    import pandas as pd

_GRAPH_BYTES = 50_000_000  # of TensorFlow's graph of a network
_BYTES_PER_VALUE = 4  # at least, because lungnb computes in float32
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D)
_SLOW_ACTIVATIONS = (keras.activations.sparsemax, keras.activations.sparse_plus, keras.activations.sparse_sigmoid)
_SHAPES = ("batch_shape", "input_shape", "build_input_shape")  # settings that hold a shape, the batch first


class Unfit(ValueError):
    """A model file cannot be used. The message says why and what to do, without the name of the file."""


class Costs(NamedTuple):
    """The memory (bytes) and the multiply-accumulates that a network needs for one image.

    For networks of this project, the bytes are right within 10 %.
    """

    bytes: int
    multiplications: int


def network_costs(config: dict[str, Any]) -> Costs:
    """Return the costs of the network with this configuration; raise Unfit if its sizes are not fixed."""
    with ThreadPoolExecutor(1) as pool:  # because Keras keeps variables without values until their thread ends
        return pool.submit(_measure, config).result()


def _measure(config: dict[str, Any]) -> Costs:
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.deserialize_keras_object(_for_one_image(config), safe_mode=True)
        outputs, multiplications = _run(network)
    weights = [_bytes(weight) for weight in network.weights]
    # The weights are stored twice, in Keras's layout and in the processor's. Reading them takes two more arrays.
    return Costs(outputs + 2 * sum(weights) + 2 * max(weights, default=0) + _GRAPH_BYTES, multiplications)


def _for_one_image(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration for a batch of one image, so that every shape in it is known."""

    def fix_batch(item: dict[str, Any]) -> dict[str, Any]:
        shapes = {key: item[key] for key in _SHAPES if isinstance(item.get(key), list)}
        return item | {key: [1, *shape[1:]] for key, shape in shapes.items() if shape[:1] == [None]}

    return json.loads(json.dumps(config), object_hook=fix_batch)


class Call(NamedTuple):
    """One use of a layer. A shared layer is used several times."""

    layer: keras.Layer
    inputs: list[Tensor]
    outputs: list[Tensor]


def _layer_calls(network: keras.Model) -> tuple[list[Call], list[Tensor]]:
    """Return the calls of a network's layers, in the order in which they run, and the outputs of the last ones."""
    calls: list[Call] = []

    def record_call(layer: keras.Layer, *arguments: object, **options: object) -> Tensor:
        outputs = layer(*arguments, **options)
        tensors = (each for each in keras.tree.flatten((arguments, options)) if isinstance(each, Tensor))
        calls.append(Call(layer, list(tensors), keras.tree.flatten(outputs)))
        return outputs

    functional = keras.Model(network.inputs, network.outputs)  # because a Sequential has no calls
    # The copy shares the network's layers, because making layers takes time.
    copy = keras.models.clone_model(functional, call_function=record_call, clone_function=lambda layer: layer)
    return calls, copy.outputs


def _run(network: keras.Model) -> tuple[int, int]:
    """Return the highest number of bytes that tensors between layers take at once, and the multiplications."""
    calls, outputs = _layer_calls(network)
    # A tensor takes memory until its last use.
    last_use = {id(tensor): step for step, call in enumerate(calls) for tensor in call.inputs}
    last_use |= {id(tensor): len(calls) for tensor in outputs}
    peak = total = 0
    alive = sum(map(_bytes, network.inputs))
    for step, call in enumerate(calls):
        scratch, multiplications = _run_layer(call)
        alive += sum(map(_bytes, call.outputs))
        peak, total = max(peak, alive + scratch), total + multiplications
        tensors = {id(tensor): tensor for tensor in (*call.inputs, *call.outputs)}
        alive -= sum(_bytes(tensor) for key, tensor in tensors.items() if last_use.get(key, step) == step)
    return peak, total


def _run_layer(call: Call) -> tuple[int, int]:
    """Return the bytes that a call needs besides its inputs and outputs, and its multiplications.

    The formulas for the bytes follow measurements of TensorFlow on a CPU.
    """
    layer, inputs, outputs = call
    if not inputs:
        return 0, 0
    if isinstance(layer, keras.Model):
        if [tensor.shape for tensor in inputs] != [tensor.shape for tensor in layer.inputs]:
            raise Unfit("holds a network that is given another size than its own; build it with one size.")
        return _run(layer)
    places = max(math.prod(tensor.shape[1:-1]) for tensor in (*inputs, *outputs))
    output_bytes = sum(map(_bytes, outputs))
    if isinstance(layer, layers.MultiHeadAttention):
        channels = layer.num_heads * (layer.key_dim + (layer.value_dim or layer.key_dim))
        scores = layer.num_heads * places**2
        values = 2 * scores + 2 * places * channels
        return _BYTES_PER_VALUE * values, places * (layer.count_params() + places * channels)
    if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return 0, math.prod(outputs[0].shape) * math.prod(layer.pool_size)
    scratch = 2 * output_bytes if getattr(layer, "activation", None) in _SLOW_ACTIVATIONS else 0
    if isinstance(layer, (layers.LayerNormalization, layers.PReLU, layers.UpSampling2D)):
        return scratch + output_bytes, 0
    if isinstance(layer, (*_CONVOLUTIONS, layers.Dense)):
        return scratch + _copy_bytes(layer, inputs[0].shape), places * layer.count_params()
    return scratch, 0


def _copy_bytes(layer: keras.Layer, shape: tuple[int, ...]) -> int:
    """Return the bytes of a convolution's copies of its input; a dilated convolution pads them by its whole reach."""
    batch, *sides, channels = shape
    factor = layer.depth_multiplier if isinstance(layer, layers.SeparableConv2D) else 0
    values = batch * math.prod(sides) * channels * factor
    dilation = getattr(layer, "dilation_rate", (1,))
    if max(dilation) > 1:
        reach = (step * (size - 1) for step, size in zip(dilation, layer.kernel_size, strict=True))
        padded = (side + margin for side, margin in zip(sides, reach, strict=True))
        values += 2 * batch * math.prod(padded) * channels
    return _BYTES_PER_VALUE * values


def _bytes(tensor: Tensor | keras.Variable) -> int:
    if None in tensor.shape:
        raise Unfit("has layers without a fixed size; build it for one size, as keras.Input((256, 256, 1)).")
    bits = int("".join(filter(str.isdigit, str(tensor.dtype))) or 8)
    return int(math.prod(tensor.shape)) * max(bits // 8, _BYTES_PER_VALUE)


def count_multiplications(model: keras.Model) -> int:
    """Return the multiply-accumulates of a model for one image, in convolutions, dense layers and attention.

    A layer that is used several times, as in an R2U-Net, counts each time. Other layers would add a few percent.
    """
    total = 0
    for layer, (first, *_), outputs in _layer_calls(model)[0]:
        if isinstance(layer, keras.Model):
            total += count_multiplications(layer)
        elif isinstance(layer, layers.MultiHeadAttention):
            places, channels = first.shape[1:]
            total += 4 * places * channels**2  # four projections
            total += 2 * places**2 * channels  # two products of all with all
        elif isinstance(layer, layers.Conv2DTranspose):  # each input pixel meets the whole kernel
            total += math.prod(first.shape[1:3]) * math.prod(layer.kernel.shape)
        elif isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
            total += math.prod(outputs[0].shape[1:-1]) * math.prod(layer.kernel.shape)
    return total


def stage_names(model: keras.Model) -> list[str]:
    """Return the names of a network's stages in the order of the data: encoder, bridge, decoder."""
    depth = sum(layer.name.startswith("encoder_") and layer.name[8:].isdigit() for layer in model.layers)
    levels = range(1, depth + 1)
    return [*(f"encoder_{level}" for level in levels), "bridge", *(f"decoder_{level}" for level in reversed(levels))]


def stage_table(model: keras.Model) -> pd.DataFrame:
    """Return one row per stage: its output's shape, the side of the square that one place covers (px), its parameters.

    The columns are `height`, `width`, `channels`, `pixels_per_place` and `parameters`. The last row, `lung`, is the
    output. For a pretrained encoder, only the layers that lungnb adds count.

    Example: `stage_table(build_model("unet", size=128, filters=8)).loc["bridge", "height"]` is 8.
    """
    import pandas as pd  # takes half a second, and nothing else here needs it

    rows = {}
    for stage in [*stage_names(model), "lung"]:
        _, height, width, channels = model.get_layer(stage).output.shape
        parameters = sum(layer.count_params() for layer in model.layers if f"{layer.name}_".startswith(f"{stage}_"))
        rows[stage] = [height, width, channels, model.input_shape[1] // height, parameters]
    columns = ["height", "width", "channels", "pixels_per_place", "parameters"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("stage")
