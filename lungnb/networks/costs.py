"""What a network takes, computed from the shapes of its layers before anything is allocated.

Keras builds the network without values for its variables, which takes about a millisecond for each layer.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from lungnb.networks.backend import keras

layers = keras.layers
_GRAPH_BYTES = 50_000_000  # of the graph that TensorFlow makes of a network
_CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv2DTranspose),
    *(layers.DepthwiseConv2D, layers.SeparableConv2D),
)
_SLOW_ACTIVATIONS = (keras.activations.sparsemax, keras.activations.sparse_plus, keras.activations.sparse_sigmoid)
_SIZES = ("batch_shape", "input_shape", "build_input_shape")  # settings that hold a shape, the batch first


class Unfit(ValueError):
    """What is wrong with a model file."""


class Costs(NamedTuple):
    """What a network takes for one image; the bytes are within 10 % of what Keras took for the project's networks."""

    bytes: int
    multiplications: int


def network_costs(config: dict) -> Costs:
    """Return what the network with this structure takes; raise Unfit if its sizes are not fixed."""
    with ThreadPoolExecutor(1) as pool:  # Keras keeps its notes on such variables until the thread ends
        return pool.submit(_measure, config).result()


def _measure(config: dict) -> Costs:
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.deserialize_keras_object(_for_one_image(config), safe_mode=True)
        outputs, multiplications = _run(network)
    weights = [_bytes(weight) for weight in network.weights]
    # The weights are there twice, in Keras's order and in that of the processor; while they are read, some more.
    return Costs(outputs + 2 * sum(weights) + 2 * max(weights, default=0) + _GRAPH_BYTES, multiplications)


def _for_one_image(item: Any) -> Any:  # noqa: ANN401
    """Return a structure with a batch of one image, so that every shape in it is known."""
    if isinstance(item, list):
        return [_for_one_image(each) for each in item]
    if not isinstance(item, dict):
        return item
    return {
        key: [1, *value[1:]] if key in _SIZES and isinstance(value, list) and value[:1] == [None]
        else _for_one_image(value)
        for key, value in item.items()
    }  # fmt: skip


class Call(NamedTuple):
    """One use of a layer: a layer that is shared is used several times."""

    layer: keras.Layer
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


def layer_calls(network: keras.Model, reuse_layers: bool = False) -> tuple[list[Call], list[keras.KerasTensor]]:
    """Return the calls of a network's layers in the order in which they run, and the network's outputs.

    They are those of a copy of the network. With `reuse_layers` the copy has the network's own layers, which saves
    time, but `layer.output` is ambiguous afterwards.
    """
    calls: list[Call] = []

    def note(layer: keras.Layer, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        outputs = layer(*arguments, **options)
        tensors = (each for each in keras.tree.flatten((arguments, options)) if isinstance(each, keras.KerasTensor))
        calls.append(Call(layer, list(tensors), keras.tree.flatten(outputs)))
        return outputs

    same = {"clone_function": lambda layer: layer} if reuse_layers else {}
    whole = keras.Model(network.inputs, network.outputs)  # a Sequential has no calls of its own
    copy = keras.models.clone_model(whole, call_function=note, **same)
    return calls, copy.outputs


def _run(network: keras.Model) -> tuple[int, int]:
    """Return the most bytes that inputs and outputs of layers take at once, and the multiplications.

    Each tensor is kept until its last use.
    """
    calls, outputs = layer_calls(network, reuse_layers=True)
    last = {id(tensor): step for step, call in enumerate(calls) for tensor in call.inputs}
    last |= {id(tensor): len(calls) for tensor in outputs}
    most = total = 0
    alive = sum(map(_bytes, network.inputs))
    for step, call in enumerate(calls):
        scratch, multiplications = _run_layer(*call)
        alive += sum(map(_bytes, call.outputs))
        most, total = max(most, alive + scratch), total + multiplications
        done = {id(tensor): tensor for tensor in (*call.inputs, *call.outputs)}
        alive -= sum(_bytes(tensor) for key, tensor in done.items() if last.get(key, step) == step)
    return most, total


def _run_layer(layer: Any, taken: list, given: list) -> tuple[int, int]:  # noqa: ANN401
    """Return the bytes that a call of a layer needs besides its inputs and outputs, and its multiplications.

    The bytes are those that TensorFlow was measured to take on a CPU.
    """
    if not taken:
        return 0, 0
    if isinstance(layer, keras.Model):
        if [tensor.shape for tensor in taken] != [tensor.shape for tensor in layer.inputs]:
            raise Unfit("holds a network that is given another size than its own; build it with one size.")
        return _run(layer)
    places = max(math.prod(tensor.shape[1:-1]) for tensor in (*taken, *given))
    made = sum(map(_bytes, given))
    if isinstance(layer, layers.MultiHeadAttention):
        channels = layer.num_heads * (layer.key_dim + (layer.value_dim or layer.key_dim))
        scores = layer.num_heads * places**2
        return 4 * (2 * scores + 2 * places * channels), places * (layer.count_params() + places * channels)
    if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return 0, math.prod(given[0].shape) * math.prod(layer.pool_size)
    scratch = 2 * made if getattr(layer, "activation", None) in _SLOW_ACTIVATIONS else 0
    if isinstance(layer, (layers.LayerNormalization, layers.PReLU, layers.UpSampling2D)):
        return scratch + made, 0
    if isinstance(layer, (*_CONVOLUTIONS, layers.Dense)):
        return scratch + _padded(layer, taken[0]), places * layer.count_params()
    return scratch, 0


def _padded(layer: Any, taken: Any) -> int:  # noqa: ANN401
    """Return the bytes of the copies of its input that a convolution makes: if dilated, padded by all of its reach."""
    channels = taken.shape[-1] * getattr(layer, "depth_multiplier", 0)
    copies = 4 * math.prod(taken.shape[:-1]) * channels if isinstance(layer, layers.SeparableConv2D) else 0
    dilation = getattr(layer, "dilation_rate", (1,))
    if max(dilation) > 1:
        reach = [step * (size - 1) for step, size in zip(dilation, layer.kernel_size, strict=True)]
        sides = [side + more for side, more in zip(taken.shape[1:-1], reach, strict=True)]
        copies += 2 * 4 * taken.shape[0] * math.prod(sides) * taken.shape[-1]
    return copies


def _bytes(tensor: Any) -> int:  # noqa: ANN401
    """Return the bytes of a tensor: at least 4 a value, because lungnb computes in float32."""
    if None in tensor.shape:
        raise Unfit("has layers without a fixed size; (None, size, size, 1) is expected of the image.")
    bits = int("".join(filter(str.isdigit, str(tensor.dtype))) or 8)
    return math.prod(tensor.shape) * max(bits // 8, 4)
