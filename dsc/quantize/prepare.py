"""The float model that is quantized: one form of constants, batch norms in the weights, an opset that has QDQ.

Names of nodes and tensors are the user's: what is left keeps them.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
from onnx.reference import ReferenceEvaluator

from dsc.check.segments import read_names
from dsc.errors import UnsupportedModelError, UsageError
from dsc.exchange import ModelSource
from dsc.exchange.names import unique
from dsc.exchange.payload import array_of_sparse
from dsc.exchange.upgrade import opset_of, upgrade_model
from dsc.quantize.network import Network

OPSET = 13
"""The first opset whose QuantizeLinear and DequantizeLinear know channels."""

_QUANTIZED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "MatMulNBits",
    "GatherBlockQuantized",
)
_FOLDED = ("Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze")
"""What exporters put between a weight and its product."""


def prepare(source: ModelSource, opset: int = OPSET, *, folds_norms: bool = True) -> onnx.ModelProto:
    """The model as its layers are changed; `source` is not.

    At `opset` at least, all constants initializers, weights as products read them, BatchNormalization after Conv
    folded unless it is to stay, each node named (after its first output where it had no name). Raises UsageError for a
    file that cannot be read or a model that is quantized already, UnsupportedModelError for one that is too old.
    """
    model = _read(source)
    if opset_of(model.opset_import) < opset:
        upgrade_model(model, to=opset)
        least = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
        model.ir_version = max(model.ir_version, least)
    found = sorted({node.op_type for node in model.graph.node if node.op_type in _QUANTIZED})
    if found:
        raise UsageError(
            f"the model is quantized already ({', '.join(found)}): start from the float model it came from"
        )
    _constants_to_initializers(model.graph)
    _fold(model)
    if folds_norms:
        _fold_batch_norms(model)
    drop_unused(model.graph)
    _name_nodes(model.graph)
    return model


def _read(source: ModelSource) -> onnx.ModelProto:
    if isinstance(source, onnx.ModelProto):
        copied = onnx.ModelProto()
        copied.CopyFrom(source)
        return copied
    try:
        return onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load(source)
    except OSError as error:
        raise UsageError(f"{source!s} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # protobuf's errors have no common base but this
        raise UnsupportedModelError(f"not an ONNX model: {error}") from error


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Of nodes, and of sparse tensors: those become dense."""
    for sparse in graph.sparse_initializer:
        graph.initializer.append(onnx.numpy_helper.from_array(array_of_sparse(sparse), sparse.values.name))
    del graph.sparse_initializer[:]
    kept = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or value is None:
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value.t)
        tensor.name = node.output[0]
    replace_nodes(graph, kept)


def _fold(model: onnx.ModelProto) -> None:
    """Compute what only rearranges constants, so that weights are constants where they are multiplied."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type not in _FOLDED or node.domain not in ("", "ai.onnx") or any(n not in known for n in node.input):
            kept.append(node)
            continue
        feeds = {name: onnx.numpy_helper.to_array(known[name]) for name in node.input}
        (array,) = ReferenceEvaluator(_alone(node, model)).run(None, feeds)
        known[node.output[0]] = onnx.numpy_helper.from_array(np.asarray(array, order="C"), node.output[0])
        graph.initializer.append(known[node.output[0]])
    replace_nodes(graph, kept)


def _alone(node: onnx.NodeProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one node, whose types nobody asks for."""
    ends = [[onnx.helper.make_empty_tensor_value_info(name) for name in names] for names in (node.input, node.output)]
    graph = onnx.helper.make_graph([node], "one", *ends)
    made: onnx.ModelProto = onnx.helper.make_model(graph, opset_imports=model.opset_import)
    return made


def _fold_batch_norms(model: onnx.ModelProto) -> None:
    """``bn(conv(x, w, b)) = conv(x, w * a, (b - mean) * a + bias)`` with ``a = scale / sqrt(variance + epsilon)``."""
    network, gone = Network(model), set()
    for node in network.nodes:
        if node.op_type != "BatchNormalization" or len(node.output) != 1:
            continue
        conv = network.producers.get(node.input[0])
        if conv is None or not _may_take(network, conv, node):
            continue
        _fold_into(network, conv, node)
        gone.add(node.output[0])
    replace_nodes(model.graph, [n for n in model.graph.node if not (gone & set(n.output) and n.op_type != "Conv")])


def _may_take(network: Network, conv: onnx.NodeProto, norm: onnx.NodeProto) -> bool:
    alone = len(network.consumers[conv.output[0]]) == 1 and conv.output[0] not in network.outputs
    constants = (*conv.input[1:], *norm.input[1:])
    return conv.op_type == "Conv" and alone and all(network.is_constant(name) for name in constants)


def _fold_into(network: Network, conv: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    scale, shift, mean, variance = (_float64(network, name) for name in norm.input[1:5])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    weight = _float64(network, conv.input[1])
    bias = _float64(network, conv.input[2]) if len(conv.input) > 2 else 0.0
    factor = scale / np.sqrt(variance + epsilon)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), (bias - mean) * factor + shift
    names = [f"{conv.input[1]}_folded", f"{norm.output[0]}_bias"]
    for name, array in zip(names, folded, strict=True):
        network.model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    conv.input[:] = [conv.input[0], *names]
    conv.output[0] = norm.output[0]


def _float64(network: Network, name: str) -> np.ndarray:
    array = network.constant(name)
    assert array is not None  # it was checked
    return array.astype(np.float64)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give each node a name that no other has: policies and reports go by it."""
    taken: set[str] = set()
    for node in graph.node:
        node.name = unique(node.name or f"{node.op_type}_{node.output[0]}", taken)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Leave out initializers that nothing reads, and that the model does not list as inputs."""
    used = {name for node in graph.node for name in read_names(node)} | {value.name for value in graph.output}
    used |= {value.name for value in graph.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Make these the nodes of a graph; some may be those that it has."""
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
