"""Where channels can be scaled: between what makes a tensor and the products that read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.rescale.places import Place, broadcasts, channel_shape, input_place, output_places

_HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu", "Identity")
"""``f(a x) = a f(x)`` for a > 0, element by element."""
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
"""The same for images, channel by channel."""

_TERMS = ("Add", "Sub", "Max", "Min")
"""``f(a x, a c) = a f(x, c)`` for a > 0: a constant takes factors too."""


@dataclass(frozen=True)
class Joint:
    """A tensor, the products that read it, and the constants that make its channels.

    along: the shape of a vector of its channels. weights: of the readers, which are multiplied by the factors. makers:
    constants that are divided by them; none where nothing takes factors, or where others read the tensor too. layer:
    the product among the makers. clips: nodes on the way that cut from above, for each channel elsewhere then. tensors:
    all that have the factors in them, from the first of the makers to the tensor itself.
    """

    tensor: str
    channels: int
    along: tuple[int, ...]
    readers: tuple[Layer, ...]
    weights: tuple[Place, ...]
    makers: tuple[Place, ...] = ()
    layer: Layer | None = None
    clips: tuple[str, ...] = ()
    tensors: tuple[str, ...] = ()


@dataclass
class _Makers:
    """What is found on the way up from a tensor."""

    places: list[Place] = field(default_factory=list)
    layer: Layer | None = None
    clips: list[str] = field(default_factory=list)
    tensors: list[str] = field(default_factory=list)


def find_joints(network: Network, layers: Sequence[Layer]) -> list[Joint]:
    """A joint for each tensor that products read, in the order of the model."""
    formed = [layer for layer in layers if layer.refusal is None]
    tensors = dict.fromkeys(layer.data for layer in formed)
    return [joint for tensor in tensors for joint in _joint(network, formed, tensor)]


def _joint(network: Network, layers: Sequence[Layer], tensor: str) -> Iterator[Joint]:
    readers = tuple(layer for layer in layers if layer.data == tensor)
    nodes = {node.name: node for node in network.consumers[tensor]}
    found = [input_place(network, reader, nodes[reader.name]) for reader in readers]
    along = channel_shape(network, readers[0], found[0][0])
    if any(channel_shape(network, reader, count) != along for reader, (count, _) in zip(readers, found, strict=True)):
        return  # images for one, rows for another: what is a channel to each is not the same
    weights = tuple(place for _, place in found)
    plain = Joint(tensor, found[0][0], along, readers, weights)
    alone = len(network.consumers[tensor]) == len(readers) and tensor not in network.outputs
    makers = _Makers()
    if alone and _climb(network, layers, tensor, plain, makers):
        yield replace(
            plain,
            makers=tuple(makers.places),
            layer=makers.layer,
            clips=tuple(makers.clips),
            tensors=tuple(makers.tensors),
        )
    else:
        yield plain


def _climb(network: Network, layers: Sequence[Layer], tensor: str, joint: Joint, found: _Makers) -> bool:
    """Go up from a tensor that nothing else reads to what takes its factors; whether there is something."""
    node = network.producers.get(tensor)
    if node is None or node.domain or tensor != node.output[0]:
        return False
    found.tensors.append(tensor)
    layer = next((layer for layer in layers if layer.name == node.name), None)
    if layer is not None:
        return _ends_at(network, layer, joint, found)
    if node.op_type == "LayerNormalization":
        return _norm(network, node, joint, found)
    source = _passed(network, node, joint, found)
    if source is None:
        return _is_factor(network, node, joint, found)
    is_read_alone = len(network.consumers[source]) == 1 and source not in network.outputs
    return is_read_alone and _climb(network, layers, source, joint, found)


def _ends_at(network: Network, layer: Layer, joint: Joint, found: _Makers) -> bool:
    """A product takes factors into its weight and bias, if its output's channels are the joint's."""
    places = output_places(network, layer)
    if places is None or (layer.op == "Conv") != (joint.readers[0].op == "Conv"):
        return False
    found.places += places
    found.layer = layer
    return True


def _norm(network: Network, node: onnx.NodeProto, joint: Joint, found: _Makers) -> bool:
    """``norm(x) * scale + bias`` over the last axis."""
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    given = [network.constant(name) for name in node.input[1:] if name]
    if axis != -1 or len(joint.along) != 1 or any(a is None or a.shape != joint.along for a in given):
        return False
    affine = [index for index, name in enumerate(node.input) if index > 0 and name]
    found.places += [Place(node.name, index, joint.along, True) for index in affine]
    return True


def _is_factor(network: Network, node: onnx.NodeProto, joint: Joint, found: _Makers) -> bool:
    """``x * constant`` and ``x / constant`` take factors into the constant."""
    index = _constant_index(network, node, joint)
    if index is None or node.op_type not in ("Mul", "Div") or (node.op_type == "Div" and index == 0):
        return False
    found.places.append(Place(node.name, index, joint.along, node.op_type == "Mul"))
    return True


def _passed(network: Network, node: onnx.NodeProto, joint: Joint, found: _Makers) -> str | None:
    """The tensor from which a node hands channels on; None where it does not."""
    if node.op_type in _HOMOGENEOUS or (node.op_type in _POOLS and joint.readers[0].op == "Conv"):
        return None if len(node.output) > 1 or node.input[0] in node.input[1:] else str(node.input[0])
    if node.op_type == "Clip":
        if _cuts_at_zero(network, node):
            found.clips += [node.name] if len(node.input) > 2 and node.input[2] else []
            return str(node.input[0])
        return None
    index = _constant_index(network, node, joint)
    if node.op_type in _TERMS and index is not None:
        found.places.append(Place(node.name, index, joint.along, True))
        return str(node.input[1 - index])
    return None


def _constant_index(network: Network, node: onnx.NodeProto, joint: Joint) -> int | None:
    """Which of two operands is a constant that can have a number for each channel."""
    if len(node.input) != 2:
        return None
    arrays = [network.constant(name) for name in node.input]
    known = [i for i, a in enumerate(arrays) if a is not None and a.dtype == np.float32 and broadcasts(a, joint.along)]
    return known[0] if len(known) == 1 else None


def _cuts_at_zero(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a Clip is ``min(relu(x), constant)``, or Relu alone."""
    low = network.constant(node.input[1]) if len(node.input) > 1 else None
    high = network.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.float32(1)
    return low is not None and high is not None and float(low) == 0 and float(high) > 0
