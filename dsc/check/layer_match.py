"""Which tensors of a quantized model stand for which of its float model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from dsc.check.interface import computed_names
from dsc.check.segments import needed_nodes, read_names


@dataclass(frozen=True)
class Layer:
    """A float tensor that the quantized model has too.

    tensor: its name in the float model. stands_for_it: the quantized model's tensor that is read in its place. nodes:
    what computes it in the float model, from `reads`: by name there, the tensors that these nodes' counterparts read.
    No nodes: an input of the model.
    """

    tensor: str
    stands_for_it: str
    nodes: tuple[onnx.NodeProto, ...]
    reads: Mapping[str, str]

    @property
    def op(self) -> str:
        """The operator that gives it."""
        return str(self.nodes[-1].op_type) if self.nodes else "input"

    @property
    def node(self) -> str:
        """The name of the node that gives it."""
        return str(self.nodes[-1].name) if self.nodes else ""


def match_layers(model: onnx.ModelProto, quantized: onnx.ModelProto) -> Iterator[Layer]:
    """The tensors of the float model that have a counterpart of their name, in its order; types are not looked at.

    Where the quantized model quantizes a tensor and dequantizes it again, the result is what stands for it.
    """
    counterparts, computed = _Counterparts(quantized), computed_names(model)
    matched = {name: counterparts.of[name] for name in computed if name in counterparts.of}
    inputs = {value.name for value in model.graph.input}
    for name, stands_for_it in matched.items():
        nodes = () if name in inputs else tuple(needed_nodes(model.graph, [name], set(matched) - {name}))
        yield Layer(name, stands_for_it, nodes, _reads(nodes, matched, counterparts))


def unmatched(model: onnx.ModelProto, layers: Sequence[Layer]) -> int:
    """How many tensors of the float model have no counterpart."""
    return len(set(computed_names(model)).difference(layer.tensor for layer in layers))


def _reads(nodes: Sequence[onnx.NodeProto], matched: Mapping[str, str], counterparts: _Counterparts) -> dict[str, str]:
    made = {name for node in nodes for name in node.output}
    outside = {name for node in nodes for name in read_names(node)} - made
    alone = [node.op_type for node in nodes[:-1]].count("Constant") == len(nodes) - 1
    exact = counterparts.inputs_of(nodes[-1]) if alone else {}
    return {name: exact.get(name, matched[name]) for name in outside if name in matched}


class _Counterparts:
    """of: by name of a tensor, what is read in its place."""

    def __init__(self, quantized: onnx.ModelProto) -> None:
        nodes = quantized.graph.node
        self._maker = {name: node for node in nodes for name in node.output}
        restored = {node.input[0]: node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
        self.of = {name: name for name in computed_names(quantized)}
        for node in nodes:
            if node.op_type == "QuantizeLinear" and node.output[0] in restored and node.input[0] in self.of:
                self.of[node.input[0]] = restored[node.output[0]]

    def inputs_of(self, node: onnx.NodeProto) -> dict[str, str]:
        """By the name of what a float node reads, what the node that has its place reads; empty where none has."""
        other = self._maker.get(node.output[0])
        if other is None or other.op_type != node.op_type or len(other.input) != len(node.input):
            return {}
        return {mine: its for mine, its in zip(node.input, other.input, strict=True) if mine}
