"""Which layers dsc computes no faster in bytes than in float32 on a machine, by its kernels' own estimates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx
import onnx.helper
import onnx.numpy_helper
from xdsl.ir import Operation

from dsc.codegen.selection import Failures, candidates
from dsc.exchange import import_model
from dsc.ir import FusionOp, OnnxOp
from dsc.lower.workload import Workload
from dsc.pipeline import optimize, preset
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.quantized_layer import QuantizedLayer, rewired
from dsc.targets import AnyTarget

_FLOATS = ("Conv", "MatMul", "Gemm")
_BYTES = ("ConvInteger", "MatMulInteger")
_WORTH = 1.05
"""A layer in bytes may take so many times as long: its neighbours move a quarter of the memory."""


def slower_in_bytes(
    network: Network,
    layers: Sequence[QuantizedLayer],
    shapes: Mapping[str, tuple[int, ...]],
    target: AnyTarget,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, str]:
    """Why layers had better stay in float on a target, by name; those that had not are not there.

    shapes: of the layers' data. Each layer is looked at alone, what it reads and writes in bytes or in float.
    """
    known: dict[str, tuple[float | None, float | None]] = {}
    found = {}
    for done, quantized in enumerate(layers, 1):
        layer = quantized.layer
        shape = shapes[layer.data]
        key = _key(network, layer, shape)
        if key not in known:
            floats = _seconds(_float(network, layer, shape), target, _FLOATS)
            known[key] = floats, _seconds(_bytes(network, quantized, shape), target, _BYTES)
        floats, bytes_ = known[key]
        if bytes_ is None:
            found[layer.name] = f"no kernel for bytes on {target.name}"
        elif floats is not None and bytes_ > floats * _WORTH:
            found[layer.name] = f"slower in bytes on {target.name}: {bytes_ * 1e6:.0f} us, in float {floats * 1e6:.0f}"
        if on_progress is not None:
            on_progress(done)
    return found


def _key(network: Network, layer: Layer, shape: tuple[int, ...]) -> str:
    """What the estimates of a layer depend on."""
    weight = network.constant(layer.weight)
    assert weight is not None  # else it has a refusal
    attributes = sorted(a.SerializeToString() for a in _node(network, layer).attribute)
    return repr((layer.op, shape, weight.shape, layer.bias is not None, attributes))


def _node(network: Network, layer: Layer) -> onnx.NodeProto:
    return network.producers[layer.output]


def _float(network: Network, layer: Layer, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The layer's own node, between floats."""
    node = _node(network, layer)
    constants = {name: network.constant(name) for name in node.input[1:] if name}
    tensors = [onnx.numpy_helper.from_array(a, name) for name, a in constants.items() if a is not None]
    return _model(network, [node], tensors, (layer.data, onnx.TensorProto.FLOAT, shape), layer.output)


def _bytes(network: Network, quantized: QuantizedLayer, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The layer's node in QDQ form, between bytes; its result on the grid of its data, as any would do."""
    layer, make = quantized.layer, QdqNodes(network.model)
    name, (first, second) = make.through_bytes(layer.data, quantized.data)
    product = rewired(quantized, _node(network, layer), name, make)
    _, (last, _) = make.through_bytes(layer.output, quantized.data)
    code = onnx.helper.np_dtype_to_tensor_dtype(quantized.data.zero_point.dtype)
    nodes = [second, *product, last]
    return _model(network, nodes, make.initializers, (first.output[0], code, shape), last.output[0])


def _model(
    network: Network,
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    input_: tuple[str, int, tuple[int, ...]],
    output: str,
) -> onnx.ModelProto:
    graph = onnx.helper.make_graph(
        nodes, "layer", [onnx.helper.make_tensor_value_info(*input_)], [onnx.ValueInfoProto(name=output)], tensors
    )
    return onnx.ModelProto(ir_version=network.model.ir_version, opset_import=network.model.opset_import, graph=graph)


def _seconds(model: onnx.ModelProto, target: AnyTarget, products: Sequence[str]) -> float | None:
    """The estimate of the region that has one of these products; None where there is none."""
    graph = import_model(model)
    optimize(graph, preset(2, target))
    region = next((op for op in graph.ops() if _has(op, products)), None)
    if region is None:
        return None
    ranked, _ = candidates(Workload.of(region), target, Failures())
    return ranked[0].estimate


def _has(op: Operation, products: Sequence[str]) -> bool:
    inside = op.walk() if isinstance(op, FusionOp) else [op]
    return any(isinstance(inner, OnnxOp) and inner.onnx_name in products for inner in inside)
