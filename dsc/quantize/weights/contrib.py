"""Dequantized weights in the form of ONNX Runtime's own operators: MatMulNBits and GatherBlockQuantized.

(ONNX Runtime, docs/ContribOperators.md.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.elements import computed, integer_encoding
from dsc.errors import UsageError

DOMAIN = "com.microsoft"
SMALLEST_GROUP = 16
"""That these operators take."""


def refuse_group(group: int) -> None:
    """Raise UsageError for groups that these operators do not have."""
    if group < SMALLEST_GROUP or group & (group - 1):
        raise UsageError(f"groups of {group} have no form in {DOMAIN}: powers of two from {SMALLEST_GROUP} on have")


def as_contrib(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with these operators where a MatMul or a Gather reads a weight in groups; others stay as they are."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    weights = _Weights(made.graph)
    nodes = [weights.converted(node) for node in made.graph.node]
    nodes = [node for node in nodes if node.output[0] not in weights.dequantized or _is_read(node, nodes)]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(weights.packed.values())
    read = {name for node in nodes for name in node.input}
    initializers = [tensor for tensor in made.graph.initializer if tensor.name in read]
    del made.graph.initializer[:]
    made.graph.initializer.extend(initializers)
    made.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return made


def _is_read(node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> bool:
    return any(node.output[0] in other.input for other in nodes)


class _Weights:
    """The dequantized weights of a graph, and the tensors that operators take instead of them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.tensors = {tensor.name: tensor for tensor in graph.initializer} | _constants(graph)
        self.dequantized = {node.output[0]: node for node in graph.node if self._is_weight(node)}
        self.packed: dict[str, onnx.TensorProto] = {}

    def _is_weight(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "DequantizeLinear" and _group(node) > 0 and all(n in self.tensors for n in node.input)

    def converted(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """The node in its new form, or as it is."""
        if node.op_type == "MatMul" and (weight := self._read(node.input[1], 0)) is not None:
            return self._product(node, weight)
        if node.op_type == "Gather" and (weight := self._read(node.input[0], 1)) is not None:
            return self._rows(node, weight)
        return node

    def _read(self, name: str, depth: int) -> onnx.NodeProto | None:
        """The dequantization of a value whose groups go along an axis and are of a size that the operators have."""
        found = self.dequantized.get(name)
        if found is None or _attribute(found, "axis", 1) != depth:
            return None
        size = _group(found)
        return found if size >= SMALLEST_GROUP and not size & (size - 1) else None

    def _product(self, node: onnx.NodeProto, weight: onnx.NodeProto) -> onnx.NodeProto:
        arrays = [onnx.numpy_helper.to_array(self.tensors[name]).T for name in weight.input]  # [n, ..]
        encoding = integer_encoding(arrays[0].dtype)
        assert encoding is not None  # it was dequantized
        (n, k), size = arrays[0].shape, _group(weight)
        unsigned = [(computed(array).astype(np.int16) - encoding.least).astype(np.uint8) for array in arrays[::2]]
        blocks = np.pad(unsigned[0], [(0, 0), (0, -k % size)]).reshape(n, -1, size)
        zeros = [in_bytes(unsigned[1], encoding.bits)] if len(arrays) == 3 else []
        names = self._named(weight, [in_bytes(blocks, encoding.bits), np.ascontiguousarray(arrays[1]), *zeros])
        return onnx.helper.make_node(
            "MatMulNBits", [node.input[0], *names], node.output, node.name, domain=DOMAIN,
            K=k, N=n, bits=encoding.bits, block_size=size,
        )  # fmt: skip

    def _rows(self, node: onnx.NodeProto, weight: onnx.NodeProto) -> onnx.NodeProto:
        """Only of 4 bits: there is no such operator for signed bytes."""
        if self.tensors[weight.input[0]].data_type not in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
            return node
        data, *parameters = weight.input
        return onnx.helper.make_node(
            "GatherBlockQuantized", [data, node.input[1], *parameters], node.output, node.name, domain=DOMAIN,
            gather_axis=0, quantize_axis=1, block_size=_group(weight),
        )  # fmt: skip

    def _named(self, weight: onnx.NodeProto, arrays: Sequence[np.ndarray]) -> list[str]:
        names = [f"{name}.packed" for name, _ in zip(weight.input, arrays, strict=True)]
        self.packed |= {
            name: onnx.numpy_helper.from_array(array, name) for name, array in zip(names, arrays, strict=True)
        }
        return names


def in_bytes(integers: np.ndarray, bits: int) -> np.ndarray:
    """Bytes of several integers along the last axis, the first in the lowest bits; 0 beyond the last."""
    count = 8 // bits
    padded = np.pad(integers, [(0, 0)] * (integers.ndim - 1) + [(0, -integers.shape[-1] % count)])
    packed = np.zeros((*padded.shape[:-1], padded.shape[-1] // count), np.uint8)
    for place in range(count):
        packed |= padded[..., place::count] << np.uint8(place * bits)
    return packed


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    nodes = (node for node in graph.node if node.op_type == "Constant")
    return {node.output[0]: _attribute(node, "value", None) for node in nodes}


def _group(node: onnx.NodeProto) -> int:
    found: int = _attribute(node, "block_size", 0)
    return found


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = next((attribute for attribute in node.attribute if attribute.name == name), None)
    return default if found is None else onnx.helper.get_attribute_value(found)
